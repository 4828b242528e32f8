"""Timing a step, and counting what autograd keeps, on networks whose sizes are known."""

import os

import pytest
import torch
from torch import nn

from helpers.errors import InputError
from helpers.models.pretrained import image_classifier
from lessons.ch06.performance import quiet_stderr, saved_bytes, time_calls, training_step


def test_median_of_the_timed_calls_without_the_warm_up():
    ticks = iter([0, 1, 10, 12, 20, 29])  # calls of 1, 2 and 9 seconds
    calls = []
    timing = time_calls(lambda: calls.append(1), items=4, repeats=3, warmup=2, clock=lambda: next(ticks))
    assert len(calls) == 5
    assert (timing.seconds, timing.fastest, timing.slowest) == (2, 1, 9)
    assert timing.items_per_second == 2


@pytest.mark.parametrize("bad", [{"items": 0}, {"items": 1, "repeats": 0}])
def test_nothing_to_time_is_refused(bad):
    with pytest.raises(InputError, match="at least 1 repeat and 1 item"):
        time_calls(lambda: None, **bad)


def test_a_step_learns_its_batch_and_leaves_frozen_weights():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 2))
    model[1].requires_grad_(False)
    frozen = model[1].weight.clone()
    images, labels = torch.randn(6, 3, 2, 2), torch.arange(6) % 2
    step = training_step(model, images, labels, learning_rate=0.05)
    losses = [step().item() for _ in range(30)]
    assert losses[-1] < losses[0] - 0.2
    assert torch.equal(model[1].weight, frozen)


def test_saved_bytes_of_a_known_network():
    model = nn.Sequential(nn.Linear(10, 20), nn.Sigmoid(), nn.Linear(20, 5))
    inputs = torch.randn(8, 10)
    # Kept: the input (8 x 10), and the sigmoid's output (8 x 20), once though two layers need it. Weights are
    # not counted.
    assert saved_bytes(model, inputs) == 4 * (8 * 10 + 8 * 20)


def test_checkpointing_keeps_less_and_grows_with_the_batch():
    model = image_classifier(classes=("a", "b"), image_size=32).model.train()
    four, eight = (saved_bytes(model, torch.randn(size, 3, 32, 32)) for size in (4, 8))
    assert 1.9 < eight / four < 2.1
    model.set_grad_checkpointing(True)
    assert saved_bytes(model, torch.randn(8, 3, 32, 32)) < eight / 3


def test_standard_error_is_silent_inside_and_works_afterwards(capfd):
    with quiet_stderr():
        os.write(2, b"from C++")
    os.write(2, b"heard")
    assert capfd.readouterr().err == "heard"
