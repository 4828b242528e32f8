"""Chapter 04's exercises refuse the typical wrong attempts with a sentence that helps."""

import math

import pytest
import torch
from torch import nn

from lessons.ch04 import exercises as ch04


def without_warmup(step, num_steps, warmup):
    return (1 + math.cos(math.pi * step / num_steps)) / 2


def cosine_over_all_steps(step, num_steps, warmup):
    return step / warmup if step < warmup else (1 + math.cos(math.pi * step / num_steps)) / 2


def in_degrees(step, num_steps, warmup):
    return (
        step / warmup if step < warmup else (1 + math.cos(180 * (step - warmup) / (num_steps - warmup))) / 2
    )


def divides_by_zero(step, num_steps, warmup):
    return min(step / warmup, (1 + math.cos(math.pi * (step - warmup) / (num_steps - warmup))) / 2)


def linear(step, num_steps, warmup):
    return step / warmup if step < warmup else 1 - (step - warmup) / (num_steps - warmup)


def only_gradients(model, head):
    model.train()
    model.requires_grad_(False)
    head.requires_grad_(True)


def everything_in_evaluation(model, head):
    model.eval()
    model.requires_grad_(False)
    head.requires_grad_(True)


def head_too(model, head):
    model.train()
    model.requires_grad_(False)


def only_batchnorm(model, head):
    model.train()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()


def without_scale(weight, a, b, alpha):
    return weight + b @ a


def alpha_alone(weight, a, b, alpha):
    return weight + alpha * b @ a


def rank_of_the_wrong_side(weight, a, b, alpha):
    return weight + alpha / b.shape[0] * b @ a


def wrong_order(weight, a, b, alpha):
    return weight + alpha / a.shape[0] * a @ b


def in_place(weight, a, b, alpha):
    return weight.add_(alpha / a.shape[0] * b @ a)


WRONG = [
    (ch04.factor, without_warmup, "is the first step: expected 0.0000, found 1.0000"),
    (ch04.factor, cosine_over_all_steps, "is the end of the warm-up: expected 1.0000"),
    (ch04.factor, in_degrees, "half of what follows the warm-up"),
    (ch04.factor, linear, "shortly before the end"),
    (ch04.factor, divides_by_zero, "ZeroDivisionError"),
    (ch04.freeze, only_gradients, "1.running_mean"),
    (ch04.freeze, everything_in_evaluation, "dropout is switched off"),
    (ch04.freeze, head_too, "the head's weights should move"),
    (ch04.freeze, only_batchnorm, "still have requires_grad=True"),
    (ch04.merge, without_scale, "rank 3 and alpha 12"),
    (ch04.merge, alpha_alone, "check the factor"),
    (ch04.merge, rank_of_the_wrong_side, "check the factor"),
    (ch04.merge, wrong_order, "RuntimeError"),
    (ch04.merge, in_place, "changed in place"),
]


@pytest.mark.parametrize(
    ("exercise", "attempt", "sentence"), WRONG, ids=lambda value: getattr(value, "__name__", None)
)
def test_wrong_attempts_are_refused_with_a_reason(exercise, attempt, sentence, refused):
    refused(exercise, attempt, sentence)


def test_checking_draws_no_random_number_of_the_learner():
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    ch04.freeze.check(ch04.freeze.answer)
    assert torch.equal(torch.rand(1), expected)
