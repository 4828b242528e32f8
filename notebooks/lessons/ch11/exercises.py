"""The exercises of chapter 11: build, diagnose, choose and defend."""

from lessons.ch11 import answers
from lessons.ch11.building import audit, log_probabilities, pair_loss, partial_credit
from lessons.ch11.choosing import buying
from lessons.exercise import Exercise, check_diagnosis

__all__ = ["audit", "buying", "log_probabilities", "pair_loss", "partial_credit", "three_curves"]


def _verify_curves(attempt):
    check_diagnosis(attempt(), answers.three_curves(), "read the accuracy before the loss")


three_curves = Exercise(
    verify=_verify_curves,
    hints=(
        "What is -log sigmoid(0)? Which mistake makes the difference zero whatever the model does?",
        "A loss on the learner's own pairs falls in two of the runs. Held-out pairs are not fooled: in which "
        "one does the accuracy fall below one half, and in which one do both answers become impossible?",
    ),
    answer=answers.three_curves,
    praise="Four columns, three causes: a log of the loss alone would not have told them apart.",
)
