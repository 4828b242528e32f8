"""The exercises of chapter 00: the score of one fixed answer, the error of a shrug, names for columns."""

import math
import statistics
from collections import Counter

import numpy as np

from lessons.ch00 import answers
from lessons.exercise import Exercise

_LABELS = [
    ["positive", "negative", "positive", "neutral"],
    ["negative"] * 3,
    ["negative", "neutral", "neutral", "positive", "neutral"],
]


def _verify_fixed(attempt):
    for labels in _LABELS:
        count = Counter(labels).most_common(1)[0][1]
        found, expected = attempt(list(labels)), count / len(labels)
        if not isinstance(found, int | float):
            raise AssertionError(f"expected one number between 0 and 1, found {found!r}")
        if abs(found - count) < 1e-9 and abs(found - expected) > 1e-9:
            raise AssertionError(
                f"{found} is a count; accuracy is a share: divide by the number of labels, {len(labels)}"
            )
        if abs(found - expected) > 1e-9:
            raise AssertionError(
                f"for the labels {labels} one fixed answer is right in {expected:.2f} of them at best, found "
                f"{found:.2f}"
            )


fixed_answer = Exercise(
    verify=_verify_fixed,
    hints=(
        "Which label would you always answer? The one that stands in the list most often.",
        "`labels.count(name)` counts one label; take the largest count and divide by `len(labels)`.",
    ),
    answer=answers.fixed_answer,
    praise="Any model of this course must beat this number, which costs nothing.",
)


def _verify_mean_error(attempt):
    for probabilities in ([1 / 3, 1 / 3], [0.5, 0.25], [0.9, 0.8, 0.01]):
        # The mean of logarithms is the logarithm of the geometric mean.
        expected = -math.log(statistics.geometric_mean(probabilities))
        found = attempt(list(probabilities))
        if not isinstance(found, int | float):
            raise AssertionError(f"expected one number, found {found!r}")
        if (
            abs(found + math.log(sum(probabilities) / len(probabilities))) < 1e-9
            and abs(found - expected) > 1e-9
        ):
            raise AssertionError(
                "this is the logarithm of a mean; take the logarithm of each probability first, then the mean"
            )
        if abs(found + expected) < 1e-9:
            raise AssertionError(
                f"the sign is wrong: an error is positive and falls towards 0, found {found:.3f}"
            )
        if abs(found - expected) > 1e-6:
            raise AssertionError(
                f"for the probabilities {[round(p, 2) for p in probabilities]} the mean error is "
                f"{expected:.3f}, found {found:.3f}"
            )


mean_error = Exercise(
    verify=_verify_mean_error,
    hints=(
        "The error of one comment is minus the natural logarithm of the probability that its right class "
        "got: `-np.log(p)`.",
        "Compute it for each probability, add up, and divide by how many there are.",
    ),
    answer=answers.mean_error,
    praise="A shrug among three classes has the error `np.log(3)`, the dashed line of section 0.7.",
)


def _verify_name(attempt):
    rows = [[0.7, 0.2, 0.1], [0.1, 0.3, 0.6], [0.2, 0.5, 0.3]]
    for names in (
        ["negative", "neutral", "positive"],
        ["positive", "neutral", "negative"],
        ["bear", "bird", "cat"],
    ):
        found = attempt([list(row) for row in rows], list(names))
        expected = [names[place] for place in np.argmax(rows, axis=1)]
        if not isinstance(found, list | tuple) or len(found) != len(rows):
            raise AssertionError(f"expected a list of {len(rows)} names, found {found!r}")
        if list(found) != expected:
            raise AssertionError(
                f"with the names {names} the answers are {expected}, found {list(found)}: the place decides, "
                "and `names` says what it means"
            )


name = Exercise(
    verify=_verify_name,
    hints=(
        "In each row, find the place of the largest probability: `row.index(max(row))`.",
        "The name at the same place of `names` is the answer. Do not write any name into your code.",
    ),
    answer=answers.name,
    praise="The names come from outside, in the order of the columns, so the same function serves every "
    "model.",
)
