"""A batch that does not fit into the memory is computed in parts, with the same result."""

import json
import resource
import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch

from helpers.data.collate import collate_features
from helpers.data.datasets import FeatureDataset
from helpers.data.loaders import make_loader
from helpers.errors import OutOfMemory
from helpers.training.checkpoints import CHECKPOINT, Keeper
from helpers.training.config import TrainingConfig
from helpers.training.loop import fit, mean_loss, predict_logits
from helpers.training.losses import CausalLM, Classification
from helpers.training.runtime import Runtime

ERRORS = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory"),
    RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes"),
    MemoryError("std::bad_alloc"),
]


class Limited(torch.nn.Module):
    """A model for which the memory ends above so many rows; in evaluation, too."""

    def __init__(self, most: int, error=ERRORS[1]):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.layer = torch.nn.Linear(5, 3)
        self.most, self.error, self.largest = most, error, 0

    def forward(self, features):
        if len(features) > self.most:
            raise self.error
        self.largest = max(self.largest, len(features))
        return self.layer(features)


def loader(**options):
    rng = np.random.default_rng(0)
    dataset = FeatureDataset(rng.normal(size=(26, 5)).astype(np.float32), rng.integers(3, size=26))
    return make_loader(dataset, 13, collate_features, **options)


def train(model, accumulation=1, stop_at=None, **options):
    runtime = Runtime(precision="no")
    config = TrainingConfig(epochs=4, learning_rate=0.05, accumulation_steps=accumulation, checkpoint_every=1)
    score = lambda model: {"macro_f1": float(predict_logits(model, loader(), runtime).mean() * 0)}
    arguments = {"loss": Classification(), "score": score, "runtime": runtime} | options
    for step in fit(model, loader(shuffle=True), config, **arguments):
        if step.step == stop_at:
            break
    return model.layer.weight.detach().clone()


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: str(error)[:20])
@pytest.mark.parametrize("accumulation", [1, 2])
def test_the_weights_are_those_of_whole_batches(error, accumulation):
    expected = train(Limited(99), accumulation)
    model = Limited(5, error)
    with pytest.warns(UserWarning, match="from step 1 on they are computed 4 rows at a time") as said:
        found = train(model, accumulation)
    assert len([w for w in said if "memory" in str(w.message)]) == 1
    assert torch.allclose(found, expected, atol=1e-6)
    assert model.largest == 4


def test_other_errors_are_no_lack_of_memory():
    with pytest.raises(RuntimeError, match="shapes"):
        train(Limited(5, RuntimeError("shapes cannot be multiplied")))


def test_a_row_that_does_not_fit_is_one_sentence():
    with pytest.raises(OutOfMemory, match="too small for a single row; lower --max-length or use a smaller"):
        train(Limited(0))


def test_a_resumed_run_begins_with_the_size_that_fits(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        whole = train(Limited(5), keeper=Keeper(tmp_path / "whole"))
        train(Limited(5), stop_at=3, keeper=Keeper(tmp_path / "broken"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # it knows the size
        resumed = train(Limited(5), keeper=Keeper(tmp_path / "broken", resume=True))
    assert (tmp_path / "broken" / CHECKPOINT).is_file()
    assert torch.equal(whole, resumed)


def test_a_language_models_tokens_are_counted_once():
    """Labelled tokens differ from row to row; parts of a batch must not be means of their own."""

    class Words(torch.nn.Module):
        def __init__(self, most):
            super().__init__()
            torch.manual_seed(1)
            self.most, self.table = most, torch.nn.Embedding(11, 11)

        def forward(self, input_ids, attention_mask):
            if len(input_ids) > self.most:
                raise ERRORS[0]
            return self.table(input_ids)

    ids = torch.randint(0, 11, (6, 9), generator=torch.Generator().manual_seed(0))
    labels = torch.where(torch.arange(9) < torch.arange(6)[:, None] + 2, ids, -100)
    batches = [{"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": labels}]
    ends, losses = [], []
    for most in (99, 2):
        model, runtime = Words(most), Runtime(precision="no")
        config = TrainingConfig(max_steps=5, learning_rate=0.1, select="-loss")
        score = lambda model, runtime=runtime: mean_loss(model, batches, CausalLM(), runtime)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            steps = list(fit(model, batches, config, loss=CausalLM(), score=score, runtime=runtime))
        ends.append(model.table.weight.detach())
        losses.append([step.validation["loss"] for step in steps])
    assert torch.allclose(*ends, atol=1e-6)
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)


WORKER = """
import json, resource, sys, torch, warnings
from functools import partial
from helpers.training.config import TrainingConfig
from helpers.training.loop import fit
from helpers.training.losses import Classification
from helpers.training.runtime import Runtime

torch.set_num_threads(1)
torch.manual_seed(0)
hidden = 100_000
model = torch.nn.Sequential(torch.nn.Linear(4, hidden), torch.nn.ReLU(), torch.nn.Linear(hidden, 2))
batch = {"features": torch.randn(512, 4), "labels": torch.randint(2, (512,)), "indices": torch.arange(512)}
config = TrainingConfig(max_steps=3, precision="no", learning_rate=1e-3)
options = {"loss": Classification(), "score": lambda _: {"macro_f1": 0.0}, "runtime": Runtime(precision="no")}
small = {name: tensor[:8] for name, tensor in batch.items()}
list(fit(torch.nn.Linear(4, 2), [small], config, **options))  # what a first training loads
if sys.argv[1] == "limited":
    used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + 250 * 2**20, resource.RLIM_INFINITY))
with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always")
    losses = [step.train_loss for step in fit(model, [batch], config, **options)]
print(json.dumps({"losses": losses, "said": [str(warning.message) for warning in said]}))
"""


@pytest.mark.skipif(
    not hasattr(resource, "RLIMIT_AS") or sys.platform != "linux", reason="needs Linux' limits"
)
def test_a_real_limit_of_the_memory(environment, tmp_path):
    """512 rows of 100,000 hidden numbers are 205 MB, several times; 250 MB hold a part of them."""
    (tmp_path / "worker.py").write_text(WORKER)
    found = {}
    for how in ("free", "limited"):
        words = [sys.executable, str(tmp_path / "worker.py"), how]
        done = subprocess.run(words, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-2000:]
        found[how] = json.loads(done.stdout.splitlines()[-1])
    assert not found["free"]["said"]
    assert len(found["limited"]["said"]) == 1
    assert "rows at a time" in found["limited"]["said"][0]
    assert found["limited"]["losses"] == pytest.approx(found["free"]["losses"], rel=1e-5)
