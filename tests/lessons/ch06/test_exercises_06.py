"""Chapter 06's exercises refuse the typical wrong attempts with a sentence that helps."""

import pytest
import torch
from torch.nn import functional as F

from lessons.ch06 import exercises as ch06


def mean_of_means(model, batches):
    model.zero_grad()
    for inputs, labels in batches:
        (F.cross_entropy(model(inputs), labels) / len(batches)).backward()


def never_divided(model, batches):
    model.zero_grad()
    for inputs, labels in batches:
        F.cross_entropy(model(inputs), labels).backward()


def never_cleared(model, batches):
    count = sum(len(labels) for _, labels in batches)
    for inputs, labels in batches:
        (F.cross_entropy(model(inputs), labels, reduction="sum") / count).backward()


def cleared_each_time(model, batches):
    count = sum(len(labels) for _, labels in batches)
    for inputs, labels in batches:
        model.zero_grad()
        (F.cross_entropy(model(inputs), labels, reduction="sum") / count).backward()


def no_backward(model, batches):
    model.zero_grad()


def average_of_batches(model, batches):
    model.eval()
    with torch.no_grad():
        return sum(F.cross_entropy(model(inputs), labels).item() for inputs, labels in batches) / len(batches)


def in_training_mode(model, batches):
    with torch.no_grad():
        return ch06.evaluate.answer(model.train(), batches) + 0 * model(batches[0][0]).sum().item()


def mode_not_restored(model, batches):
    value = ch06.evaluate.answer(model, batches)
    model.eval()
    return value


def a_tensor(model, batches):
    return torch.tensor(ch06.evaluate.answer(model, batches))


def no_relu(activations, gradients):
    return (gradients.mean((1, 2))[:, None, None] * activations).sum(0)


def weight_per_place(activations, gradients):
    found = (gradients * activations).sum(0).relu()
    return found / found.max().clamp(min=1e-12)


def unscaled(activations, gradients):
    return no_relu(activations, gradients).relu()


def divides_by_zero(activations, gradients):
    found = unscaled(activations, gradients)
    return found / found.max()


def one_number_per_channel(activations, gradients):
    return gradients.mean((1, 2))


WRONG = [
    (ch06.accumulate, mean_of_means, "batches of (8, 8, 3) rows"),
    (ch06.accumulate, never_divided, "is 3.00 times the right one"),
    (ch06.accumulate, never_cleared, "is 3.00 times the right one"),
    (ch06.accumulate, cleared_each_time, "batches of (4, 4, 4) rows"),
    (ch06.accumulate, no_backward, "left no new gradient"),
    (ch06.evaluate, average_of_batches, "expected the mean over 13 rows"),
    (ch06.evaluate, in_training_mode, "the model was in training mode"),
    (ch06.evaluate, mode_not_restored, "put its mode back"),
    (ch06.evaluate, a_tensor, "expected a number"),
    (ch06.cam, no_relu, "negative places"),
    (ch06.cam, weight_per_place, "check weights and scale"),
    (ch06.cam, unscaled, "check weights and scale"),
    (ch06.cam, divides_by_zero, "found nan"),
    (ch06.cam, one_number_per_channel, "expected a map of shape"),
]


@pytest.mark.parametrize(
    ("exercise", "attempt", "sentence"), WRONG, ids=lambda value: getattr(value, "__name__", None)
)
def test_wrong_attempts_are_refused_with_a_reason(exercise, attempt, sentence, refused):
    refused(exercise, attempt, sentence)


@pytest.mark.parametrize("exercise", [ch06.accumulate, ch06.evaluate, ch06.cam])
def test_checking_draws_no_random_number_of_the_learner(exercise):
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    exercise.verify(exercise.answer)
    assert torch.equal(torch.rand(1), expected)
