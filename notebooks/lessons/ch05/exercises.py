"""The exercises of chapter 05: choose a threshold, diagnose three logs, build a dataset."""

from lessons.ch05 import answers
from lessons.ch05.building import pile
from lessons.ch05.choosing import threshold
from lessons.ch05.logs import FAULTS
from lessons.exercise import Exercise, check_diagnosis

__all__ = ["pile", "three_logs", "threshold"]


def _verify_logs(attempt):
    advice = "compare validation with the column beside it, and with another pile"
    check_diagnosis(attempt(), answers.three_logs(), advice, words=FAULTS)


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
