"""The script of chapter 08's torchrun: together two processes are one, and the two mistakes show as what they
are.
"""

import json
import os
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file

from helpers.files import ROOT
from lessons.ch08 import processes


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("processes")
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc_per_node",
        "2",
        "-m",
        "lessons.ch08.processes",
    ]
    done = subprocess.run(
        [*command, str(folder)],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return folder


@pytest.fixture(scope="module")
def rows():
    return processes.silhouettes()


def weights(folder, mode):
    return [load_file(folder / f"{mode}-{process}.safetensors") for process in (0, 1)]


def notes(folder, mode):
    return [json.loads((folder / f"{mode}-{process}.json").read_text(encoding="utf-8")) for process in (0, 1)]


def distance(a, b):
    return max((a[name] - b[name]).abs().max().item() for name in a)


def test_a_shared_batch_makes_two_processes_one(folder, rows):
    alone, steps = processes.train("shared batch", rows[0])
    pair = weights(folder, "shared batch")
    assert distance(*pair) == 0
    assert distance(pair[0], alone.state_dict()) < 1e-4
    assert [note["steps"] for note in notes(folder, "shared batch")] == [steps, steps] == [60, 60]


def test_a_batch_per_process_halves_the_steps(folder, rows):
    alone, steps = processes.train("shared batch", rows[0])
    pair = weights(folder, "batch per process")
    assert distance(*pair) == 0
    assert distance(pair[0], alone.state_dict()) > 1e-3
    assert notes(folder, "batch per process")[0]["steps"] == steps // 2


def test_without_averaging_there_are_two_models(folder):
    assert distance(*weights(folder, "nothing averaged")) > 1e-3


def test_the_gathered_accuracy_is_that_of_all_rows(folder, rows):
    pair = notes(folder, "shared batch")
    assert pair[0]["gathered"] == pair[1]["gathered"]
    assert pair[0]["own_accuracy"] != pair[1]["own_accuracy"]
    model = torch.nn.Sequential(torch.nn.Linear(784, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10))
    model.load_state_dict(weights(folder, "shared batch")[0])
    assert pair[0]["gathered"] == pytest.approx(processes.hits(model, rows[1]).mean().item(), abs=1e-6)
