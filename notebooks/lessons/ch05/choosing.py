"""The exercise of chapter 05 that chooses: a threshold, whose price is measured on hidden pairs."""

import functools

import numpy as np

from lessons.ch05 import answers
from lessons.ch05.close_calls import close_calls, price
from lessons.exercise import Exercise

HIDDEN, MOST = (11, 12, 13), 1.2  # seeds of the hidden pairs; times the best price that could be had


@functools.cache
def _hidden() -> tuple:
    return tuple(close_calls(seed) for seed in HIDDEN)


def _price(threshold: float) -> float:
    return float(np.mean([price(pairs, threshold) for pairs in _hidden()]))


def _verify_threshold(attempt):
    found = attempt()
    if isinstance(found, bool) or not isinstance(found, int | float) or not 0 < found < 1:
        raise AssertionError(f"expected one number between 0 and 1, found {found!r}")
    paid, best = _price(found), min(map(_price, np.arange(0.3, 0.96, 0.01)))
    told = f"on hidden pairs {found:.2f} costs {paid:.0f} for 100 pairs, the best threshold {best:.0f}"
    if paid > MOST * best:
        side = "misses copies, which cost four" if found > 0.7 else "throws too many other comments away"
        raise AssertionError(f"{told}: yours {side}; compute the price on `hard_pairs` for a grid")
    return f"{told[0].upper()}{told[1:]}."


threshold = Exercise(
    verify=_verify_threshold,
    hints=(
        "A missed copy costs four times as much: go lower than where precision and recall are equal.",
        "`min(np.arange(0.3, 0.95, 0.01), key=lambda t: price(hard_pairs, t))`; then ask how flat the "
        "bottom is, and stay in its middle.",
    ),
    answer=answers.threshold,
    praise="Chosen by its price, and the price holds on pairs that you have not seen.",
)
