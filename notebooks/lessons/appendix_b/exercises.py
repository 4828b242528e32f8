"""The exercises of appendix B: which box comes next, and how many labels a watch needs."""

import numpy as np

from lessons.appendix_b import answers
from lessons.appendix_b.cases import CASES
from lessons.exercise import Exercise
from lessons.workflows import CHARTS

STEPS = {chart.name: chart.steps for chart in CHARTS}


def _verify_boxes(attempt) -> None:
    found = attempt()
    if not isinstance(found, dict) or set(found) != set(CASES):
        raise AssertionError(f"expected a dictionary with the keys {', '.join(CASES)}, found {found!r}")
    for name, case in CASES.items():
        if found[name] not in STEPS[case.workflow]:
            raise AssertionError(
                f"case {name}: expected one of {', '.join(STEPS[case.workflow])}, found {found[name]!r}"
            )
        if found[name] != case.box:
            raise AssertionError(f"case {name} does not lead to {found[name]}: {case.because}")


next_boxes = Exercise(
    verify=_verify_boxes,
    hints=(
        "Find the question of the chart that the case answers; then follow its arrow.",
        "A curve that does not fall, one that parts from validation, and one that ends above a baseline are "
        "three different questions of the same chart.",
    ),
    answer=answers.next_boxes,
    praise="A case, a question, an arrow: you read the charts as they are meant.",
)

WELL, DRIFTED, WEEKS = 0.80, 0.70, 4000
MOST_LABELS, FALSE_ALARMS, FOUND = 250, 0.05, 0.90


def share_of_alarms(right: float, labels: int, alarm_below: float, seed: int = 0) -> float:
    """Share of simulated weeks in which fewer than `alarm_below` of the labelled answers are right.

    Args:
        right: the model's true share of right answers.
        labels: fresh labels of a week.
        alarm_below: the limit of the share of right ones.
    """
    rng = np.random.default_rng((seed, labels))
    return float((rng.binomial(labels, right, size=WEEKS) / labels < alarm_below).mean())


def _verify_watch(attempt) -> str:
    found = attempt()
    if not isinstance(found, dict) or set(found) != {"labels", "alarm_below"}:
        raise AssertionError(f"expected a dictionary with the keys labels and alarm_below, found {found!r}")
    labels, limit = found["labels"], found["alarm_below"]
    if isinstance(labels, bool) or not isinstance(labels, int) or not 1 <= labels <= MOST_LABELS:
        raise AssertionError(f"labels should be a whole number from 1 to {MOST_LABELS}, found {labels!r}")
    if not isinstance(limit, int | float) or not 0 <= limit <= 1:
        raise AssertionError(f"alarm_below should be between 0 and 1, found {limit!r}")
    false, caught = share_of_alarms(WELL, labels, limit), share_of_alarms(DRIFTED, labels, limit)
    told = f"of {WEEKS:,} good weeks {false:.1%} raise an alarm, of as many bad ones {caught:.1%}"
    if false > FALSE_ALARMS and caught < FOUND:
        raise AssertionError(f"{told}; no limit is good with so few labels")
    if false > FALSE_ALARMS:
        raise AssertionError(f"{told}; people stop reading alarms that come for nothing")
    if caught < FOUND:
        raise AssertionError(f"{told}; a bad week must not pass so often")
    return f"O{told[1:]}."


watch = Exercise(
    verify=_verify_watch,
    hints=(
        "While all is well, how far is the share of right ones from the truth by chance? About twice "
        "sqrt(p * (1 - p) / labels).",
        "Put the limit between the good and the bad share, and take so many labels that it lies about two "
        "standard errors from the one and one and a half from the other.",
    ),
    answer=answers.watch,
    praise="Few false alarms, few bad weeks missed, within the labels that people have time for.",
)
