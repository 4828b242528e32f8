"""What comes before a request: time limits, places, headers, malformed HTTP; over real connections."""

import collections
import contextlib
import http.client
import json
import os
import re
import socket
import threading
import time

import pytest
from prometheus_client.parser import text_string_to_metric_families

from helpers.deployment import connections
from helpers.deployment.service import Limits, create_app
from helpers.models.pretrained import Classifier

GET = b"GET /health HTTP/1.1\r\nHost: localhost\r\n"
POST = b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


@contextlib.contextmanager
def serving(**limits):
    """The server in a thread; what is tested here never reaches a model."""
    app = create_app(Classifier("text", "none", None, ("a", "b"), None), limits=Limits(**limits))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = connections.server(app)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            yield listening.getsockname()
        finally:
            server.should_exit = True
            thread.join()


@pytest.fixture(scope="module")
def place():
    with serving() as found:
        yield found


def connect(place, *parts, pause=0.0):
    client = socket.create_connection(place, timeout=10)
    for part in parts:
        with contextlib.suppress(OSError):  # the service may have had enough
            client.sendall(part)
        time.sleep(pause)
    return client


def all_of(client):
    """What comes until the service closes the connection."""
    answer = b""
    while part := client.recv(65536):
        answer += part
    client.close()
    return answer


def refused(answer, status):
    """The sentence of an answer that is one refusal in JSON."""
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status), answer[:300]
    assert b"content-type: application/json" in head.lower()
    return json.loads(body)["detail"]


def counted(place, *paths):
    """Requests to these paths (unread ones: "other") by status, and the number of open connections."""
    client = http.client.HTTPConnection(*place, timeout=10)
    client.request("GET", "/metrics")
    families = text_string_to_metric_families(client.getresponse().read().decode())
    samples = [sample for family in families for sample in family.samples]
    client.close()
    statuses = collections.Counter()
    for sample in samples:
        if sample.name == "course_requests_total" and sample.labels["path"] in (paths or ("other",)):
            statuses[int(sample.labels["code"])] += sample.value
    return statuses, next(sample.value for sample in samples if sample.name == "course_connections")


def test_headers_have_a_time_limit(capsys):
    with serving(header_seconds=0.5) as place:
        silent, half = connect(place), connect(place, GET)
        slow = connect(place, *(b"%c" % letter for letter in GET[:14]), pause=0.05)  # never finished
        assert "headers did not arrive within 0.5 seconds" in refused(all_of(half), 408)
        assert "headers did not arrive" in refused(all_of(slow), 408)
        assert all_of(silent) == b""
        assert counted(place) == ({408: 2}, 1)
    assert capsys.readouterr().err.count("- - 408 5") == 2


def test_an_idle_connection_is_closed_and_a_used_one_is_not():
    with serving(idle_seconds=0.4, header_seconds=0.8) as place:
        client = http.client.HTTPConnection(*place, timeout=10)
        client.connect()
        line = client.sock
        for _ in range(5):
            time.sleep(0.25)
            client.request("GET", "/health")
            assert client.getresponse().read()
        assert client.sock is line  # the same all the time, though it lived longer than any limit
        assert line.recv(1) == b""
        # One byte after an answer is no way to stay.
        begun = connect(place, GET + b"\r\n", b"G", pause=0.2)
        start = time.monotonic()
        assert all_of(begun).count(b"HTTP/1.1 408 ") == 1
        assert time.monotonic() - start < 2


def test_idle_connections_take_no_place_from_others(capsys):
    with serving(connections=20) as place:
        body = POST + b"Content-Length: 9\r\n\r\n{"
        idle = [connect(place, (b"", GET, GET + b"\r\n", body)[number % 4]) for number in range(60)]
        start = time.monotonic()
        statuses, is_open = counted(place, "other", "/predict")
        assert time.monotonic() - start < 1
        assert is_open <= 20
        assert statuses[503] >= 30  # of 41 that gave way; those with a body may be counted a moment later
        for client in idle[:8]:
            assert b"waited longest" in all_of(client)
        for client in idle:
            client.close()
    assert "Traceback" not in capsys.readouterr().err


