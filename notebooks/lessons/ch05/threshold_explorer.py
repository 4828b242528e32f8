"""Threshold explorer (chapter 05): what a similarity threshold finds, and the pairs nearest to it."""

import ipywidgets as widgets
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from helpers import plots
from lessons import panels
from lessons.ch05.duplicates import PICTURE_SIMILARITY
from lessons.controls import explorer, wide


def curve(pairs: pd.DataFrame, planted: int) -> pd.DataFrame:
    """Precision and recall at every threshold that changes them.

    Args:
        pairs: `similarity`, and `same` (bool: a pair that was planted); the more similar pairs are found
            first.
        planted: number of pairs that are in the pile, found as candidates or not.

    Returns:
        `similarity` (descending), `precision`, `recall`.
    """
    ordered = pairs.sort_values("similarity", ascending=False, ignore_index=True)
    right = ordered["same"].cumsum()
    table = pd.DataFrame(
        {
            "similarity": ordered["similarity"],
            "precision": right / (ordered.index + 1),
            "recall": right / planted,
        }
    )
    # Pairs of equal similarity are found together.
    return table.drop_duplicates("similarity", keep="last", ignore_index=True)


def at(table: pd.DataFrame, threshold: float) -> tuple[float, float]:
    """Precision and recall of `curve` at a threshold; where nothing is found, nothing is wrong: (1, 0)."""
    found = table[table["similarity"] >= threshold]
    if found.empty:
        return 1.0, 0.0
    return float(found["precision"].iloc[-1]), float(found["recall"].iloc[-1])


def precision_recall_curve(ax: Axes, table: pd.DataFrame, threshold: float) -> Axes:
    """Precision against recall, with the point of one threshold marked."""
    ax.plot(table["recall"], table["precision"], color=plots.BLUE)
    precision, recall = at(table, threshold)
    ax.plot(recall, precision, marker="o", color=plots.VERMILION, markersize=9)
    ax.set(
        xlabel="recall",
        ylabel="precision",
        xlim=(0, 1.05),
        ylim=(0, 1.05),
        title=f"similarity ≥ {threshold:.3f}",
    )
    return ax


def picture(pictures: list[Image.Image], pairs: pd.DataFrame, planted: int, *, threshold: float) -> Figure:
    """The curve with the threshold's point, the last pair that is found, and the first that is left."""
    figure = Figure(figsize=(9, 2.6), layout="constrained")
    axes = figure.subplots(1, 5, width_ratios=[2, 1, 1, 1, 1])
    precision_recall_curve(axes[0], curve(pairs, planted), threshold)
    ordered = pairs.sort_values("similarity", ascending=False)
    above, below = ordered[ordered["similarity"] >= threshold], ordered[ordered["similarity"] < threshold]
    for name, pair, two in (
        ("last found", above.tail(1), axes[1:3]),
        ("first left", below.head(1), axes[3:]),
    ):
        for ax, side in zip(two, ("first", "second")):
            ax.set_axis_off()
            for row in pair.itertuples():
                panels.image_row(
                    [ax],
                    [pictures[getattr(row, side)]],
                    [f"{name}: {row.similarity:.3f}\n{'same' if row.same else 'another'} picture"],
                )
    return figure


def sentence(pairs: pd.DataFrame, planted: int, *, threshold: float) -> str:
    """What the threshold finds, in words."""
    found = int((pairs["similarity"] >= threshold).sum())
    precision, recall = at(curve(pairs, planted), threshold)
    return (
        f"Similarity of at least {threshold:.3f}: {found} pairs found, precision {precision:.2f}, recall "
        f"{recall:.2f} of {planted} planted pairs."
    )


def threshold_explorer(pictures: list[Image.Image], pairs: pd.DataFrame, planted: int) -> widgets.Widget:
    """A slider for the threshold with the curve and the pairs next to it.

    Args:
        pictures: all pictures of the pile.
        pairs: `first`, `second` (places in `pictures`), `similarity`, `same`.
        planted: number of planted pairs.
    """
    slider = widgets.FloatSlider(
        value=PICTURE_SIMILARITY,
        min=0.9,
        max=1.0,
        step=0.001,
        readout_format=".3f",
        description="similarity at least",
        continuous_update=False,
        **wide(),
    )

    def draw(threshold: float) -> tuple[Figure, str]:
        figure = picture(pictures, pairs, planted, threshold=threshold)
        return figure, sentence(pairs, planted, threshold=threshold)

    return explorer({"threshold": slider}, draw)
