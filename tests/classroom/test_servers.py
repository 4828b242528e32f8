"""Two servers of a room, started for real: each lets its learner in, and a signal ends all of it."""

import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.request

import psutil
import pytest

from helpers.errors import InputError
from helpers.files import ROOT

sys.path.append(str(ROOT / "classroom"))
import rooms
import servers

pytestmark = pytest.mark.skipif(os.name == "nt", reason="a room is served from Linux or macOS")
NOTEBOOK = "notebooks/00_start_here.ipynb"


def two_ports() -> int:
    """The first of two neighbours on which nobody listens."""
    while True:
        with socket.socket() as probe, socket.socket() as neighbour:
            probe.bind(("127.0.0.1", 0))
            first = probe.getsockname()[1]
            try:
                neighbour.bind(("127.0.0.1", first + 1))
            except (OSError, OverflowError):
                continue
            return first


def ask(address: str, token: str = "", method: str = "GET", content: dict | None = None, **headers):
    """The status of an answer and its content."""
    headers |= {"Authorization": f"token {token}"} if token else {}
    data = json.dumps(content).encode() if content else None
    try:
        with urllib.request.urlopen(urllib.request.Request(address, data, headers, method=method)) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, None


@pytest.fixture
def course(tmp_path):
    """A course with one notebook and little data."""
    folder = tmp_path / "course"
    shutil.copytree(ROOT / "helpers", folder / "helpers", ignore=rooms.LEFT_OUT)
    (folder / "notebooks").mkdir()
    shutil.copy(ROOT / NOTEBOOK, folder / NOTEBOOK)
    (folder / "data" / "fetched").mkdir(parents=True)
    (folder / "data" / "fetched" / "weights").write_bytes(b"shared")
    return folder


def started(tmp_path, course, port):
    command = [sys.executable, ROOT / "classroom" / "servers.py", "2", "--port", str(port), "--every", "1"]
    command += ["--folder", tmp_path / "room", "--course", course, "--proxy", "https://course.example/"]
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_"))
    }
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def test_two_learners_are_let_in_each_to_her_own_and_a_signal_ends_all(tmp_path, course):
    port = two_ports()
    process = started(tmp_path, course, port)
    try:
        lines = []
        while "Ctrl-C" not in (line := process.stdout.readline()):
            assert line, process.stderr.read()
            lines.append(line.split())
        tokens = dict(line[1].rsplit("?token=", 1)[::-1] for line in lines[1:])
        assert [line[0] for line in lines[1:]] == ["learner01", "learner02"]
        assert list(tokens.values()) == [
            f"https://course.example/learner0{number}/lab/tree/{NOTEBOOK}" for number in (1, 2)
        ]
        first, second = tokens
        assert first != second
        home = f"http://127.0.0.1:{port}/learner01/api"
        assert ask(f"{home}/contents")[0] == 403
        assert ask(f"{home}/contents", second)[0] == 403
        assert ask(f"{home}/contents", first, Host="another.example")[0] == 403
        assert ask(f"{home}/contents", first, Host="course.example")[0] == 200
        status, listed = ask(f"{home}/contents", first)
        assert status == 200
        assert {"helpers", "notebooks", "data"} <= {entry["name"] for entry in listed["content"]}

        mine = {"type": "file", "format": "text", "content": "mine"}
        assert ask(f"{home}/contents/notebooks/mine.txt", first, "PUT", mine)[0] == 201
        neighbour = f"http://127.0.0.1:{port + 1}/learner02/api/contents/notebooks/mine.txt"
        assert ask(neighbour, second)[0] == 404
        assert not (course / "data" / "fetched" / "weights").stat().st_mode & 0o222
        assert (tmp_path / "room").stat().st_mode & 0o077 == 0

        assert ask(f"{home}/kernels", first, "POST", {"name": "python3"})[0] == 201
        family = psutil.Process(process.pid).children(recursive=True)
        called = {one: one.cmdline() for one in family if one.status() != psutil.STATUS_ZOMBIE}
        (kernel,) = [one for one, words in called.items() if "ipykernel_launcher" in " ".join(words)]
        assert not any(first in word for words in called.values() for word in words)
        inherited = kernel.environ()
        assert inherited["OMP_WAIT_POLICY"] == "PASSIVE"
        assert inherited["OMP_NUM_THREADS"] == str(max(1, os.cpu_count() // 2))
        code = "from helpers import files, progress; print(files.ROOT, progress.place())"
        told = subprocess.run(
            [sys.executable, "-c", code],
            env=inherited, cwd=tmp_path, capture_output=True, text=True, check=True,
        ).stdout.split()  # fmt: skip
        learner = tmp_path / "room" / "learner01"
        assert told == [str(learner), str(learner / "progress.json")]

        shown = [process.stdout.readline() for _ in range(5)]
        assert [line.split()[0] for line in shown[1:4]] == ["learner01", "learner02", "together"]
        assert float(shown[1].split()[1]) > 20  # megabytes of a server
    finally:
        process.send_signal(signal.SIGTERM)
        errors = process.communicate(timeout=40)[1]
    assert process.returncode == 128 + signal.SIGTERM
    assert errors == "2 servers have ended\n"
    gone = time.monotonic() + 5
    while any(one.is_running() for one in family) and time.monotonic() < gone:
        time.sleep(0.1)
    assert [one for one in family if one.is_running()] == []
    assert (course / "data" / "fetched" / "weights").stat().st_mode & 0o200
    servers.check_ports("127.0.0.1", range(port, port + 2))  # free again


def test_the_second_day_finds_folders_and_tokens(tmp_path, course):
    first = rooms.room(tmp_path / "room", 2, "127.0.0.1", 9000, course)
    assert first[1].address.startswith(f"http://127.0.0.1:9001/learner02/lab/tree/{NOTEBOOK}?token=")
    (first[0].folder / NOTEBOOK).write_text("my own", encoding="utf-8")
    again = rooms.room(tmp_path / "room", 3, "127.0.0.1", 9000, course)
    assert [one.token for one in again[:2]] == [one.token for one in first]
    assert (again[0].folder / NOTEBOOK).read_text(encoding="utf-8") == "my own"
    assert (again[2].folder / "data" / "fetched").resolve() == course / "data" / "fetched"


def test_a_copy_that_was_stopped_is_made_again(tmp_path, course, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device", str(tmp_path / "room"))

    with monkeypatch.context() as patch:
        patch.setattr(rooms.shutil, "copytree", full)
        with pytest.raises(InputError, match="No space left on device"):
            rooms.room(tmp_path / "room", 1, "127.0.0.1", 9000, course)
    assert not (tmp_path / "room" / "learner01").exists()
    (learner,) = rooms.room(tmp_path / "room", 1, "127.0.0.1", 9000, course)
    assert (learner.folder / "helpers" / "cli.py").is_file()
    assert not list((tmp_path / "room").glob(".*-part"))


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["many"], "error: N must be a whole number above zero, found 'many'; for example N=30"),
        (["0"], "error: N must be a whole number above zero, found '0'"),
        (["1", "--port", "80"], "PORT: expected ports from 1024 to 65535, found 80 to 80"),
        (["1", "--proxy", "course.example"], "PROXY: expected an address such as https://course.example"),
        (["1", "--host", "192.0.2.1"], "of 192.0.2.1 cannot be listened on"),
        (["100000"], "100000 learners need 180000 GB of memory in chapter 00"),
    ],
)
def test_bad_words_end_in_one_sentence(arguments, expected, tmp_path, course, capsys):
    found = servers.main([*arguments, "--folder", str(tmp_path / "room"), "--course", str(course)])
    assert found == 2
    assert expected in capsys.readouterr().err
    assert not (tmp_path / "room").exists()


