"""Chapter 00's exercises refuse the typical wrong attempts with a sentence that helps."""

import math

import pytest

from lessons.ch00 import exercises as ch00


def count(labels):
    return max(labels.count(label) for label in labels)


def first_label(labels):
    return labels.count(labels[0]) / len(labels)


def one_of_three(labels):
    return 1 / 3


def negative_sign(probabilities):
    return sum(math.log(p) for p in probabilities) / len(probabilities)


def log_of_mean(probabilities):
    return -math.log(sum(probabilities) / len(probabilities))


def a_sum(probabilities):
    return sum(-math.log(p) for p in probabilities)


def fixed_names(probabilities, names):
    return [("negative", "neutral", "positive")[row.index(max(row))] for row in probabilities]


def the_smallest(probabilities, names):
    return [names[row.index(min(row))] for row in probabilities]


def places(probabilities, names):
    return [row.index(max(row)) for row in probabilities]


def only_the_first(probabilities, names):
    return names[probabilities[0].index(max(probabilities[0]))]


WRONG = [
    (ch00.fixed_answer, count, "is a count"),
    (ch00.fixed_answer, first_label, "one fixed answer is right in"),
    (ch00.fixed_answer, one_of_three, "one fixed answer is right in"),
    (ch00.mean_error, negative_sign, "the sign is wrong"),
    (ch00.mean_error, log_of_mean, "logarithm of a mean"),
    (ch00.mean_error, a_sum, "the mean error is"),
    (ch00.name, fixed_names, "the place decides"),
    (ch00.name, the_smallest, "the place decides"),
    (ch00.name, places, "the place decides"),
    (ch00.name, only_the_first, "expected a list of 3 names"),
]


@pytest.mark.parametrize(
    ("exercise", "attempt", "sentence"), WRONG, ids=[attempt.__name__ for _, attempt, _ in WRONG]
)
def test_wrong_attempts_get_a_helpful_sentence(exercise, attempt, sentence, refused):
    refused(exercise, attempt, sentence)
