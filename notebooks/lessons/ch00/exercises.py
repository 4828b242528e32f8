"""The exercises of chapter 00: faults of three trainings, a limit to choose, answers from logits."""

import functools
import json
import math
from numbers import Real

import numpy as np

from lessons.ch00 import answers as solutions
from lessons.ch00.record import FILE
from lessons.exercise import Exercise, check_diagnosis
from lessons.handing_over import answered_above


@functools.cache
def _recorded() -> dict:
    return json.loads(FILE.read_text(encoding="utf-8"))


def show_runs() -> None:
    """Print the three recorded trainings of exercise 0.1."""
    print("run   mean error of each quarter of the training      right, learnt from   right, put aside")
    for name, run in _recorded()["runs"].items():
        errors = "   ".join(f"{error:5.2f}" for error in run["errors"])
        print(f"{name:<6}{errors:<48}{run['learnt from']:>14.2f}{run['put aside']:>19.2f}")


def _verify_runs(attempt):
    advice = (
        "ask of each: did the error fall, and are the answers on both kinds of comments what such an error "
        "promises?"
    )
    check_diagnosis(attempt(), solutions.three_runs(), advice)


three_runs = Exercise(
    verify=_verify_runs,
    hints=(
        "In which run did the error not fall at all? Such a model has learnt nothing.",
        "In which run is the error nearly 0 and every learnt comment right, while the others fare much "
        "worse?",
        "The third learns well by its error, yet is wrong even on what it learnt. What stands between three "
        "numbers and a word?",
    ),
    answer=solutions.three_runs,
    praise="One number never says which fault it is: read the error and both scores side by side.",
)

PROMISED, FEWEST = 0.8, 0.25  # share of right answers above the limit; share of comments that are answered


def _verify_limit(attempt):
    recorded = _recorded()
    probabilities, labels = np.array(recorded["probabilities"]), np.array(recorded["labels"])
    answered, right, said = answered_above(attempt(), probabilities, labels)
    if right < PROMISED:
        raise AssertionError(f"{said}; {PROMISED:.0%} were promised, so leave more of them to a person")
    if answered < FEWEST:
        raise AssertionError(f"{said}; a model that answers less than {FEWEST:.0%} saves nobody's time")
    return f"{said[0].upper()}{said[1:]}."


limit = Exercise(
    verify=_verify_limit,
    hints=(
        "Try more limits with the lines above: what happens to each of the two shares?",
        "Do not take the smallest limit that keeps the promise here: on other comments it will miss by a "
        "little. Leave room.",
    ),
    answer=solutions.limit,
    praise="You chose on some comments, and it holds on others: that is what validation is for.",
)

_LOGITS = [[2.0, 0.0, -1.0], [-0.5, 0.1, 0.3], [0.0, 4.0, 1.0]]


def _verify_answers(attempt):
    for names in (
        ["negative", "neutral", "positive"],
        ["positive", "neutral", "negative"],
        ["no", "?", "yes"],
    ):
        _compare(attempt, [list(row) for row in _LOGITS], names)
    _compare(attempt, [[1.0, 2.0]], ["cat", "dog"])
    _compare(attempt, [[1000.0, 0.0, 1000.0 - math.log(3)]], ["a", "b", "c"])


def _compare(attempt, logits, names):
    with np.errstate(over="ignore", invalid="ignore"):
        found = attempt([list(row) for row in logits], list(names))
    expected = solutions.answers(logits, names)
    if not isinstance(found, list) or len(found) != len(logits):
        raise AssertionError(f"expected a list of {len(logits)} pairs (name, probability), found {found!r}")
    for row, pair, (name, probability) in zip(logits, found, expected):
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            raise AssertionError(f"each answer should be a pair (name, probability), found {pair!r}")
        if pair[0] != name:
            raise AssertionError(
                f"for the logits {row} and the names {names} the answer is {name!r}, found {pair[0]!r}: the "
                "place of the largest number decides, and `names` says what it means"
            )
        if not isinstance(pair[1], Real) or not abs(float(pair[1]) - probability) < 1e-6:
            raise AssertionError(
                f"for the logits {row} the probability is {probability:.3f}, found {pair[1]}: exp of each "
                "logit, divided by the sum of its row (subtract the row's largest first: exp(1000) is too "
                "large for a computer)"
            )


answers = Exercise(
    verify=_verify_answers,
    hints=(
        "Probabilities first: `np.exp(row)` makes every number positive, and dividing by the sum makes them "
        "add up to 1.",
        "`row.argmax()` is the place of the largest number; the name at the same place of `names` is the "
        "answer. Write no name into your code.",
        "Take `row - row.max()` before `np.exp`: all probabilities stay the same, and nothing overflows.",
    ),
    answer=solutions.answers,
    praise="Any model that sorts into classes ends with these lines, whatever its classes are called.",
)
