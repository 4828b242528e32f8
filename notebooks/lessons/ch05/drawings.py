"""The figures of chapter 05: each function draws one and returns it."""

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from PIL import Image

from helpers import plots
from helpers.data import sources
from lessons import panels
from lessons.ch05.duplicates import HASH_DISTANCE


def modes(rows: dict[str, dict[str, np.ndarray]]) -> Figure:
    """One row of pictures for each way to read them; under each its largest number."""
    forms = list(next(iter(rows.values())))
    figure, axes = plt.subplots(len(rows), len(forms), figsize=(6.6, 3.8), layout="constrained")
    for line, (name, images) in zip(axes, rows.items()):
        shown = [image if image.ndim == 2 else image[..., :3] for image in images.values()]
        titles = [f"{form}\n{images[form].max():.0f} max" for form in forms]
        panels.image_row(line, [image / max(image.max(), 1) for image in shown], titles)
        line[0].text(-0.25, 0.5, name, rotation=90, va="center", ha="right", transform=line[0].transAxes)
    figure.set_facecolor("#e0e0e0")  # so that a white picture can be seen
    return figure


def hashes_of(pictures: dict[str, Image.Image], hashes: dict[str, np.ndarray]) -> Figure:
    """Each picture beside its hash, with the bits that differ from the first one's."""
    first = next(iter(hashes.values()))
    figure, axes = plt.subplots(1, 2 * len(pictures), figsize=(9.5, 2), layout="constrained")
    for place, (name, picture) in enumerate(pictures.items()):
        bits = int((hashes[name] != first).sum())
        titles = [name, f"{bits} of {first.size} bits differ"]
        panels.image_row(axes[2 * place : 2 * place + 2], [picture, hashes[name].reshape(16, 16)], titles)
    return figure


def distances(pairs: pd.DataFrame) -> Figure:
    """How many pairs differ in how many bits; `pairs` has `distance` and `same`."""
    figure, axis = plt.subplots(figsize=(8, 2.8), layout="constrained")
    kinds = ((~pairs["same"], plots.GREY, "different pictures"), (pairs["same"], plots.VERMILION, "copies"))
    for rows, color, name in kinds:
        label = f"{name} ({rows.sum():,} pairs)"
        axis.hist(
            pairs["distance"][rows], range(0, 170, 2), histtype="step", linewidth=2, color=color, label=label
        )
    axis.axvline(HASH_DISTANCE, color="black", linestyle="--", label=f"candidates: {HASH_DISTANCE} bits")
    axis.set(xlabel="different bits of 256", ylabel="pairs (log)", yscale="log")
    axis.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    return figure


def pairs_side_by_side(pictures: Sequence, pairs: pd.DataFrame, labels: Sequence[str]) -> Figure:
    """Each pair in a frame of its own, under its name and its similarity."""
    figure = plt.figure(figsize=(10, 1.9), layout="constrained")
    for part, pair in zip(figure.subfigures(1, len(pairs), wspace=0.12), pairs.itertuples()):
        part.suptitle(f"{labels[pair.second]}, {pair.similarity:.3f}", fontsize=10)
        part.set_facecolor("#e8e8e8")
        panels.image_row(part.subplots(1, 2), [pictures[pair.first], pictures[pair.second]], ["", ""])
    return figure


def gallery(pictures: Sequence, titles: Sequence[str], columns: int = 8) -> Figure:
    """Pictures in rows, each under its title."""
    rows = math.ceil(len(pictures) / columns)
    figure, axes = plt.subplots(rows, columns, figsize=(7.4, 1.25 * rows + 0.2), layout="constrained")
    for axis in np.ravel(axes):
        axis.set_axis_off()
    panels.image_row(np.ravel(axes), pictures, titles)
    return figure


def agreement(alpha: dict[str, float], majority: np.ndarray, labels: pd.Series) -> Figure:
    """Alpha of each platform, and how large the majority of the raters is for each label."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(9.5, 2.8), layout="constrained")
    names = sorted(alpha, key=alpha.get)
    left.barh(names, [alpha[name] for name in names], color=plots.BLUE)
    left.set(xlabel="Krippendorff's alpha", xlim=(0, 1))
    right.boxplot([majority[(labels == name).to_numpy()] for name in sources.SENTIMENTS], widths=0.5)
    right.set_xticks([1, 2, 3], sources.SENTIMENTS)
    right.set(ylabel="share of the raters who\nchose the commonest class", ylim=(0.3, 1.02))
    return figure


def fillings(errors: pd.DataFrame) -> Figure:
    """Mean error of each way to fill with one dot per split, the best first; columns are the ways."""
    order = errors.mean().sort_values().index
    figure, axis = plt.subplots(figsize=(7, 2.3), layout="constrained")
    for place, name in enumerate(order):
        axis.plot(errors[name], [place] * len(errors), "o", color=plots.SKY)
        axis.plot(errors[name].mean(), place, "|", color="black", markersize=18)
    axis.set_yticks(range(len(order)), order)
    axis.invert_yaxis()
    axis.set(xlabel="mean absolute error of the filled rating (points; dots: splits, line: mean)")
    return figure
