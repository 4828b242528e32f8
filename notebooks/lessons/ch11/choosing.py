"""Exercise of chapter 11 that chooses: how many raters to ask for a pair; scored on hidden comments."""

import functools
import json
from pathlib import Path

import numpy as np

from lessons.ch11 import answers
from lessons.exercise import Exercise

FILE = Path(__file__).with_name("hidden_rows.json")
CLICKS, LEAST_RIGHT, LEAST_PAIRS = 3000, 0.95, 400
DRAWS = 5


@functools.cache
def hidden_counts() -> np.ndarray:
    """Raters (N, 3) who find each of N validation comments negative, neutral, positive."""
    return np.array(json.loads(FILE.read_text(encoding="utf-8"))["counts"])


def bought(counts: np.ndarray, raters: int, agree: float, *, clicks: int = CLICKS, seed: int = 0) -> dict:
    """Spend `clicks` on pairs: ask some raters of each comment, and keep those that agree well enough.

    Args:
        counts: all raters (N, 3) of each comment, by opinion.
        raters: how many of them are asked about a comment, drawn at random.
        agree: smallest share of those asked who must have the most frequent opinion.

    Returns:
        {"pairs" (kept), "right" (share of them whose opinion is the most frequent one of all other raters)}.
    """
    draw = np.random.default_rng(seed)
    rows = draw.permutation(len(counts))[: clicks // raters]
    asked = np.array([draw.multivariate_hypergeometric(counts[row], raters) for row in rows])  # (M, 3)
    opinion = asked.argmax(1)
    kept = asked.max(1) >= agree * raters
    right = opinion == (counts[rows] - asked).argmax(1)
    return {"pairs": int(kept.sum()), "right": float(right[kept].mean()) if kept.any() else 0.0}


def _verify_buying(attempt):
    found = attempt()
    if not isinstance(found, dict) or set(found) != {"raters", "agree"}:
        raise AssertionError(f"expected a dictionary with the keys raters and agree, found {found!r}")
    raters, agree = found["raters"], found["agree"]
    if isinstance(raters, bool) or not isinstance(raters, int) or not 1 <= raters <= 10:
        raise AssertionError(f"raters should be a whole number from 1 to 10, found {raters!r}")
    if isinstance(agree, bool) or not isinstance(agree, int | float) or not 0 <= agree <= 1:
        raise AssertionError(f"agree should be a share from 0 to 1, found {agree!r}")
    runs = [bought(hidden_counts(), raters, agree, seed=seed) for seed in range(DRAWS)]
    pairs, right = (float(np.mean([run[name] for run in runs])) for name in ("pairs", "right"))
    said = f"on hidden comments you keep {pairs:.0f} pairs, {right:.1%} of them right"
    if right < LEAST_RIGHT:
        raise AssertionError(f"{said}; {LEAST_RIGHT:.0%} were promised")
    if pairs < LEAST_PAIRS:
        raise AssertionError(
            f"{said}; at least {LEAST_PAIRS} are needed, so the clicks were spent on too few"
        )
    return f"{said[0].upper()}{said[1:]}."


buying = Exercise(
    verify=_verify_buying,
    hints=(
        "One rater makes the most pairs and the most mistakes; ten make few pairs. Print `bought` for both.",
        "Two who agree are surer than one, and cost two. Try 2 to 5 raters, nearly all of whom must agree, "
        "and leave a margin on both sides.",
    ),
    answer=answers.buying,
    praise="Fewer, surer pairs, chosen on shown rows and kept on hidden ones.",
)
