"""One run, one folder: a second training stays out, and what a killed one left does not stand in the way."""

import os
import shutil
import signal
import subprocess
import sys

import pytest

from helpers.cli import main
from helpers.errors import InputError
from helpers.files import LOCK, is_temporary, locked, remove_temporary, write_atomically, writing

HOLDER = """
import sys, time
from pathlib import Path
from helpers.files import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path, environment):
    """A process that holds the lock of a folder."""
    words = [sys.executable, "-c", HOLDER, str(tmp_path / "run")]
    process = subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_a_second_training_is_refused_before_any_work(holder, arguments, tmp_path, capsys):
    assert main(["train", "text", "--output", str(tmp_path / "run"), *arguments]) == 2
    error = capsys.readouterr().err
    assert f"another training is at work in {tmp_path / 'run'} (process {holder.pid} on" in error
    assert [path.name for path in (tmp_path / "run").iterdir()] == [LOCK]
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    with locked(tmp_path / "run"):  # the kernel has released it
        pass
    assert (tmp_path / "run").is_dir()
    assert not list((tmp_path / "run").iterdir())


def test_a_folder_that_was_made_for_nothing_goes_again(tmp_path):
    with pytest.raises(InputError, match="bad data"), locked(tmp_path / "new" / "run"):  # noqa: PT012
        assert (tmp_path / "new" / "run" / LOCK).is_file()
        raise InputError("bad data")
    assert not list(tmp_path.iterdir())


def test_a_forked_worker_does_not_hold_the_lock(tmp_path):
    with locked(tmp_path):
        pid = os.fork()
        if pid == 0:
            signal.pause()
            os._exit(0)
    try:
        with locked(tmp_path):
            pass
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def test_a_killed_first_write_is_no_dead_end(arguments, tmp_path, capsys):
    """A lock and half a configuration: an empty folder. A configuration without rows: a run to go on with."""
    run = tmp_path / "run"
    run.mkdir()
    for name in (".config.json-abcd", ".rows.csv-0123abcd", LOCK):
        (run / name).write_text("{")
    short = [*arguments, "--epochs", "1"]
    assert main(["train", "text", "--output", str(run), *short]) == 0
    assert not [path.name for path in run.iterdir() if path.name.startswith(".")]
    configuration = (run / "config.json").read_bytes()
    shutil.rmtree(run)
    run.mkdir()
    (run / "config.json").write_bytes(configuration)
    assert main(["train", "text", "--output", str(run), *short]) == 2
    assert "go on with the run in it by --resume" in capsys.readouterr().err
    assert main(["train", "text", "--output", str(run), "--resume"]) == 0
    assert (run / "rows.csv").is_file()
    capsys.readouterr()


def test_what_a_kill_left_is_removed_and_nothing_else(arguments, tmp_path, capsys):
    run = tmp_path / "run"
    assert main(["train", "text", "--output", str(run), *arguments, "--epochs", "1"]) == 0
    ours = ["checkpoints/.last.safetensors-0123abcd", "checkpoints/.best.safetensors-x_1", ".metrics.json-a"]
    others = [".mine-0123abcd", "checkpoints/.last.safetensors", "notes.txt", ".config.json-A.B"]
    for name in ours + others:
        (run / name).write_text("x")
    assert main(["train", "text", "--output", str(run), "--resume"]) == 0
    assert not [name for name in ours if (run / name).exists()]
    assert all((run / name).exists() for name in others)
    capsys.readouterr()


def test_names_of_temporary_files(tmp_path):
    write_atomically(tmp_path / "a.json", b"{}")
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]
    (tmp_path / ".a.json-1f").mkdir()
    remove_temporary(tmp_path, ["a.json"])  # a folder is none of ours
    assert (tmp_path / ".a.json-1f").is_dir()
    assert not is_temporary(tmp_path / ".axjson-1f", ["a.json"])


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_files_follow_the_umask(mask, mode, tmp_path):
    before = os.umask(mask)
    try:
        write_atomically(tmp_path / "file", b"x")
    finally:
        os.umask(before)
    assert (tmp_path / "file").stat().st_mode & 0o777 == mode


def test_only_who_asks_gets_a_folder(tmp_path):
    with pytest.raises(InputError, match=r"gone cannot be written \(it is gone\); look"):  # noqa: SIM117
        with writing(tmp_path / "gone", "look"):
            write_atomically(tmp_path / "gone" / "file", b"x")
    assert not (tmp_path / "gone").exists()
    write_atomically(tmp_path / "new" / "file", b"x", make_folder=True)
    with pytest.raises(FileNotFoundError), writing(tmp_path / "new", "look"):
        (tmp_path / "picture.png").read_bytes()  # is none of the folder's