def test_a_busy_port_is_named(tmp_path, course, capsys):
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        port = busy.getsockname()[1]
        command = ["1", "--port", str(port), "--folder", str(tmp_path / "room"), "--course", str(course)]
        assert servers.main(command) == 2
    assert f"port {port} of 127.0.0.1 cannot be listened on" in capsys.readouterr().err


def test_the_memory_is_judged_before_anything_starts():
    assert servers.judge_memory(4, 100).endswith("at most 18 GB in the largest chapter.")
    assert "which does not fit for all at once" in servers.judge_memory(4, 10)
    with pytest.raises(InputError, match="take at most N=2 here, or a larger machine"):
        servers.judge_memory(30, 5)


def test_memory_and_seconds_of_a_room_are_the_measured_ones():
    found = json.loads((ROOT / "benchmarks" / "results" / "classroom.json").read_text(encoding="utf-8"))
    memory, ratio = found["gb_of_a_learner"], found["slowest_at_once_to_alone"]
    assert memory <= servers.MEMORY_GB <= 1.3 * memory
    alone = statistics.median(run["seconds"][0] for run in found["alone"])
    assert ratio == pytest.approx(max(found["at_once"]["seconds"]) / alone, abs=0.006)
    room = [round(seconds) for seconds in found["at_once"]["seconds"]]
    assert max(room) < 1.1 * min(room), "nobody stalls"
    said = (ROOT / "docs" / "classroom.md").read_text(encoding="utf-8")
    assert (
        f"take {alone:.0f} s for one learner alone, and {min(room)} to {max(room)} s for each of eight"
        in said
    )
    assert f"{ratio} times as long; four" in said
    assert f"at most {memory} GB" in said
    guide = (ROOT / "docs" / "instructor_guide.md").read_text(encoding="utf-8")
    assert f"({memory} GB)" in guide
    assert f"took {ratio} times as long" in guide
