"""A disk that is full, or a folder that goes, ends a training with one sentence; it goes on afterwards."""

import csv
import os
import shutil
import subprocess

import pytest
import torch

from helpers.cli import main
from helpers.errors import InputError
from helpers.files import write_atomically
from helpers.runs import folder as run_folder
from helpers.runs import run as runs
from helpers.training import archives
from helpers.training.checkpoints import CHECKPOINT, HISTORY, load_checkpoint


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 1 MB; `fill(free)` leaves so many bytes of it."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = shutil.which("mount") and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)], capture_output=True
    )
    if not mounted or mounted.returncode:
        pytest.skip("no file system can be mounted here")

    def fill(free: int) -> None:
        (place / "filling").unlink(missing_ok=True)
        room = shutil.disk_usage(place).free
        (place / "filling").write_bytes(bytes(max(0, room - free)))

    fill.place = place
    yield fill
    subprocess.run(["umount", "-l", str(place)], check=True)


@pytest.fixture
def config(arguments):
    from helpers.cli import build_parser
    from helpers.runs.commands import run_config

    return run_config(build_parser().parse_args(["train", "text", "--output", "x", *arguments]))


def end_of(run):
    tensors = load_checkpoint(run / CHECKPOINT)[0]
    with (run / HISTORY).open(newline="") as lines:
        history = [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(lines)]
    return tensors, history, (run / "predictions.csv").read_bytes()


def same(one, other):
    return one[1:] == other[1:] and all(
        torch.equal(other[0][name], tensor) for name, tensor in one[0].items()
    )


def test_a_full_disk_at_each_write(config, small_disk, tmp_path, monkeypatch):
    """The disk is full before each file's write in turn; with room again the run ends as it would have."""
    runs.train(config, tmp_path / "whole")
    expected = end_of(tmp_path / "whole")
    names = [
        "config.json",
        "rows.csv",
        "best.safetensors",
        "last.safetensors",
        "predictions.csv",
        "metrics.json",
    ]
    for name in names:
        run = small_disk.place / "run"
        small_disk(10**9)

        def full_before(target, content, name=name, **options):
            if target.name == name:
                small_disk(0)
            write_atomically(target, content, **options)

        with monkeypatch.context() as patch:
            for module in (run_folder, archives):
                patch.setattr(module, "write_atomically", full_before)
            with pytest.raises(InputError, match=rf"{run} cannot be written \(No space left on device\)"):
                runs.train(config, run)
        small_disk(10**9)
        runs.train(config, run, resume=(run / "config.json").exists())
        assert same(end_of(run), expected), name
        shutil.rmtree(run)


def test_a_full_disk_in_the_history_and_the_model(arguments, small_disk, tmp_path, capsys, monkeypatch):
    """On the command line: exit status 2, one sentence, and --resume."""
    run = small_disk.place / "run"
    steps = []

    def fill_at(step, planned):
        steps.append(step)
        if len(steps) == 2:
            small_disk(0)

    from helpers import display

    with monkeypatch.context() as patch:
        patch.setattr(display.ProgressLines, "show", lambda self, step, planned: fill_at(step, planned))
        assert main(["train", "text", "--output", str(run), *arguments]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith(f"error: {run} cannot be written (No space left on device); when there is room")
    assert "--resume goes on" in error
    small_disk(10**9)
    assert main(["train", "text", "--output", str(run), "--resume"]) == 0
    (run / "model" / "model.safetensors").unlink()
    small_disk(0)
    assert main(["train", "text", "--output", str(run), "--resume"]) == 2
    assert "cannot be written" in capsys.readouterr().err
    small_disk(10**9)
    assert main(["train", "text", "--output", str(run), "--resume"]) == 0
    assert (run / "report.html").is_file()
    small_disk(0)
    out = small_disk.place / "out.csv"
    assert main(["predict", str(run), "the lamp is fine", "--output", str(out)]) == 2
    assert f"{out} cannot be written (No space left on device); make room" in capsys.readouterr().err
    assert not out.exists()


@pytest.mark.parametrize("way", ["deleted", "unmounted"])
def test_a_folder_that_goes_is_not_made_anew(way, config, small_disk, tmp_path):
    run = (tmp_path if way == "deleted" else small_disk.place) / "run"

    def go(step, planned):
        if step.step == 2:
            if way == "deleted":
                shutil.rmtree(run)
            else:
                subprocess.run(["umount", "-l", str(small_disk.place)], check=True)

    with pytest.raises(InputError, match=rf"{run} cannot be written \(it is gone\)"):
        runs.train(config, run, on_step=go)
    assert not run.exists()
    if way == "unmounted":
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", str(small_disk.place)], check=True)  # for the end


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX permissions")
def test_a_read_only_disk_in_training(config, small_disk):
    run = small_disk.place / "run"

    def lock(step, planned):
        if step.step == 2:
            subprocess.run(["mount", "-o", "remount,ro", str(small_disk.place)], check=True)

    with pytest.raises(InputError, match=r"cannot be written \(Read-only file system\)"):
        runs.train(config, run, on_step=lock)
    subprocess.run(["mount", "-o", "remount,rw", str(small_disk.place)], check=True)
    assert runs.train(config, run, resume=True)["optimizer_steps"] == 12
