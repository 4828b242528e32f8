"""Chapter 08's exercises refuse the typical wrong attempts with a sentence that helps."""

import numpy as np
import pytest
import torch

from lessons.ch08 import exercises as ch08


def signed(weight, sparsity):
    keep = torch.ones(weight.numel())
    keep[weight.flatten().argsort()[: round(sparsity * weight.numel())]] = 0
    return weight * keep.view(weight.shape)


def threshold(weight, sparsity):
    if sparsity == 0:
        return weight.clone()
    limit = weight.abs().flatten().sort().values[round(sparsity * weight.numel()) - 1]
    return weight * (weight.abs() > limit)


def keeps_the_share(weight, sparsity):
    return ch08.prune.answer(weight, 1 - sparsity)


def in_place(weight, sparsity):
    return weight.mul_(ch08.prune.answer(weight, sparsity) != 0)


def only_sizes(weight, sparsity):
    return ch08.prune.answer(weight, sparsity).abs()


def of_counts(reference, current):
    return ((current - reference) * np.log(np.maximum(current, 0.5) / np.maximum(reference, 0.5))).sum()


def infinite(reference, current):
    reference, current = reference / reference.sum(), current / current.sum()
    with np.errstate(divide="ignore"):
        return ((current - reference) * np.log(current / reference)).sum()


def base_ten(reference, current):
    return ch08.psi.answer(reference, current) / np.log(10)


def kullback(reference, current):
    reference, current = reference / reference.sum(), current / current.sum()
    return (current * np.log(current / reference)).sum()


def surest(probabilities, size):
    return np.argsort(-probabilities.max(1))[:size]


def least_confident(probabilities, size):
    return np.argsort(probabilities.max(1))[:size]


def all_rows(probabilities, size):
    return np.argsort(probabilities.max(1))


def largest_first(probabilities, size):
    return ch08.next_rows.answer(probabilities, size)[::-1]


WRONG = [
    (ch08.prune, signed, "compare absolute values"),
    (ch08.prune, threshold, "a threshold cannot split equals"),
    (ch08.prune, keeps_the_share, "with sparsity 0.25 expected 3 zeros"),
    (ch08.prune, in_place, "changed in place"),
    (ch08.prune, only_sizes, "keep their values and signs"),
    (ch08.psi, of_counts, "the same shares with ten times as many rows: expected 0.0000"),
    (ch08.psi, infinite, "an empty bin"),
    (ch08.psi, base_ten, "other shares: expected"),
    (ch08.psi, kullback, "other shares"),
    (ch08.next_rows, surest, "sort the other way round"),
    (ch08.next_rows, least_confident, "not the largest alone"),
    (ch08.next_rows, all_rows, "expected 1 row numbers"),
    (ch08.next_rows, largest_first, "the smallest margin should come first"),
]


@pytest.mark.parametrize(
    ("exercise", "attempt", "sentence"), WRONG, ids=lambda value: getattr(value, "__name__", None)
)
def test_wrong_attempts_are_refused_with_a_reason(exercise, attempt, sentence, refused):
    refused(exercise, attempt, sentence)
