"""A language model trains with the same loop: alone, as copies (DDP), with its weights shared out (FSDP2),
and resumed.
"""

import functools
import json
import math
import os
import shutil
import subprocess
import sys

import pytest
import torch

from helpers.files import ROOT

WORKER = '''
import json, sys
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import Dataset
from transformers import LlamaConfig, LlamaForCausalLM

from helpers.data.loaders import make_loader
from helpers.training.checkpoints import Keeper
from helpers.training.config import TrainingConfig
from helpers.training.loop import fit, mean_loss
from helpers.training.losses import CausalLM
from helpers.training.runtime import Runtime


class Sentences(Dataset):
    """Random tokens of different lengths; only the second half of each has labels."""

    def __init__(self, rows):
        rng = np.random.default_rng(rows)
        sizes = rng.integers(4, 20, size=rows)
        self.tokens = [torch.from_numpy(rng.integers(1, 97, size=size)) for size in sizes]

    def __len__(self):
        return len(self.tokens)

    def __getitem__(self, index):
        return {"tokens": self.tokens[index], "index": index}


def collate(samples):
    tokens = [sample["tokens"] for sample in samples]
    pad = partial(torch.nn.utils.rnn.pad_sequence, batch_first=True)
    labels = [torch.where(torch.arange(len(row)) < len(row) // 2, -100, row) for row in tokens]
    return {
        "input_ids": pad(tokens),
        "attention_mask": pad([torch.ones_like(row) for row in tokens]),
        "labels": pad(labels, padding_value=-100),
        "indices": torch.tensor([sample["index"] for sample in samples]),
    }


way, folder, stop_at = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
runtime = Runtime(precision="no", shard=way == "fsdp")
torch.manual_seed(0)
sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
heads = {"num_attention_heads": 4, "num_key_value_heads": 2}
config = LlamaConfig(vocab_size=97, max_position_embeddings=64, tie_word_embeddings=True, **sizes, **heads)
model = LlamaForCausalLM(config)
train = make_loader(Sentences(37), 10, collate, shuffle=True, **runtime.sharding)
validation = make_loader(Sentences(11), 8, collate, **runtime.sharding)
counts = {"max_steps": 12, "accumulation_steps": 2, "evaluate_every": 5, "checkpoint_every": 3}
training = TrainingConfig(learning_rate=3e-3, weight_decay=0.1, select="-loss", **counts)
keeper = Keeper(folder, resume=(folder / "checkpoints/last.safetensors").is_file(), scores=("loss",))
score = partial(mean_loss, loader=validation, loss=CausalLM(), runtime=runtime)
losses, scores, held = [], [], 0
for step in fit(model, train, training, loss=CausalLM(), score=score, runtime=runtime, keeper=keeper):
    losses.append(step.train_loss)
    scores.append(step.validation and step.validation["loss"])
    local = [getattr(p, "to_local", lambda p=p: p)() for p in model.parameters()]
    held = sum(part.numel() for part in local)
    if step.step == stop_at:
        break
tensors = runtime.state(model)
if runtime.is_main:
    found = {"losses": losses, "scores": scores, "held": held, "processes": runtime.num_processes}
    print("RESULT" + json.dumps(found))
    torch.save(tensors, folder / "end.pt")
runtime.leave()
'''


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    place = tmp_path_factory.mktemp("language")
    (place / "worker.py").write_text(WORKER)

    @functools.cache  # an unbroken run serves several tests
    def start(way, processes, name, stop_at=0, goes_on_from=None):
        folder = place / name
        folder.mkdir(exist_ok=True)
        if goes_on_from:
            shutil.copytree(place / goes_on_from, folder, dirs_exist_ok=True)
        launch = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"]
        command = [sys.executable, *(launch if processes > 1 else []), str(place / "worker.py")]
        environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        arguments = [way, str(folder), str(stop_at)]
        done = subprocess.run([*command, *arguments], env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-3000:]
        line = next(line for line in done.stdout.splitlines() if line.startswith("RESULT"))
        return json.loads(line.removeprefix("RESULT")), torch.load(folder / "end.pt", weights_only=True)

    return start


@pytest.fixture(scope="module")
def alone(run):
    return run("alone", 1, "alone")


def close(one, other):
    pairs = zip(one, other, strict=True)
    return max(abs(a - b) for a, b in pairs if a is not None) < 1e-5


def test_it_learns(alone):
    losses, scores = alone[0]["losses"], alone[0]["scores"]
    assert losses[0] == pytest.approx(math.log(97), abs=0.2)  # random weights know nothing
    assert losses[-1] < losses[0] - 0.1
    assert [number + 1 for number, score in enumerate(scores) if score is not None] == [5, 10, 12]


@pytest.mark.parametrize("way", ["ddp", "fsdp"])
def test_two_processes_have_the_losses_of_one(run, alone, way):
    """Labelled tokens differ from process to process: means of means would show."""
    result, tensors = run(way, 2, way)
    assert result["processes"] == 2
    assert close(result["losses"], alone[0]["losses"])
    assert close(result["scores"], alone[0]["scores"])
    assert all(torch.allclose(tensors[name], tensor, atol=1e-5) for name, tensor in alone[1].items())
    share = result["held"] / alone[0]["held"]
    assert share == 1 if way == "ddp" else share == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize(("way", "processes"), [("alone", 1), ("ddp", 2), ("fsdp", 2)])
def test_a_resumed_run_ends_bit_for_bit_where_an_unbroken_one_does(run, way, processes):
    whole, expected = run(way, processes, way)
    run(way, processes, f"{way}-broken", stop_at=7)  # the last checkpoint is of step 6
    rest, found = run(way, processes, f"{way}-resumed", goes_on_from=f"{way}-broken")
    assert rest["losses"] == whole["losses"][6:]
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())


def test_a_sharded_run_goes_on_in_one_process(run, alone):
    run("fsdp", 2, "fsdp-broken", stop_at=7)
    rest, _ = run("alone", 1, "changed", goes_on_from="fsdp-broken")
    assert close(rest["losses"], alone[0]["losses"][6:])
