"""The figures of chapter 06, each made by one call."""

import numpy as np
import pandas as pd
import torch
from matplotlib import pyplot as plt

from helpers import plots
from lessons import panels
from lessons.ch06.gradcam import enlarge
from lessons.ch06.gradcam_explorer import overlay


def waiting(measured: dict[str, tuple[float, float]]) -> None:
    """Of each way to load: the share of the time that a network learns, and that it waits (0..1)."""
    figure, ax = plt.subplots(figsize=(7.5, 2.4), layout="constrained")
    waits = np.array([share for _, share in measured.values()])
    ax.barh(range(len(waits)), 1 - waits, color=plots.BLUE, label="learning")
    ax.barh(range(len(waits)), waits, left=1 - waits, color=plots.ORANGE, hatch="//", label="waiting")
    ax.set_yticks(
        range(len(waits)), [f"{name}, {speed:.0f} images/s" for name, (speed, _) in measured.items()]
    )
    ax.invert_yaxis()
    ax.set(xlabel="share of the time", xlim=(0, 1))
    figure.legend(frameon=False, loc="outside upper center", ncols=2)
    plots.show(
        figure,
        "Horizontal bars, each split into learning and waiting: the slow disk read one by one waits most of "
        "the time, workers and one request per batch less; only the cache removes the waiting.",
    )


def curve(losses: list[float], epochs: list[dict]) -> None:
    """Training loss of every step, and the validation loss at the end of each epoch."""
    history = pd.DataFrame({"step": range(1, len(losses) + 1), "train_loss": losses})
    history["validation_loss"] = np.nan
    for row in epochs:
        history.loc[row["step"] - 1, "validation_loss"] = row["validation_loss"]
    figure, ax = plt.subplots(figsize=(7, 2.8), layout="constrained")
    plots.learning_curves(ax, history)
    plots.show(
        figure,
        "Training loss per step falls from above 2, steeply at first; the validation loss at the end of each "
        "epoch lies near or below the smoothed training loss.",
    )


def ladder(scores: dict[str, float], intervals: list[tuple[float, float]]) -> None:
    """Accuracies from the weakest method to the test, with their 95% intervals."""
    figure, ax = plt.subplots(figsize=(7.5, 2.9), layout="constrained")
    label = "accuracy (last bar: test rows, the others: validation rows)"
    panels.scores(ax, list(scores), list(scores.values()), intervals, label=label)
    plots.show(
        figure,
        "Accuracy of majority, pixels, frozen features and fine-tuned network on validation rows, and of the "
        "fine-tuned one on test rows, with 95% intervals; the fine-tuned network is the best.",
    )


def optimism(chosen: list[float], fixed: list[float], width: float) -> None:
    """How much too good a score was: of a winner chosen on the rows that score it, of one fixed before."""
    figure, ax = plt.subplots(figsize=(7.5, 2.6), layout="constrained")
    bins = np.arange(-8, 9) * width
    ax.hist(fixed, bins, color=plots.SKY, label="one variant, chosen beforehand")
    ax.hist(
        chosen, bins, histtype="step", color=plots.VERMILION, linewidth=2, label="winner on the test rows"
    )
    ax.axvline(0, color="black", linewidth=1)
    ax.set(xlabel="score on the 100 test rows minus score on further rows", ylabel="draws of 200")
    ax.legend(frameon=False)
    plots.show(
        figure,
        "Two histograms of the difference between test score and score on further rows: that of one fixed "
        "variant is centred at zero, that of the winner on the test rows lies to the right of zero.",
    )


def ablation(table: pd.DataFrame, differences: pd.DataFrame) -> None:
    """Variants (columns `mean`, `half`) by their effect, with a tick for each seed of `differences`."""
    table = table.sort_values("mean")
    figure, ax = plt.subplots(figsize=(7.5, 0.34 * len(table) + 1.0), layout="constrained")
    for place, name in enumerate(table.index):
        seeds = differences[name].dropna()
        ax.plot(seeds, [place] * len(seeds), "|", color=plots.VERMILION, markersize=9)
        ax.errorbar(
            table.loc[name, "mean"],
            place,
            xerr=table.loc[name, "half"],
            fmt="o",
            color=plots.BLUE,
            capsize=3,
        )
    ax.axvline(0, color=plots.GREY, linestyle="--")
    ax.set_yticks(range(len(table)), [f"{name} ({table.loc[name, 'seeds']} seeds)" for name in table.index])
    ax.invert_yaxis()
    ax.set(xlabel="accuracy minus that of the recipe (ticks: seeds; 95% interval)")
    plots.show(
        figure,
        "Difference in accuracy of each variant to the recipe with its 95% interval, the largest loss on "
        f"top: {', '.join(table.index)}.",
    )


