"""Exercises of chapter 10 that choose: the learner's numbers are scored on rows that the chapter hides."""

import functools
import json
from pathlib import Path

import numpy as np
from scipy.special import softmax

from helpers.training import metrics
from lessons.ch10 import answers
from lessons.exercise import Exercise
from lessons.handing_over import answered_above

HIDDEN = Path(__file__).with_name("hidden_rows.json")
CLASSES = ("negative", "neutral", "positive")


@functools.cache
def hidden_rows() -> dict[str, np.ndarray]:
    """Validation comments that the chapter does not show.

    `labels` (N,); `lengths` (N,) in tokens, with the answer; `zero_shot` and `tuned`, logits (N, 3) of the
    label words.
    """
    return {name: np.array(values) for name, values in json.loads(HIDDEN.read_text(encoding="utf-8")).items()}


WORSE, LEAST_GAIN = 0.0, 0.02


def _verify_offsets(attempt):
    found = attempt()
    if not isinstance(found, dict) or set(found) != set(CLASSES):
        raise AssertionError(f"expected a dictionary with the keys {CLASSES}, found {found!r}")
    rows = hidden_rows()
    added = np.array([float(found[name]) for name in CLASSES])
    before = metrics.macro_f1(rows["labels"], rows["zero_shot"].argmax(1), 3)
    after = metrics.macro_f1(rows["labels"], (rows["zero_shot"] + added).argmax(1), 3)
    gain = f"on {len(rows['labels'])} hidden comments macro-F1 goes from {before:.3f} to {after:.3f}"
    if after <= before + WORSE:
        raise AssertionError(f"{gain}; choose the offsets on `zero_shot` and `y_check`, not by feeling")
    if after < before + LEAST_GAIN:
        raise AssertionError(f"{gain}; at least {LEAST_GAIN:.2f} more can be had with one offset alone")
    return f"{gain[0].upper()}{gain[1:]}."


offsets = Exercise(
    verify=_verify_offsets,
    hints=(
        "Which word does the untuned model hardly ever choose? Give that one more.",
        "Only differences matter: leave two offsets at zero, and try the third on a grid with "
        "`macro_f1(zero_shot + ...)`.",
    ),
    answer=answers.offsets,
    praise="Three numbers, no training: always the next baseline of a prompted model.",
)


def _verify_hand_over(attempt):
    rows = hidden_rows()
    answered, right, found = answered_above(attempt(), softmax(rows["tuned"], axis=1), rows["labels"])
    if right < WANTED_RIGHT:
        raise AssertionError(f"{found}; {WANTED_RIGHT:.0%} were promised")
    if answered < FEWEST_ANSWERED:
        raise AssertionError(f"{found}; at least {FEWEST_ANSWERED:.0%} should not go to a person")
    return f"{found[0].upper()}{found[1:]}."


WANTED_RIGHT, FEWEST_ANSWERED = 0.85, 0.3
hand_over = Exercise(
    verify=_verify_hand_over,
    hints=(
        "Sort the checked comments by the probability of their word. From where on is the promise kept?",
        "Keep a margin: a limit that just fits the shown rows fails on half of all hidden ones.",
    ),
    answer=answers.hand_over,
    praise="A promise with its price, kept on rows that you have not seen.",
)

MOST_BYTES, SMALLEST_SHARE, SMALLEST_BATCH = 1.5e9, 0.99, 4
BYTES_PER_TOKEN = 1.4e6  # kept for the backward pass with the base frozen, in float32 (section 10.6)


def _verify_limits(attempt):
    found = attempt()
    if not isinstance(found, dict) or set(found) != {"max_tokens", "batch_size"}:
        raise AssertionError(
            f"expected a dictionary with the keys max_tokens and batch_size, found {found!r}"
        )
    lengths = hidden_rows()["lengths"]
    fits = (lengths <= found["max_tokens"]).mean()
    bytes_kept = BYTES_PER_TOKEN * found["max_tokens"] * found["batch_size"]
    if fits < SMALLEST_SHARE:
        raise AssertionError(
            f"only {fits:.1%} of the hidden comments fit {found['max_tokens']} tokens; a refused comment is "
            "lost"
        )
    if bytes_kept > MOST_BYTES:
        raise AssertionError(
            f"a batch of the longest rows keeps {bytes_kept / 1e9:.1f} GB for its backward pass, "
            f"{MOST_BYTES / 1e9:.1f} are there"
        )
    if found["batch_size"] < SMALLEST_BATCH:
        raise AssertionError(f"steps of {found['batch_size']} rows are noisy; at least {SMALLEST_BATCH} fit")
    return f"{fits:.1%} of the hidden comments fit, and the worst batch keeps {bytes_kept / 1e9:.2f} GB."


limits = Exercise(
    verify=_verify_limits,
    hints=(
        "The worst batch decides, not the mean: all its rows may be as long as you allow.",
        "Look at the 99th percentile of `dataset` lengths first, then at what one token keeps (section "
        "10.6).",
    ),
    answer=answers.limits,
    praise="The longest row and the memory were chosen together, and hidden rows agree.",
)
