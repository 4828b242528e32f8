"""Panels that several chapters draw: scores with their intervals, probabilities, a row of images."""

import numpy as np
from matplotlib.axes import Axes

from helpers.plots import BLUE, SKY, VERMILION


def scores(
    ax: Axes,
    names,
    values,
    intervals=None,
    *,
    reference: tuple[str, float] | None = None,
    label: str = "macro-F1",
) -> Axes:
    """Horizontal bars, one per method, with 95% intervals and a dashed reference line.

    Args:
        names, values: from the weakest method to the strongest; drawn from top to bottom.
        intervals: (low, high) of each value, or None for values without one.
        reference: name and value of the line to compare with.
        label: label of the value axis.
    """
    places = np.arange(len(names))
    ax.barh(places, values, color=BLUE, height=0.6)
    for place, value, interval in zip(places, values, intervals or [None] * len(values)):
        if interval is not None:
            ax.plot(interval, [place, place], color="black", linewidth=1.5, marker="|", markersize=8)
        ax.text(0.01, place, f"{value:.3f}", va="center", color="white", fontsize=9)
    if reference:
        ax.axvline(reference[1], color=VERMILION, linestyle="--", label=f"{reference[0]} {reference[1]:.3f}")
        ax.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    ax.set_yticks(places, names)
    ax.invert_yaxis()
    ax.set(xlabel=label, xlim=(0, 1))
    return ax


def probabilities(ax: Axes, classes, values, *, title: str = "") -> Axes:
    """The class probabilities of one input as horizontal bars with their values."""
    colors = [BLUE if value == max(values) else SKY for value in values]
    ax.barh(range(len(classes)), values, color=colors, height=0.6)
    for place, value in enumerate(values):
        ax.text(min(value + 0.01, 0.88), place, f"{value:.2f}", va="center", fontsize=9)
    ax.set_yticks(range(len(classes)), classes)
    ax.invert_yaxis()
    ax.set(xlabel="probability", xlim=(0, 1), title=title)
    return ax


def image_row(axes, images, titles) -> None:
    """One picture per Axes, without ticks, each under its title: (H, W), (H, W, 3), or a tensor (3, H, W)."""
    for ax, image, title in zip(axes, images, titles):
        array = np.asarray(image)
        ax.imshow(array.transpose(1, 2, 0) if array.ndim == 3 and array.shape[0] == 3 else array, cmap="gray")
        ax.set_title(title, fontsize=9)
        ax.set_axis_off()