def speeds(per_second: dict[str, float], usual: str) -> None:
    """Images per second of each rung, the fastest on top; the rung that the others change is darker."""
    names = sorted(per_second, key=per_second.get, reverse=True)
    figure, ax = plt.subplots(figsize=(7.5, 0.32 * len(names) + 0.9), layout="constrained")
    colors = [plots.BLUE if name == usual else plots.SKY for name in names]
    ax.barh(range(len(names)), [per_second[name] for name in names], color=colors)
    for place, name in enumerate(names):
        ax.text(per_second[name], place, f" {per_second[name]:.0f}", va="center", fontsize=9)
    ax.set_yticks(range(len(names)), names)
    ax.invert_yaxis()
    ax.margins(x=0.1)
    ax.set(xlabel="images/s, training, this machine (dark: what the others change)")
    plots.show(
        figure,
        f"Images per second of each rung, sorted from {names[0]} to {names[-1]}; the usual way is dark.",
    )


def phases(shares: dict[str, float]) -> None:
    """The parts of a training step as one bar; shares sum to 1."""
    figure, ax = plt.subplots(figsize=(8, 1.7), layout="constrained")
    left, looks = 0.0, zip((plots.ORANGE, plots.SKY, plots.BLUE, plots.GREY), ("//", "", "", ".."))
    for (phase, share), (color, hatch) in zip(shares.items(), looks):
        label = f"{phase} {share:.0%}"
        ax.barh([0], share, left=left, color=color, hatch=hatch, edgecolor="white", label=label)
        left += share
    ax.set(xlabel="share of a training step", yticks=[], xlim=(0, 1))
    figure.legend(frameon=False, loc="outside upper center", ncols=4)
    plots.show(
        figure,
        "One bar split into "
        + ", ".join(f"{phase} {share:.0%}" for phase, share in shares.items())
        + " of a training step.",
    )


def confusion(targets: np.ndarray, predicted: np.ndarray, classes: tuple[str, ...]) -> None:
    """Confusion matrix of class indices (N,)."""
    words = np.array(classes)
    figure, ax = plt.subplots(figsize=(5.6, 5), layout="constrained")
    plots.confusion_matrix(ax, words[targets], words[predicted], classes, title="Validation rows")
    plots.show(
        figure,
        f"Confusion matrix of {len(predicted)} pictures: nearly all on the diagonal, "
        f"{(targets != predicted).sum()} beside it.",
    )


def examples(frame: pd.DataFrame, classes: tuple[str, ...]) -> None:
    """Two pictures of each class."""
    figure, axes = plt.subplots(2, len(classes), figsize=(10, 2.3), layout="constrained")
    for column, label in enumerate(classes):
        panels.image_row(axes[:, column], frame[frame["label"] == label]["image"].head(2), [label, ""])
    plots.show(
        figure,
        f"Two silhouettes of each of the animals {', '.join(classes)}: white shapes on black; only zebras "
        "and giraffes show something of their coat.",
    )


def gallery(pictures: list[np.ndarray], titles: list[str]) -> None:
    """Up to 12 pictures (H, W), each under its title."""
    figure, axes = plt.subplots(2, 6, figsize=(10, 3.9), layout="constrained")
    panels.image_row(axes.flat, pictures, titles)
    for ax in axes.flat[len(pictures) :]:
        ax.set_axis_off()
    plots.show(
        figure,
        f"The {len(pictures)} most confident errors: silhouettes with the true and the predicted animal and "
        "the probability of the prediction.",
    )


def maps(images: torch.Tensor, rows: dict[str, torch.Tensor], titles: list[str]) -> None:
    """Preprocessed pictures (N, 3, H, W), and below them a row of maps (N, h, w) for each name."""
    images = images.cpu()
    height = 1.75 * (len(rows) + 1)
    figure, axes = plt.subplots(
        len(rows) + 1, len(images), figsize=(1.75 * len(images), height), layout="constrained"
    )
    grey = [(image[0] - image[0].min()) / (image[0].max() - image[0].min()) for image in images]
    panels.image_row(axes[0], grey, titles)
    for row_axes, (name, found) in zip(axes[1:], rows.items()):
        for ax, shade, heat in zip(row_axes, grey, enlarge(found, images.shape[-1]).cpu()):
            overlay(ax, shade.numpy(), heat.numpy(), "")
        row_axes[0].text(
            -0.08, 0.5, name, rotation=90, va="center", ha="right", transform=row_axes[0].transAxes
        )
    plots.show(
        figure,
        f"{len(images)} pictures, and below them their maps: {', '.join(rows)}. Bright places speak for the "
        "predicted class.",
    )
