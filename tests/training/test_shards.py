"""Every kind of model, trained as copies (DDP) and with its weights shared out (FSDP2), by 1, 2, 4 processes:
the same losses, 1/n of the bytes, and checkpoints that go on in any number of processes.
"""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from helpers.files import ROOT

IN_FOUR = ["text", "picture", "chat", "chat lora"]
KINDS = ["text", "text gradual", "text head", "text lora", "picture", "chat", "chat lora", "chat 4 bits"]


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """{processes: what shards.py found}, begun with four: their checkpoints go on in two and in one."""
    folder, found = tmp_path_factory.mktemp("shards"), {}
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    for processes in (4, 2, 1):
        launch = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"]
        script = str(ROOT / "tests/training/shards.py")
        command = [sys.executable, *(launch if processes > 1 else []), script, str(folder)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, done.stderr[-4000:]
        found[processes] = json.loads((folder / f"{processes}.json").read_text())
    return found


def differ(one, other):
    return max(np.abs(np.subtract(one[name], other[name])).max() for name in ("losses", "scores"))


@pytest.mark.parametrize("way", ["ddp", "fsdp"])
@pytest.mark.parametrize("kind", KINDS)
def test_losses_are_those_of_one_process(results, kind, way):
    alone = results[1][f"{kind} ddp"]
    assert len(alone["losses"]) == 20
    assert len(alone["scores"]) == 4
    for processes in (1, 2, 4) if kind in IN_FOUR else (1, 2):
        assert differ(results[processes][f"{kind} {way}"], alone) < 1e-5, processes


@pytest.mark.parametrize("kind", KINDS)
def test_the_model_at_the_end_is_whole_and_the_same(results, kind):
    alone = results[1][f"{kind} ddp"]["end"]
    for processes in (1, 2, 4) if kind in IN_FOUR else (1, 2):
        assert np.allclose(results[processes][f"{kind} fsdp"]["end"], alone, atol=1e-4), processes


def test_half_precision_is_as_near_as_its_digits(results):
    """Copies and shares of as many processes round alike; other counts sum in another order."""
    alone = results[1]["text bf16 ddp"]
    copies, shares = (results[2][f"text bf16 {way}"] for way in ("ddp", "fsdp"))
    assert max(differ(copies, alone), differ(shares, alone)) < 2e-2
    assert 0 < differ(alone, results[1]["text ddp"]) < 2e-2  # it did compute in another precision


def test_batch_norm_is_the_same_in_all_processes(results):
    """What each process measures differs; what all keep is the mean, with copies and with shares."""
    copies, shares = (results[2][f"convolutions {way}"] for way in ("ddp", "fsdp"))
    assert differ(copies, shares) < 2e-4  # divided by a deviation of few rows, rounding grows
    assert np.allclose(copies["end"], shares["end"], atol=1e-3)


@pytest.mark.parametrize("kind", [*KINDS, "convolutions"])
def test_a_process_holds_its_share_of_the_bytes(results, kind):
    whole = results[1][f"{kind} ddp"]["held"]
    for processes in (2, 4) if kind in IN_FOUR else (2,):
        held = results[processes][f"{kind} fsdp"]["held"]
        assert held["buffers"] == whole["buffers"]  # running means, and a base in 4 bits: a copy in each
        assert held["shared"] == pytest.approx(whole["shared"] / processes, rel=0.1)
        assert results[processes][f"{kind} ddp"]["held"] == whole


@pytest.mark.parametrize("kind", ["chat", "convolutions"])
def test_activation_checkpointing_changes_no_number(results, kind):
    for processes in (1, 2):
        plain, again = results[processes][f"{kind} fsdp"], results[processes][f"{kind} again"]
        assert differ(plain, again) < 1e-6
        assert np.allclose(plain["end"], again["end"], atol=1e-5)


@pytest.mark.parametrize("kind", ["text", "chat lora"])
def test_a_run_goes_on_in_fewer_processes(results, kind):
    """Four processes share it out and stop after step 7, two go on from 6 and stop after 13, one ends it."""
    alone = results[1][f"{kind} ddp"]["losses"]
    for processes, steps in ((4, slice(0, 7)), (2, slice(6, 13)), (1, slice(12, 20))):
        found = results[processes][f"{kind} resumed"]["losses"]
        assert np.allclose(found, alone[steps], atol=1e-5), processes
