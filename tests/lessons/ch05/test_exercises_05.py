"""Chapter 05's exercises refuse the typical wrong attempts with a sentence that helps."""

import numpy as np
import pytest

from lessons.ch05 import exercises as ch05


def gives_up_at_once(status, attempt, retry_after):
    return "use" if status == 200 else "give up"


def asks_for_ever(status, attempt, retry_after):
    return (
        "use"
        if status == 200
        else "give up"
        if status in (403, 404)
        else max(2 * 2**attempt, retry_after or 0)
    )


def ignores_the_server(status, attempt, retry_after):
    if status == 200:
        return "use"
    return "give up" if status in (403, 404) or attempt >= 4 else 2 * 2**attempt


def trusts_the_server_alone(status, attempt, retry_after):
    if status == 200:
        return "use"
    return "give up" if status in (403, 404) or attempt >= 4 else retry_after or 2 * 2**attempt


def forgets_none(status, attempt, retry_after):
    return (
        "use"
        if status == 200
        else "give up"
        if status in (403, 404) or attempt >= 4
        else max(2 * 2**attempt, retry_after)
    )


def only_the_pair(size, pairs):
    groups = list(range(size))
    for first, second in pairs:
        groups[second] = groups[first]
    return groups


def all_in_one(size, pairs):
    return [0] * size


def list_of_sets(size, pairs):
    return [set(pair) for pair in pairs]


def only_the_threshold(probabilities, labels, most):
    given = probabilities[np.arange(len(labels)), labels]
    return np.flatnonzero(given <= most)[np.argsort(given[given <= most])].tolist()


def only_disagreement(probabilities, labels, most):
    given = probabilities[np.arange(len(labels)), labels]
    rows = np.flatnonzero(probabilities.argmax(1) != labels)
    return rows[np.argsort(given[rows])].tolist()


def in_order_of_rows(probabilities, labels, most):
    given = probabilities[np.arange(len(labels)), labels]
    return np.flatnonzero((given <= most) & (probabilities.argmax(1) != labels)).tolist()


WRONG = [
    (ch05.next_step, gives_up_at_once, "next_step(503, 1, None) should be 4, found 'give up'"),
    (ch05.next_step, asks_for_ever, "should be 'give up'"),
    (ch05.next_step, ignores_the_server, "should be 30, found 4"),
    (ch05.next_step, trusts_the_server_alone, "should be 16, found 10"),
    (ch05.next_step, forgets_none, "TypeError"),
    (ch05.group, only_the_pair, "belong together"),
    (ch05.group, all_in_one, "have nothing to do with each other"),
    (ch05.group, list_of_sets, "should be a list of 4 group numbers"),
    (ch05.suspects, only_the_threshold, "the suspects are rows"),
    (ch05.suspects, only_disagreement, "the suspects are rows"),
    (ch05.suspects, in_order_of_rows, "the most improbable label first"),
]


@pytest.mark.parametrize(
    ("exercise", "attempt", "sentence"), WRONG, ids=lambda value: getattr(value, "__name__", None)
)
def test_wrong_attempts_are_refused_with_a_reason(exercise, attempt, sentence, refused):
    refused(exercise, attempt, sentence)
