"""The exercises of appendix B: which box comes next, as judged and as a program, and a watch with labels."""

import numpy as np

from lessons.appendix_b import answers
from lessons.appendix_b.cases import CASES
from lessons.exercise import Exercise, check_keys
from lessons.workflows import CHARTS

STEPS = {chart.name: chart.steps for chart in CHARTS}


def _verify_boxes(attempt) -> None:
    found = attempt()
    check_keys(found, CASES)
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

# A week, the step that it calls for, and why another one is wrong.
WEEKS_OF_USE = (
    ({"drifted": False}, "Monitor", "nothing has changed"),
    ({"drifted": True}, "Measure on new labels", "a drift alone does not say that answers are worse"),
    ({"drifted": True, "interval": (0.74, 0.82)}, "Monitor", "the whole interval lies above the success"),
    ({"drifted": True, "interval": (0.58, 0.67)}, "Data", "the whole interval lies below the success"),
    (
        {"drifted": False, "interval": (0.58, 0.67)},
        "Data",
        "answers can get worse while the inputs look as ever, and here labels say so",
    ),
    (
        {"drifted": True, "interval": (0.66, 0.75)},
        "Measure on new labels",
        "the success lies inside of the interval, so more labels are needed",
    ),
    ({"drifted": False, "errors": 0.05}, "Deploy", "errors rose: the last good version comes back first"),
    (
        {"drifted": True, "errors": 0.05, "interval": (0.58, 0.67)},
        "Deploy",
        "users wait: roll back first, look for the cause after that",
    ),
    ({"drifted": False, "errors": 0.0011}, "Monitor", "such a difference of errors is chance"),
)
USUAL = {"errors": 0.001, "errors_before": 0.001, "interval": None, "success": 0.70}


def _verify_next_step(attempt) -> None:
    for changes, step, because in WEEKS_OF_USE:
        week = USUAL | changes
        found = attempt(dict(week))
        if found not in STEPS["application"]:
            raise AssertionError(f"expected one of {', '.join(STEPS['application'])}, found {found!r}")
        if found != step:
            raise AssertionError(f"the week {week} does not call for {found}: {because}")


next_step = Exercise(
    verify=_verify_next_step,
    hints=(
        "Follow the chart from Deploy downwards: one `if` for each diamond, in its order.",
        "An interval has three answers: above the success, below it, or around it.",
    ),
    answer=answers.next_step,
    praise="Your program rolls back first, and asks for labels before it asks for data.",
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
