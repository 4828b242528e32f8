"""The exercises of chapter 05: a scraper's next step, groups of near-duplicates, labels to look at."""

import numpy as np
import pandas as pd

from lessons.ch05 import answers
from lessons.ch05.duplicates import groups_of_pairs
from lessons.ch05.labels import label_suspects
from lessons.exercise import Exercise

# (status, attempt, retry_after) -> what to do; the pause before attempt 1 is 2 seconds.
_NEXT_STEPS = (
    (200, 1, None, "use"),
    (404, 1, None, "give up"),
    (403, 1, None, "give up"),
    (503, 1, None, 4),
    (503, 2, None, 8),
    (429, 1, 30, 30),
    (429, 3, 10, 16),
    (500, 3, None, 16),
    (503, 4, None, "give up"),
    (429, 4, 5, "give up"),
    (200, 4, None, "use"),
)


def _verify_next_step(attempt):
    for status, number, later, expected in _NEXT_STEPS:
        found = attempt(status, number, later)
        if found != expected:
            raise AssertionError(
                f"next_step({status}, {number}, {later}) should be {expected!r}, found {found!r}"
            )


next_step = Exercise(
    verify=_verify_next_step,
    hints=(
        "Three cases: the page is there (200); asking again cannot help (other 4xx, or the fourth attempt); "
        "wait and ask again.",
        "429, 500, 502, 503 and 504 mean 'later'. After attempt 1 wait 4 seconds, after attempt 2 wait 8: `2 "
        "* 2**attempt`.",
        "`retry_after` may be None; the longer of the two waits wins: `max(2 * 2**attempt, retry_after or "
        "0)`.",
    ),
    answer=answers.next_step,
    praise="Your scraper waits longer each time, listens to the server, and knows when to stop.",
)


def _verify_group(attempt):
    rng = np.random.default_rng(0)
    cases = [
        (4, []),
        (5, [(0, 1), (1, 2)]),
        (6, [(0, 1), (2, 3), (1, 3)]),
        (30, [tuple(pair) for pair in rng.integers(0, 30, (20, 2)).tolist()]),
    ]
    for size, pairs in cases:
        found = attempt(size, list(pairs))
        if not hasattr(found, "__len__") or len(found) != size:
            raise AssertionError(
                f"group({size}, {pairs}) should be a list of {size} group numbers, found {found!r}"
            )
        expected = groups_of_pairs(pd.DataFrame(pairs, columns=["first", "second"], dtype=int), size)
        for first in range(size):
            for second in range(first):
                joined = expected[first] == expected[second]
                if (found[first] == found[second]) != joined:
                    what = (
                        "belong together, directly or through others"
                        if joined
                        else "have nothing to do with each other"
                    )
                    raise AssertionError(
                        f"with the pairs {pairs} rows {second} and {first} {what}, found groups {list(found)}"
                    )


group = Exercise(
    verify=_verify_group,
    hints=(
        "Begin with every row in a group of its own: `list(range(size))`. Each pair then joins two groups.",
        "Joining means ALL rows of both groups, not the two rows of the pair: otherwise a chain 0-1, 2-3, "
        "1-3 falls apart.",
    ),
    answer=answers.group,
    praise="The same groups as `groups_of_pairs`, and no near-duplicate can end up on two sides of a split.",
)


def _verify_suspects(attempt):
    rng = np.random.default_rng(1)
    small = np.array([[0.9, 0.05, 0.05], [0.3, 0.3, 0.4], [0.02, 0.97, 0.01], [0.015, 0.005, 0.98]])
    for probabilities, labels, most in (
        (small, np.array([0, 0, 0, 2]), 0.1),
        (small, np.array([1, 1, 2, 0]), 0.1),
        (small, np.array([2, 2, 2, 0]), 0.5),
        (rng.dirichlet((0.3, 0.3, 0.3), 50), rng.integers(0, 3, 50), 0.2),
    ):
        expected = label_suspects(probabilities, labels, range(3), most=most)["row"].tolist()
        found = attempt(probabilities.copy(), labels.copy(), most)
        if not hasattr(found, "__len__"):
            raise AssertionError(f"expected a list of row numbers, found {found!r}")
        found = [int(row) for row in found]
        if sorted(found) != sorted(expected):
            raise AssertionError(
                f"with most={most} and labels {labels.tolist()[:6]} the suspects are rows {expected}, found "
                f"{found}"
            )
        if found != expected:
            raise AssertionError(
                "the rows are right, the order is not: the most improbable label first, expected "
                f"{expected}, found {found}"
            )


suspects = Exercise(
    verify=_verify_suspects,
    hints=(
        "First the probability that each row's own label got: `probabilities[np.arange(len(labels)), "
        "labels]`.",
        "A suspect has a low probability for its label AND another class with the highest one: "
        "`probabilities.argmax(1) != labels`.",
        "Sort the rows by the probability of their label, smallest first: `rows[np.argsort(given[rows])]`.",
    ),
    answer=answers.suspects,
    praise="This list goes to a person who looks at the rows, from the top, as far as the time allows.",
)
