"""The exercises of chapter 05: choose a threshold, diagnose three logs, build a dataset."""

from lessons.ch05 import answers
from lessons.ch05.building import pile
from lessons.ch05.choosing import threshold
from lessons.ch05.logs import FAULTS
from lessons.exercise import Exercise

__all__ = ["pile", "three_logs", "threshold"]


def _verify_logs(attempt):
    found, expected = attempt(), answers.three_logs()
    if not isinstance(found, dict) or set(found) != set(expected):
        raise AssertionError(f"expected a dictionary with the keys a, b and c, found {found!r}")
    unknown = [fault for fault in found.values() if fault not in FAULTS]
    if unknown:
        raise AssertionError(f"the faults are {', '.join(FAULTS)}; found {unknown[0]!r}")
    right = sum(found[name] == fault for name, fault in expected.items())
    if right < len(expected):
        raise AssertionError(
            f"{right} of 3 are right; compare validation with the column beside it, and with another pile"
        )


three_logs = Exercise(
    verify=_verify_logs,
    hints=(
        "One fault makes labels that nothing can predict: how often is a guess among ten classes right?",
        "With the same weights and the same rows, a score should not move.",
        "A leak looks like success until rows come from somewhere else.",
    ),
    answer=answers.three_logs,
    praise="One more column told each of them: measure twice, and on rows from elsewhere.",
)
