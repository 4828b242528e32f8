"""One right answer to each exercise of chapter 05, written as a learner would write it."""

import numpy as np


def next_step(status, attempt, retry_after):
    if status == 200:
        return "use"
    if status not in (429, 500, 502, 503, 504) or attempt >= 4:
        return "give up"
    return max(2 * 2**attempt, retry_after or 0)


def group(size, pairs):
    group = list(range(size))
    for first, second in pairs:
        old, new = group[second], group[first]
        group = [new if number == old else number for number in group]
    return group


def suspects(probabilities, labels, most):
    given = probabilities[np.arange(len(labels)), labels]
    rows = np.flatnonzero((given <= most) & (probabilities.argmax(1) != labels))
    return rows[np.argsort(given[rows], kind="stable")].tolist()
