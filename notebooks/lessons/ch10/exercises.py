"""The exercises of chapter 10: build, diagnose, choose and defend."""

from lessons.ch10 import answers
from lessons.ch10.building import accumulate, collate, conversations, low_rank
from lessons.ch10.choosing import hand_over, limits, offsets
from lessons.exercise import Exercise, check_diagnosis

__all__ = [
    "accumulate",
    "collate",
    "conversations",
    "four_prompts",
    "hand_over",
    "limits",
    "low_rank",
    "offsets",
    "three_adapters",
    "three_runs",
]


def _same(found, expected: dict, what: str) -> None:
    check_diagnosis(found, expected, "read each again and ask what it never learnt", what=what)


def _verify_adapters(attempt):
    _same(attempt(), answers.three_adapters(), "faults")


three_adapters = Exercise(
    verify=_verify_adapters,
    hints=(
        "Which of the three was never told where an answer ends? It cannot stop.",
        "A label that is shifted once too often makes the first position learn what comes second: look "
        "for an answer that lacks its first token.",
        "What stands behind an answer in a padded batch? Only a model that learnt it will write it.",
    ),
    answer=answers.three_adapters,
    praise="The text alone gave the fault away: read what a model writes before you read its loss.",
)


def _verify_prompts(attempt):
    _same(attempt(), answers.four_prompts(), "names")


four_prompts = Exercise(
    verify=_verify_prompts,
    hints=(
        "Which answer begins with what its prompt should have ended with?",
        "One answer retells, as the untuned model does; another goes on with the text as if unasked.",
    ),
    answer=answers.four_prompts,
    praise="One line of a template is a change of the model's input like any other.",
)


def _verify_runs(attempt):
    _same(attempt(), answers.three_runs(), "faults")


three_runs = Exercise(
    verify=_verify_runs,
    hints=(
        "A mean over nothing is not a number.",
        "Which loss is low at once, on rows of which most tokens are easy to guess?",
        "The third begins well and then explodes: what moves every weight too far?",
    ),
    answer=answers.three_runs,
    praise="Three log files, three causes: the number of labelled tokens and the rate belong into every log.",
)
