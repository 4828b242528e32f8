"""A training on conversations or pairs that is killed, interrupted or shared out ends like an unbroken one
alone.
"""

import json
import signal
import subprocess
import sys

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from helpers.cli import main

# Ends itself by a signal after a step, in the middle of an epoch.
STOPPING = """
import os, sys
from helpers import cli, display

number, at = int(sys.argv.pop(1)), int(sys.argv.pop(1))

def show(self, step, planned):
    if step.step == at:
        os.kill(os.getpid(), number)

display.ProgressLines.show = show
sys.exit(cli.main())
"""


@pytest.fixture(scope="module")
def words(writer_folder, tmp_path_factory):
    """What `train` of a language model needs beside task and --output: 10 steps of 5 rows in 2 epochs."""
    data = tmp_path_factory.mktemp("rows") / "rows.jsonl"
    rows = [{"prompt": f"What is {n}? " + "Think. " * (n % 5), "answer": f"It is {n}."} for n in range(25)]
    rows = [
        row | {"chosen": row["answer"], "rejected": "No idea" + "!" * (n % 4)} for n, row in enumerate(rows)
    ]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return [
        "--epochs",
        "2",
        "--data",
        str(data),
        "--model",
        str(writer_folder),
        "--batch-size",
        "5",
        "--seed",
        "3",
    ]


@pytest.fixture
def run(environment):
    """run(status, launch, ...): a real process of the command line's `train`; returns its stderr."""

    def command(status, launch, *more, task="chat"):
        line = [sys.executable, *launch, "train", task, *map(str, more)]
        done = subprocess.run(line, env=environment, capture_output=True, text=True, timeout=120)
        assert done.returncode == status, done.stderr[-3000:]
        assert "Traceback" not in done.stderr
        return done.stderr

    return command


@pytest.fixture
def here():
    """here(...): the same in this process, with one thread like the others, to save its start."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)

    def command(*more, task="chat"):
        assert main(["train", task, *map(str, more)]) == 0, "it did not end well"

    yield command
    torch.set_num_threads(threads)


TWO = ("-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "-m", "helpers")


def end_of(folder):
    """All that must be the same but seconds."""
    metrics = json.loads((folder / "metrics.json").read_text())
    del metrics["seconds"]
    history = pd.read_csv(folder / "history.csv").drop(columns="seconds")
    texts = [(folder / name).read_text() for name in ("predictions.csv", "rows.csv", "test.jsonl")]
    files = sorted(file.relative_to(folder).as_posix() for file in folder.rglob("*"))
    return metrics, history.to_csv(), texts, files


KILLED = [("chat", ("--strategy", "full")), ("chat", ("--base-bits", "4", "--packing")),
          ("preference", ("--strategy", "full")), ("preference", ("--base-bits", "4"))]  # fmt: skip


@pytest.mark.parametrize(("task", "options"), KILLED)
def test_a_killed_run_goes_on_bit_for_bit(task, options, words, run, here, tmp_path):
    script = tmp_path / "stopping.py"
    script.write_text(STOPPING)
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    here("--output", whole, *words, *options, task=task)
    run(-signal.SIGKILL, (str(script), "9", "6"), "--output", broken, *words, *options, task=task)
    assert not (broken / "metrics.json").exists()
    here("--output", broken, "--resume", task=task)
    assert end_of(whole) == end_of(broken)
    for name in ("model", "checkpoints"):
        for file in (whole / name).glob("*.safetensors"):
            one, other = load_file(file), load_file(broken / name / file.name)
            assert set(one) == set(other)
            assert all(torch.equal(one[key], other[key]) for key in one)


def test_ctrl_c_keeps_its_step(words, run, here, tmp_path):
    script, folder = tmp_path / "stopping.py", tmp_path / "run"
    script.write_text(STOPPING)
    said = run(130, (str(script), "2", "2"), "--output", folder, *words)
    assert "ended by SIGINT after step" in said
    assert "--resume" in said
    here("--output", folder, "--resume")
    assert len(pd.read_csv(folder / "history.csv")) == 10


def test_a_run_does_not_go_on_above_another_model(words, tmp_path, small_llama, tokenizer, capsys):
    model, folder = tmp_path / "model", tmp_path / "run"
    torch.manual_seed(1)
    small_llama(len(tokenizer)).save_pretrained(model)
    tokenizer.save_pretrained(model)
    words = [*words[2:], "--model", str(model), "--max-steps", "1"]  # in place of the epochs
    assert main(["train", "chat", "--output", str(folder), *words]) == 0
    torch.manual_seed(2)
    small_llama(len(tokenizer)).save_pretrained(model)
    assert main(["train", "chat", "--output", str(folder), "--resume"]) == 2
    assert "trained on other weights" in capsys.readouterr().err


@pytest.mark.parametrize("task", ["chat", "preference"])
def test_two_processes_give_the_losses_of_one(task, words, run, here, tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    here("--output", one, *words, task=task)
    run(0, TWO, "--output", two, *words, task=task)
    metrics = [json.loads((folder / "metrics.json").read_text()) for folder in (one, two)]
    assert [found["processes"] for found in metrics] == [1, 2]
    losses = [pd.read_csv(folder / "history.csv")[["train_loss", "validation_loss"]] for folder in (one, two)]
    if metrics[0]["precision"] == "no":
        assert losses[1].to_numpy() == pytest.approx(losses[0].to_numpy(), abs=1e-5, nan_ok=True)
        assert metrics[1]["test"]["loss"] == pytest.approx(metrics[0]["test"]["loss"], abs=1e-5)
    assert metrics[1]["test"]["n"] == metrics[0]["test"]["n"]
