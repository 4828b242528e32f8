"""Threshold explorer (chapter 05): what a similarity threshold finds, and the pairs of texts beside it."""

import textwrap

import ipywidgets as widgets
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from helpers import plots
from lessons.ch05.close_calls import price
from lessons.controls import explorer, wide


def scores(pairs: pd.DataFrame, threshold: float) -> tuple[float, float]:
    """Precision and recall of "similar enough is a copy"; (1, 0) where nothing is found."""
    found = pairs["similarity"] >= threshold
    right = (found & pairs["same"]).sum()
    return float(right / found.sum()) if found.any() else 1.0, float(right / pairs["same"].sum())


def neighbours(pairs: pd.DataFrame, threshold: float) -> list[tuple[str, pd.Series]]:
    """The last pair that is found and the first that is left, with their names; fewer at the ends."""
    ordered = pairs.sort_values("similarity", ascending=False)
    found, left = (
        ordered[ordered["similarity"] >= threshold],
        ordered[ordered["similarity"] < threshold],
    )
    sides = (("last found", found.tail(1)), ("first left", left.head(1)))
    return [(name, row.iloc[0]) for name, row in sides if len(row)]


def picture(pairs: pd.DataFrame, threshold: float) -> Figure:
    """Both kinds of pairs by similarity, and the two pairs of texts next to the threshold."""
    figure = Figure(figsize=(9, 3.2), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[1, 1.2])
    bins = np.linspace(0, 1, 41)
    kinds = ((~pairs["same"], plots.GREY, "another statement"), (pairs["same"], plots.VERMILION, "copy"))
    for rows, color, name in kinds:
        left.hist(pairs["similarity"][rows], bins, histtype="step", linewidth=2, color=color, label=name)
    left.axvline(threshold, color="black", linestyle="--")
    left.set(xlabel="similarity", ylabel="pairs")
    left.legend(frameon=False, loc="upper left")
    right.set_axis_off()
    for place, (name, pair) in enumerate(neighbours(pairs, threshold)):
        truth = "a copy" if pair["same"] else "another statement"
        lines = [f"{name}: {pair['similarity']:.2f}, {truth}"]
        lines += [textwrap.shorten(plots.printable(pair[side]), 74) for side in ("first", "second")]
        right.text(0, 0.95 - 0.5 * place, "\n".join(lines), va="top", fontsize=9, transform=right.transAxes)
    return figure


def sentence(pairs: pd.DataFrame, threshold: float) -> str:
    """What the threshold finds, and what it costs, in words."""
    precision, recall = scores(pairs, threshold)
    return (
        f"Similarity of at least {threshold:.2f}: precision {precision:.2f}, recall {recall:.2f}; the price "
        f"is {price(pairs, threshold):.0f} for 100 pairs."
    )


def threshold_explorer(pairs: pd.DataFrame) -> widgets.Widget:
    """A slider for the threshold; `pairs` as `close_calls` makes them."""
    slider = widgets.FloatSlider(
        value=0.7,
        min=0.2,
        max=1.0,
        step=0.01,
        description="similarity at least",
        continuous_update=False,
        **wide(),
    )
    return explorer(
        {"threshold": slider},
        lambda threshold: (picture(pairs, threshold), sentence(pairs, threshold)),
    )
