"""The service as a real process: answers, limits, sentences, metrics, page, signals; and its parts alone."""

import asyncio
import base64
import concurrent.futures
import hashlib
import http.client
import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.parse
from html.parser import HTMLParser

import numpy as np
import pytest
import torch
from fastapi import HTTPException
from PIL import Image
from prometheus_client.parser import text_string_to_metric_families

from helpers.cli import main
from helpers.deployment import page, service
from helpers.deployment.guard import Guard
from helpers.deployment.predict import load_run, predict
from helpers.deployment.service import Limits, Worker, create_app
from helpers.errors import InputError
from helpers.files import ROOT
from helpers.models.pretrained import Classifier, image_classifier, save_classifier, text_classifier
from lessons.running_service import running

JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def text_run(tmp_path_factory):
    """A finished run as far as serving needs one: real weights, a fresh head, 300 predictions."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("runs") / "texts"
    save_classifier(text_classifier(), folder / "model")
    shares = np.random.default_rng(0).dirichlet([8, 1, 1], size=300)
    lines = [f"{i},negative,negative,{a:.6f},{b:.6f},{c:.6f}" for i, (a, b, c) in enumerate(shares)]
    (folder / "predictions.csv").write_text(
        "\n".join(["id,target,prediction,p_negative,p_neutral,p_positive", *lines]) + "\n"
    )
    return folder


@pytest.fixture(scope="module")
def address(text_run):
    with running(text_run) as found:
        yield found


@pytest.fixture(scope="module")
def image_app():
    torch.manual_seed(0)
    limits = Limits(body_bytes=200_000, pixels=10_000)
    return create_app(image_classifier(classes=("<b>cat</b>", "zebra")), limits=limits)


def ask(address, path, *, method="POST", body=None, headers=JSON):
    """(status, headers, body) of one request over a connection of its own."""
    connection = http.client.HTTPConnection(urllib.parse.urlsplit(address).netloc, timeout=60)
    try:
        connection.request(method, path, body=body, headers=headers)
        response = connection.getresponse()
        return response.status, dict(response.getheaders()), response.read().decode()
    finally:
        connection.close()


def post(address, texts):
    return ask(address, "/predict", body=json.dumps({"texts": texts}))


def call(app, path, *, method="POST", body=b"", headers=(), chunks=None):
    """The same without a process: the application called by the ASGI protocol."""
    messages = iter(chunks or [{"type": "http.request", "body": body}])
    sent = []
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "scheme": "http",
        "server": ("test", 80),
        "client": ("test", 1),
        "headers": [(name.encode(), value.encode()) for name, value in headers],
    }

    async def receive():
        if (message := next(messages, None)) is None:
            await asyncio.Event().wait()  # a client that says nothing more
        return message

    async def send(message):
        sent.append(message)

    asyncio.run(app(scope, receive, send))
    return sent[0]["status"], json.loads(b"".join(message.get("body", b"") for message in sent[1:]))


def test_answers_are_those_of_predict(address, text_run):
    texts = ["I love it.", "", "\u597d\u7684 \U0001f642", "x" * 5000, "<script>alert(1)</script>"]
    texts = [text for text in texts if text]
    status, headers, body = post(address, texts)
    assert status == 200
    assert headers["x-content-type-options"] == "nosniff"
    expected = predict(load_run(text_run), texts)
    found = json.loads(body)["predictions"]
    np.testing.assert_allclose([list(row["probabilities"].values()) for row in found], expected, atol=1e-5)
    assert [row["label"] for row in found] == [
        ("negative", "neutral", "positive")[i] for i in expected.argmax(1)
    ]


REFUSED = [
    (b'{"texts": []}', 422, "1 to 64 texts, found 0"),
    (json.dumps({"texts": ["a"] * 65}).encode(), 422, "1 to 64 texts, found 65"),
    (b'{"texts": ["fine", " \\n "]}', 422, "text 2 is empty"),
    (json.dumps({"texts": ["a" * 5001]}).encode(), 422, "5,001 characters, at most 5,000"),
    (b'{"texts": ["\\ud800"]}', 422, "surrogate|valid string"),
    (b'{"texts": ["fine", "&nbsp;"]}', 422, "text 2 is empty after cleaning"),
    (b'{"texts": ["fine", "\\u200b\\u00ad \\u3164"]}', 422, "text 2 is empty after cleaning"),
    (b'{"texts": [NaN]}', 422, "body.texts.0: .*string"),
    (b'{"texts": "one"}', 422, "body.texts: .*list"),
    (b'{"texts": [1]}', 422, "body.texts.0: .*string"),
    (b'{"text": ["one"]}', 422, "body.texts: Field required"),
    (b"[1]", 422, "body"),
    (b"", 422, "body"),
    (b'{"texts": [', 400, "no valid JSON"),
    (b"\xff\xfe{", 400, "."),
    (b"[" * 100_000, 400, "."),
    (b'{"texts": ["' + b"a" * 300_000 + b'"]}', 413, "larger than 262,144 bytes"),
]


@pytest.mark.parametrize(
    ("body", "status", "sentence"), REFUSED, ids=[f"{row[1]}-{number}" for number, row in enumerate(REFUSED)]
)
def test_bad_bodies_get_a_status_and_a_sentence(body, status, sentence, address):
    found, headers, content = ask(address, "/predict", body=body)
    assert found == status, content
    assert headers["content-type"] == "application/json"
    assert re.search(sentence, json.loads(content)["detail"])
    assert "Traceback" not in content


def test_wrong_addresses_methods_and_types(address):
    assert ask(address, "/nothing", method="GET")[0] == 404
    assert ask(address, "/predict", method="GET")[0] == 405
    for kind in ({"Content-Type": "text/plain"}, {"Content-Type": "application/x-www-form-urlencoded"}):
        status, _, content = ask(address, "/predict", body=b'{"texts": ["a"]}', headers=kind)
        assert status == 415
        assert "application/json" in content
    assert post(address, ["still alive"])[0] == 200


def test_head_is_get_without_a_body(address):
    for path, status in {"/": 200, "/health": 200, "/predict": 405, "/nothing": 404}.items():
        found, headers, content = ask(address, path, method="HEAD")
        assert (found, content) == (status, "")
        assert int(headers["content-length"]) > 0


def status_of(address, line, *headers):
    """Status of a request whose lines stand here as they are sent."""
    place = urllib.parse.urlsplit(address)
    with socket.create_connection((place.hostname, place.port), timeout=30) as client:
        client.sendall("\r\n".join([line, *headers, "Connection: close", "", ""]).encode())
        return int(client.recv(65536).split()[1])


def test_a_target_may_name_its_host(address):
    assert status_of(address, "GET http://localhost/health HTTP/1.1", "Host: localhost") == 200
    assert status_of(address, "GET HTTP://127.0.0.1:80/health HTTP/1.1", "Host: evil.example") == 200
    assert status_of(address, "GET http://evil.example/health HTTP/1.1", "Host: localhost") == 421
    assert status_of(address, "GET http://localhost/nothing HTTP/1.1", "Host: localhost") == 404


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200),
        ("LocalHost:1", 200),
        ("127.0.0.1:8000", 200),
        ("[::1]:80", 200),
        ("evil.example", 421),
        ("localhost.evil.example", 421),
        ("localhost:80@evil.example", 421),
        ("127.0.0.1.evil.example:8000", 421),
        ("[::1].evil.example", 421),
        ("", 421),
    ],
)
def test_only_names_of_this_machine_are_answered(host, status, address):
    assert status_of(address, "GET /health HTTP/1.1", f"Host: {host}") == status


def test_beyond_this_machine_any_name_is_answered():
    with service._listen("0.0.0.0", 0) as public, service._listen("127.0.0.2", 0) as local:
        assert service._own_hosts("0.0.0.0", public) == ()
        assert "127.0.0.2" in service._own_hosts("127.0.0.2", local)


OWN, FOREIGN = (
    [("host", "localhost:8000"), ("origin", "http://localhost:8000")],
    ("origin", "http://a.example"),
)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (OWN, 200),
        ([("host", "127.0.0.1:8000"), ("origin", "http://127.0.0.1:8000")], 200),
        ([*OWN, ("sec-fetch-site", "same-origin")], 200),
        ([("host", "localhost:8000"), ("sec-fetch-site", "none")], 200),
        ([("host", "localhost:8000"), FOREIGN], 403),
        ([("host", "localhost:8000"), ("origin", "http://localhost:8888")], 403),
        ([("host", "localhost:8000"), ("origin", "null")], 403),
        ([("host", "localhost:8000"), ("sec-fetch-site", "cross-site")], 403),
        ([("host", "localhost:8000"), ("sec-fetch-site", "same-site")], 403),
        ([("host", "localhost:8000"), ("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate")], 403),
    ],
)
def test_pages_of_other_sites_are_sent_away(headers, status, image_app):
    found = call(image_app, "/predict", body=png(9, 9), headers=[("content-type", "image/png"), *headers])
    assert found[0] == status, found


def test_a_link_of_another_site_opens_the_page_and_nothing_more(image_app):
    link = [("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate")]
    assert call(image_app, "/health", method="GET", headers=link)[0] == 200
    assert call(image_app, "/health", method="GET", headers=link[:1])[0] == 403


def test_a_large_chunked_body_is_refused_before_its_end(address):
    host, port = urllib.parse.urlsplit(address).netloc.split(":")
    with socket.create_connection((host, int(port)), timeout=30) as client:
        client.sendall(
            b"POST /predict HTTP/1.1\r\nHost: localhost\r\n"
            b"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        for _ in range(5):  # 320 KiB; the last chunk is never sent
            client.sendall(b"10000\r\n" + b"a" * 65536 + b"\r\n")
        answer = client.recv(65536)
    assert answer.startswith(b"HTTP/1.1 413 ")


def test_health_and_metrics(address):
    health = json.loads(ask(address, "/health", method="GET")[2])
    assert health == {
        "status": "ok",
        "task": "text",
        "model": "minilm",
        "engine": "torch",
        "classes": ["negative", "neutral", "positive"],
    }
    for _ in range(4):
        assert post(address, ["the same text"] * 64)[0] == 200
    ask(address, "/secret-of-a-stranger", method="GET")
    content = ask(address, "/metrics", method="GET")[2]
    families = {family.name: family for family in text_string_to_metric_families(content)}
    codes = {
        (s.labels["path"], s.labels["code"]): s.value
        for s in families["course_requests"].samples
        if s.name.endswith("_total")
    }
    assert codes["/predict", "200"] >= 4
    assert codes["other", "404"] >= 1
    assert "stranger" not in content
    assert sum(s.value for s in families["course_predictions"].samples if s.name.endswith("_total")) >= 256
    assert families["course_request_seconds"].type == "histogram"
    drift = {sample.labels["what"]: sample.value for sample in families["course_drift_psi"].samples}
    assert drift["confidence"] > 0.25  # one text again and again is not what the test rows were


class Page(HTMLParser):
    """Every address that the page mentions, its ids and its labels."""

    def __init__(self, content):
        super().__init__()
        self.addresses, self.ids, self.labels, self.tags = [], set(), set(), []
        self.feed(content)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.tags.append(tag)
        self.addresses += [attributes[name] for name in ("src", "href", "action") if name in attributes]
        self.ids.add(attributes.get("id"))
        self.labels.add(attributes.get("for"))


def test_the_page_asks_no_other_host(address):
    status, headers, content = ask(address, "/", method="GET")
    assert status == 200
    found = Page(content)
    assert all(not re.match("(https?:)?//", link) for link in found.addresses)
    assert not re.search(r"https?://|@import", content)
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    for tag in ("script", "style"):  # the policy admits what stands in the page, and nothing else
        text = re.search(f"<{tag}>(.*?)</{tag}>", content, re.DOTALL)[1]
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    assert "input" in found.ids & found.labels
    assert 'aria-live="polite"' in content
    assert "openapi.json" in found.addresses


@pytest.mark.parametrize("kind", ["text", "images"])
def test_programs_find_the_form_of_a_body(kind, address, image_app):
    if kind == "text":
        schema = json.loads(ask(address, "/openapi.json", method="GET")[2])
        assert schema["components"]["schemas"]["Texts"]["properties"]["texts"]["items"] == {"type": "string"}
    else:
        schema = call(image_app, "/openapi.json", method="GET")[1]
    asked = schema["paths"]["/predict"]["post"]
    expected = {"text": "application/json", "images": "image/*"}
    assert list(asked["requestBody"]["content"]) == [expected[kind]]
    assert asked["summary"].startswith("Label ")
    assert set(schema["paths"]) == {"/predict", "/health", "/metrics"}


def test_names_are_escaped_in_the_page():
    for task in ("text", "images"):
        classifier = Classifier(task, "<i>net", None, ("<b>cat</b>", "dog"), None)
        content = page.page(classifier, 100).body.decode()
        assert "innerHTML" not in content
        assert "<b>" not in content
        assert "<i>" not in content
        assert "&lt;b&gt;cat" in content
        assert ('maxlength="100"' in content) == (task == "text")


@pytest.mark.parametrize("folder", ["/srv/secret/my-model", "C:\\secret\\my-model", "secret/my-model/"])
def test_no_path_of_the_disk_is_shown(folder):
    classifier = Classifier("text", folder, None, ("a", "b"), None)
    shown = call(create_app(classifier), "/health", method="GET")[1]
    assert shown["model"] == "my-model"
    content = page.page(classifier, 100).body.decode()
    assert "my-model chooses" in content
    assert "secret" not in content


def png(width, height):
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), "white").save(buffer, "PNG")
    return buffer.getvalue()


def test_pictures(image_app, capsys):
    kind = [("content-type", "image/png")]
    status, answer = call(image_app, "/predict", body=png(20, 30), headers=kind)
    assert status == 200
    assert set(answer["predictions"][0]["probabilities"]) == {"<b>cat</b>", "zebra"}
    for body, headers, expected, sentence in (
        (b"no picture", kind, 422, "cannot be read as a picture"),
        (png(20, 30)[:60], kind, 422, "cannot be read as a picture"),
        (png(200, 51), kind, 422, "200 x 51 pixels"),
        (b"", kind, 422, "cannot be read"),
        (png(20, 30), [("content-type", "application/json")], 415, "bytes of one picture"),
        (b"a" * 200_001, kind, 413, "larger than 200,000 bytes"),
    ):
        status, answer = call(image_app, "/predict", body=body, headers=headers)
        assert (status, bool(re.search(sentence, answer["detail"]))) == (expected, True), answer
    assert len(capsys.readouterr().err.splitlines()) == 7  # one line per request


def test_a_body_that_does_not_arrive(image_app):
    counted = []
    guard = Guard(image_app, lambda *request: counted.append(request[:2]), 1000, 0.05)
    assert (
        call(guard, "/predict", chunks=[{"type": "http.request", "body": b"a", "more_body": True}])[0] == 408
    )
    assert counted == [("/predict", 408)]


def test_the_bodies_of_all_requests_are_limited_together(image_app):
    """Five that send for ever: the first, which are the slowest, make room for those that come later."""
    guard = Guard(image_app, lambda *_: None, 1000, 60, arriving_bytes=250)

    async def send_slowly(statuses, turn):
        parts = iter([{"type": "http.request", "body": b"a" * 100, "more_body": True}])

        async def receive():
            await asyncio.sleep(0.01 * turn)
            return next(parts, None) or await asyncio.Event().wait()

        async def send(message):
            if message["type"] == "http.response.start":
                statuses[turn] = message["status"]

        await guard({"type": "http", "method": "POST", "path": "/predict", "headers": []}, receive, send)

    async def all_at_once():
        statuses = {}
        requests = [asyncio.ensure_future(send_slowly(statuses, turn)) for turn in range(5)]
        await asyncio.wait(requests, timeout=0.5)
        return statuses

    assert asyncio.run(all_at_once()) == {0: 503, 1: 503, 2: 503}
    assert not guard.arriving


def test_a_model_without_finite_answers_is_an_error_of_the_service(capsys, monkeypatch):
    classifier = image_classifier(classes=("cat", "dog"))
    list(classifier.model.parameters())[-1].data.fill_(float("nan"))
    app, kind = create_app(classifier), [("content-type", "image/png")]
    for attempt in range(2):
        if attempt:  # whatever `predict` itself says of it
            monkeypatch.setattr(service, "predict", lambda *_: np.full((1, 2), np.nan, dtype=np.float32))
        status, answer = call(app, "/predict", body=png(9, 9), headers=kind)
        assert (status, answer) == (500, {"detail": "the service made a mistake; its log says which"})
        assert re.search("finite|is not a number", capsys.readouterr().err)
    assert b"course_predictions_total{" not in app.state.counters.text()
    assert b"nan" not in app.state.counters.text().lower()


@pytest.mark.parametrize("table", ["id\n1\n", "p_a,p_b\n0.5,x\n", "p_a,p_b\n0.5\n", "p_a,p_b\n\xff,1\n"])
def test_a_table_of_predictions_that_is_none_is_said_at_the_start(table, tmp_path):
    (tmp_path / "predictions.csv").write_bytes(table.encode("latin-1"))
    with pytest.raises(InputError, match=r"predictions\.csv must have a number in each column p_a, p_b"):
        service.reference_probabilities(tmp_path, ("a", "b"))


def test_an_error_inside_is_one_sentence(image_app, capsys, monkeypatch):
    monkeypatch.setattr(service, "predict", lambda *_: 1 / 0)
    status, answer = call(image_app, "/predict", body=png(9, 9), headers=[("content-type", "image/png")])
    assert (status, answer) == (500, {"detail": "the service made a mistake; its log says which"})
    err = capsys.readouterr().err
    assert "internal error: ZeroDivisionError" in err
    assert "Traceback" not in err


def test_overload_is_refused_at_once(text_run):
    """Two places: of five requests at the same time two are answered and three are told to come again."""
    worker, classifier = Worker(2), load_run(text_run)

    async def all_at_once():
        asked = (worker.run(predict, classifier, ["a text"]) for _ in range(5))
        return await asyncio.gather(*asked, return_exceptions=True)

    for _ in range(2):  # the places are free again afterwards
        results = asyncio.run(all_at_once())
        refused = [result for result in results if isinstance(result, HTTPException)]
        assert [(error.status_code, error.headers["Retry-After"]) for error in refused] == [(503, "1")] * 3
        assert sum(isinstance(result, np.ndarray) for result in results) == 2


def test_a_short_load_of_mixed_requests(address):
    kinds = {
        "valid": (b'{"texts": ["Nice one!"]}', 200),
        "empty": (b'{"texts": [""]}', 422),
        "malformed": (b'{"texts', 400),
        "large": (b'{"texts": ["' + b"a" * 1_000_000 + b'"]}', 413),
        "emoji": ('{"texts": ["\U0001f642"]}'.encode(), 200),
    }
    jobs = [kinds[name] for name in list(kinds) * 12]
    with concurrent.futures.ThreadPoolExecutor(4) as clients:
        found = list(clients.map(lambda job: ask(address, "/predict", body=job[0])[0], jobs))
    assert found == [status for _, status in jobs]
    assert ask(address, "/health", method="GET")[0] == 200


def start(run, *options):
    process = subprocess.Popen(
        [sys.executable, "-m", "helpers", "serve", str(run), *options],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    return process, process.stdout.readline()


@pytest.mark.skipif(os.name == "nt", reason="Windows ends a process without a signal it could catch")
def test_signals_end_it_with_status_0(text_run):
    for number in (signal.SIGTERM, signal.SIGINT):
        process, line = start(text_run, "--port", "0")
        port = int(re.search(r"at http://127\.0\.0\.1:(\d+)/ until Ctrl-C\n$", line)[1])
        assert post(f"http://127.0.0.1:{port}", ["a text"])[0] == 200
        process.send_signal(number)
        rest, log = process.communicate(timeout=30)
        assert (process.returncode, rest) == (0, "")
        assert re.fullmatch(r"POST /predict 200 \d+ ms\n", log)


def test_bad_ports_and_folders(text_run, tmp_path, capsys):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        cases = [
            ([text_run, "--port", port], f"cannot listen on 127.0.0.1 port {port}"),
            ([text_run, "--port", 70_000], "cannot listen on 127.0.0.1 port 70000"),
            ([tmp_path, "--port", 0], "holds no trained model"),
            ([text_run, "--port", 0, "--onnx"], "was not exported yet"),
        ]
        handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            for arguments, sentence in cases:
                assert main(["serve", *map(str, arguments)]) == 2
                err = capsys.readouterr().err
                assert sentence in err
                assert len(err.splitlines()) == 1
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
