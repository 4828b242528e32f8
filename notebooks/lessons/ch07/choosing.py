"""The exercise of chapter 07 that chooses: a limit, which is scored on comments that the chapter hides."""

import functools
import json
from pathlib import Path

import numpy as np
from scipy.special import softmax

from lessons.ch07 import answers
from lessons.exercise import Exercise
from lessons.handing_over import answered_above

HIDDEN = Path(__file__).with_name("hidden_rows.json")
PROMISED, MOST_ABOVE, FEWEST_ANSWERED = 0.85, 0.95, 0.3


@functools.cache
def hidden_rows() -> dict[str, list]:
    """Comments that the chapter does not show.

    `labels` (N,) and `logits` (N, 3), of a model trained as in section 7.8, of validation rows; `texts` of
    the first of them; `train_texts` and `train_labels` (words), training rows for the exercise that builds.
    """
    return json.loads(HIDDEN.read_text(encoding="utf-8"))


def _verify_hand_over(attempt):
    rows = hidden_rows()
    probabilities = softmax(np.array(rows["logits"]), axis=1)
    answered, right, found = answered_above(attempt(), probabilities, np.array(rows["labels"]))
    if right < PROMISED:
        raise AssertionError(f"{found}; {PROMISED:.0%} were promised")
    if right > MOST_ABOVE or answered < FEWEST_ANSWERED:
        raise AssertionError(f"{found}; a lower limit keeps the promise, too, and leaves people less to do")
    return f"{found[0].upper()}{found[1:]}."


hand_over = Exercise(
    verify=_verify_hand_over,
    hints=(
        "Sort the validation comments by `confidence`, the surest first. What share is right among the first "
        "1, 2, 3, ... of them?",
        "`correct[order].cumsum() / np.arange(1, len(order) + 1)` holds these shares; the last place that is "
        "good enough answers most.",
        "A limit that just fits the shown rows fails on half of all hidden ones: keep a margin of a few "
        "points.",
    ),
    answer=answers.hand_over,
    praise="A promise with its price, kept on rows that you have not seen.",
)
