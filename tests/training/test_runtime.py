"""The runtime: precisions beside each other, fp16's skipped steps, and what a precision is chosen by."""

import copy

import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch import nn
from torch.distributed.fsdp import FSDPModule

from helpers import environment
from helpers.errors import InputError
from helpers.models.pretrained import image_classifier
from helpers.training.config import TrainingConfig
from helpers.training.loop import fit
from helpers.training.runtime import Runtime, mostly_convolutions


def computed_in(runtime):
    with runtime.autocast():
        return nn.Linear(4, 4)(torch.ones(2, 4)).dtype


def test_two_precisions_live_beside_each_other():
    """The first runtime keeps its precision after the second was made, and computes in it."""
    half, whole, again = Runtime(precision="bf16"), Runtime(precision="no"), Runtime(precision="bf16")
    assert [runtime.precision for runtime in (half, whole, again)] == ["bf16", "no", "bf16"]
    found = [computed_in(runtime) for runtime in (half, whole, again, half)]
    assert found == [torch.bfloat16, torch.float32, torch.bfloat16, torch.bfloat16]


def test_another_trainer_may_have_chosen_a_precision_for_the_process():
    """transformers' Trainer tells accelerate of bf16, which then keeps it; ours computes as it is asked."""
    AcceleratorState._reset_state(reset_partial_state=True)
    try:
        assert Accelerator(mixed_precision="bf16", cpu=True).mixed_precision == "bf16"
        assert computed_in(Runtime(precision="no")) == torch.float32
    finally:
        AcceleratorState._reset_state(reset_partial_state=True)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("efficientnet_lite0", True), ("resnet50", True), ("vit_tiny_patch16_224", False)],
)
def test_a_vision_transformer_is_no_convolutional_network(name, expected):
    """It has one convolution, its first layer, and would be trained in float32 on a CPU because of it."""
    assert mostly_convolutions(image_classifier(name, ("a", "b"), pretrained=False).model) is expected


def test_auto_chooses_by_the_model(monkeypatch):
    chosen = {True: "no", False: "bf16"}
    monkeypatch.setattr(environment, "precision", lambda *, convolutional: chosen[convolutional])
    assert Runtime(nn.Conv2d(1, 1, 3)).precision == "no"
    assert Runtime(nn.Linear(1, 1)).precision == "bf16"


class Overflowing:
    """A loss whose second batch is too large for half precision."""

    def __init__(self):
        self.calls = 0

    def items(self, batch):
        return 1

    def __call__(self, model, batch):
        self.calls += 1
        return model(batch["x"]).float().sum() * (float("inf") if self.calls == 2 else 0.1)


def test_a_step_that_fp16_skips_moves_nothing():
    """Weights, schedule and the count of steps stay where they are; only the batch is gone."""
    runtime, model = Runtime(precision="fp16"), nn.Linear(2, 1)
    config = TrainingConfig(
        epochs=1, learning_rate=0.1, schedule="linear", warmup_share=0.0, precision="fp16"
    )
    before, seen = model.weight.detach().clone(), []
    options = {"loss": Overflowing(), "score": lambda _: {"macro_f1": 0.0}, "runtime": runtime}
    for step in fit(model, [{"x": torch.ones(1, 2)}] * 4, config, **options):
        seen.append((step.step, step.learning_rate, not torch.equal(model.weight, before)))
        before = model.weight.detach().clone()
    assert [number for number, *_ in seen] == [1, 1, 2, 3]
    assert [moved for *_, moved in seen[:3]] == [True, False, True]
    assert seen[1][1] == seen[2][1]  # the rate of the skipped step is used by the next one


def test_one_process_shares_with_itself_and_gives_back_a_plain_model():
    """What a single GPU measures: the same hooks and exchanges, among one."""
    runtime, model = Runtime(precision="no", shard=True), nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 1))
    before, names = model(torch.ones(2, 4)).detach(), [set(vars(module)) for module in model.modules()]
    runtime.prepare(model, torch.optim.SGD(model.parameters()))
    assert isinstance(model, FSDPModule)
    assert torch.equal(model(torch.ones(2, 4)), before)
    runtime.finish(model)
    assert type(model) is nn.Sequential
    assert [set(vars(module)) for module in model.modules()] == names
    assert not model._forward_pre_hooks
    assert torch.equal(copy.deepcopy(model)(torch.ones(2, 4)), before)
    runtime.leave()
    assert not torch.distributed.is_initialized()


def test_a_tracker_that_is_missing_is_named(monkeypatch):
    monkeypatch.setattr("helpers.training.runtime.get_available_trackers", list)
    with pytest.raises(InputError, match="wandb is not installed; run `pip install wandb`"):
        Runtime(precision="no", log_with="wandb")


def test_a_tracker_gets_the_numbers(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    runtime = Runtime(precision="no", log_with="tensorboard", folder=tmp_path)
    runtime.start_log({"epochs": 2})
    runtime.log({"train_loss": 0.5}, 1)
    runtime.log({"train_loss": 0.25}, 2)
    runtime.leave()
    events = EventAccumulator(str(next(tmp_path.rglob("events.*")).parent)).Reload()
    assert [(event.step, event.value) for event in events.Scalars("train_loss")] == [(1, 0.5), (2, 0.25)]
