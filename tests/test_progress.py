"""What a person sees of a training: a bar on a terminal, a few lines in a log, nothing twice."""

import os
import pty
import subprocess
import sys
import termios
import time
from dataclasses import dataclass

from helpers import display
from helpers.files import ROOT


@dataclass
class CountedStep:
    """A step that counts how often its loss is read: on a GPU each time is a wait."""

    step: int
    epoch: int = 1
    validation: dict | None = None
    is_best: bool = True
    reads: int = 0

    @property
    def train_loss(self) -> float:
        self.reads += 1
        return 0.5


def steps(first: int, last: int, evaluate_every: int) -> list[CountedStep]:
    scores = {"accuracy": 0.75, "macro_f1": 0.5, "n": 60}
    numbers = range(first, last + 1)
    return [CountedStep(n, validation=scores if n % evaluate_every == 0 else None) for n in numbers]


def log_of(made: list[CountedStep], seconds: float, capsys) -> list[str]:
    """The lines of a log in which the steps come evenly within so many seconds."""
    times = iter([0.0] + [seconds * place / len(made) for place in range(1, len(made) + 1)])
    lines = display.ProgressLines(clock=lambda: next(times))
    for step in made:
        lines.show(step, planned=1000)
    written = capsys.readouterr().err
    assert "\r" not in written
    return written.splitlines()


def test_a_log_gets_a_line_every_ten_seconds(capsys):
    made = steps(1, 1000, evaluate_every=500)
    lines = log_of(made, 35, capsys)
    progress = [line for line in lines if line.startswith("step ")]
    assert len(progress) == 3
    assert progress[0] == "step 286 of 1,000 (epoch 1): loss 0.500, 28.57 steps/s, about 25 s left"
    assert set(lines) - set(progress) == {"epoch 1: validation accuracy 0.750, macro-F1 0.500 (best)"}
    assert len(lines) == 3 + 2
    assert sum(step.reads for step in made) == 3  # the loss is read only where it is shown


def test_a_resumed_run_counts_its_own_steps_alone(capsys):
    lines = log_of(steps(501, 1000, evaluate_every=2000), 50, capsys)
    assert lines[0] == "step 600 of 1,000 (epoch 1): loss 0.500, 10.00 steps/s, about 40 s left"


def test_a_short_run_shows_its_evaluations_alone(capsys):
    lines = log_of(steps(1, 1000, evaluate_every=1000), 9, capsys)
    assert lines == ["epoch 1: validation accuracy 0.750, macro-F1 0.500 (best)"]


def test_a_terminal_gets_a_bar(monkeypatch):
    screen, terminal = pty.openpty()
    termios.tcsetwinsize(terminal, (24, 80))
    made = steps(1, 40, evaluate_every=20)
    with os.fdopen(terminal, "w") as stream:
        monkeypatch.setattr(sys, "stderr", stream)
        with display.progress_display() as show:
            for step in made:
                show(step, 40)
                time.sleep(0.01)
        stream.flush()
        drawn = os.read(screen, 100_000).decode()
    os.close(screen)
    assert drawn.count("\r") > 3
    assert "loss=0.500" in drawn
    assert "40/40" in drawn
    assert drawn.count("epoch 1: validation accuracy 0.750, macro-F1 0.500 (best)") == 2
    assert 0 < sum(step.reads for step in made) < 20


def test_only_the_first_process_shows_steps(monkeypatch):
    monkeypatch.setenv("RANK", "1")
    with display.progress_display() as show:
        assert show is None


def test_a_run_in_a_pipe_writes_plain_lines(clean, tmp_path):
    rows = clean[clean["platform"] == "movies"].groupby("label").head(20)
    rows[["text", "label"]].to_csv(tmp_path / "own.csv", index=False)
    command = [sys.executable, "-m", "helpers", "train", "text", "--output", str(tmp_path / "run")]
    command += ["--data", str(tmp_path / "own.csv"), "--limit", "32", "--epochs", "1"]
    done = subprocess.run(command, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True)
    written = done.stderr.decode()  # not by text=True, which turns carriage returns into line ends
    assert done.returncode == 0, written
    assert "\r" not in written
    lines = [line for line in written.splitlines() if "validation accuracy" in line]
    assert len(lines) == 1
    assert lines[0].startswith("epoch 1: validation accuracy 0.")
