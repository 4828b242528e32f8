"""The exercise of chapter 07 that chooses: a limit, which is scored on comments that the chapter hides."""

import functools
import json
from pathlib import Path

import numpy as np

from lessons.ch07 import answers
from lessons.exercise import Exercise

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
    limit = attempt()
    if isinstance(limit, bool) or not isinstance(limit, int | float | np.floating):
        raise AssertionError(f"expected one number between 0 and 1, found {limit!r}")
    labels, logits = np.array(hidden_rows()["labels"]), np.array(hidden_rows()["logits"])
    p = np.exp(logits - np.logaddexp.reduce(logits, axis=1, keepdims=True))
    kept = p.max(1) >= limit
    if not kept.any():
        raise AssertionError(f"above {limit:.2f} not one hidden comment is answered")
    right = (p.argmax(1) == labels)[kept].mean()
    found = (
        f"above {limit:.2f}, {kept.mean():.0%} of {len(kept)} hidden comments are answered, {right:.1%} of "
        "them right"
    )
    if right < PROMISED:
        raise AssertionError(f"{found}; {PROMISED:.0%} were promised")
    if right > MOST_ABOVE or kept.mean() < FEWEST_ANSWERED:
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