HUGE = {
    "one long": GET + b"X: " + b"a" * 40_000 + b"\r\n\r\n",
    "one endless": GET + b"X: " + b"a" * 3_000_000,
    "many": GET + b"X: a\r\n" * 101 + b"\r\n",
    "target": b"GET /" + b"a" * 40_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
}


@pytest.mark.parametrize("name", HUGE)
def test_headers_have_a_limit_of_size_and_number(name, place):
    before = counted(place)[0].get(431, 0)
    assert "100 headers and 32,768 bytes" in refused(all_of(connect(place, HUGE[name])), 431)
    assert counted(place)[0][431] == before + 1
    assert connect(place, GET + b"X: " + b"a" * 30_000 + b"\r\n\r\n").recv(15) == b"HTTP/1.1 200 OK"


MALFORMED = {
    "words": b"hello\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "two lengths": POST + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n",
    "unknown coding": POST + b"Transfer-Encoding: gzip\r\n\r\n",
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_requests_are_refused_counted_and_logged(name, place, capsys):
    before = counted(place)[0].get(400, 0)
    capsys.readouterr()
    assert "no valid HTTP/1.1 request" in refused(all_of(connect(place, MALFORMED[name])), 400)
    assert counted(place)[0][400] == before + 1
    assert "- - 400 " in capsys.readouterr().err


def test_who_still_sends_can_read_the_refusal(place, caplog):
    before = counted(place)[0].get(400, 0)
    client = connect(place, b"hello\r\n\r\n")
    for _ in range(5):
        time.sleep(0.05)
        client.sendall(b"more of it\r\n\r\n")  # an error where the service no longer listens
    refused(all_of(client), 400)
    assert counted(place)[0][400] == before + 1
    assert not caplog.records  # asyncio logs what a protocol raises


def test_a_refusal_ends_at_once_for_its_reader(place, monkeypatch):
    monkeypatch.setattr(connections, "LINGER", 60)  # longer than the client here would wait
    refused(all_of(connect(place, b"hello\r\n\r\n")), 400)


def test_a_malformed_body_is_refused_once(place, capsys):
    chunked = POST + b"Transfer-Encoding: chunked\r\n\r\n"
    for first in (b"", b"3\r\nabc\r\n"):
        answer = all_of(connect(place, chunked, first + b"zz\r\n", pause=0.05))
        assert "no valid HTTP" in refused(answer, 400)
    too_long = b"%x\r\n" % 2**19 + b"a" * 2**19 + b"\r\n"
    answer = all_of(connect(place, chunked + too_long, b"zz\r\n", pause=0.2))
    assert answer.count(b"HTTP/1.1 ") == 1
    assert answer.startswith(b"HTTP/1.1 413 ")
    time.sleep(0.5)  # a line is written after the answer
    err = capsys.readouterr().err
    assert re.findall(r"\S+ \S+ (4\d\d) ", err) == ["400", "400", "413"]
    assert "Traceback" not in err


def test_rubbish_behind_a_request_does_not_spoil_its_answer(place):
    answer = all_of(connect(place, GET + b"\r\n" + b"rubbish\r\n\r\n"))
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.count(b"HTTP/1.1 400 ") == 1


def test_a_client_that_takes_no_answer_is_left():
    with serving(header_seconds=0.5, idle_seconds=0.3) as place, socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(place)
        client.settimeout(0.2)
        with contextlib.suppress(OSError):
            for _ in range(100):
                client.sendall((b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n") * 100)
        deadline = time.monotonic() + 10
        while counted(place)[1] > 1:  # the one that asks
            assert time.monotonic() < deadline
            time.sleep(0.1)


@pytest.mark.skipif(os.name != "posix", reason="only there a process has a limit of open files")
def test_fewer_places_where_the_system_allows_few_files():
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 256), hard))
        assert connections._places(Limits()) == min(soft, 256) // 2
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert connections._places(Limits(connections=7)) == 7
