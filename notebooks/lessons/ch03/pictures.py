"""The pictures of chapter 03, each one call: numbers in, a picture with a sentence for screen readers out."""

import numpy as np
from matplotlib import pyplot as plt

from helpers import plots
from lessons import panels


def convolved(pictures: dict) -> None:
    """What a convolution sees, step by step: {"name": (H, W)}."""
    figure, axes = plt.subplots(1, len(pictures), figsize=(2 * len(pictures), 2.3), layout="constrained")
    titles = [f"{name} {picture.shape[0]} x {picture.shape[1]}" for name, picture in pictures.items()]
    panels.image_row(axes, pictures.values(), titles)
    plots.show(
        figure,
        "Five small pictures: a silhouette, its level edges, its upright edges, only the positive ones of "
        "these, and a coarser version after pooling.",
    )


def arrived(gradients: dict) -> None:
    """Gradient against distance: {"layer": (steps,)}, as a share of that of the last token."""
    figure, ax = plt.subplots(figsize=(6.5, 3), layout="constrained")
    for (name, values), color in zip(gradients.items(), (plots.VERMILION, plots.ORANGE, plots.BLUE)):
        ax.plot(values, color=color, label=name)
    ax.set(xlabel="steps before the end", ylabel="gradient (last token = 1)", yscale="log")
    ax.legend(frameon=False)
    plots.show(
        figure,
        "Gradient against distance on a logarithmic scale: RNN and fresh LSTM fall steeply, the LSTM with "
        "opened gates falls slowly.",
    )


def attention(tables: dict, tokens: list[str]) -> None:
    """Tables of attention weights over the same tokens: {"title": (L, L)}."""
    figure, axes = plt.subplots(
        1, len(tables), figsize=(4 * len(tables), 4.2), layout="constrained", sharey=True
    )
    for ax, (title, table) in zip(axes, tables.items()):
        image = ax.imshow(table, cmap="Blues", vmin=0, vmax=1)
        ax.set_xticks(range(len(tokens)), tokens, rotation=90)
        ax.set_yticks(range(len(tokens)), tokens)
        ax.set(xlabel="looks at this token", title=title)
    axes[0].set(ylabel="this token")
    figure.colorbar(image, ax=axes, label="attention weight", shrink=0.7)
    plots.show(
        figure,
        "Square tables of attention weights of trained heads: in the first each token looks at the one "
        "before it; in the second a word's first piece looks at its second; in the third many tokens look "
        "at one word of mood.",
    )


def modes(accuracies: dict) -> None:
    """Accuracy of one network: {"way of batching": (without eval(), with eval())}."""
    figure, ax = plt.subplots(figsize=(7, 3.1), layout="constrained")
    places = np.arange(len(accuracies))
    labels = {"without eval()": plots.VERMILION, "with eval()": plots.BLUE}
    for column, (label, color) in enumerate(labels.items()):
        values = [pair[column] for pair in accuracies.values()]
        bars = ax.barh(places + 0.4 * column - 0.2, values, 0.36, color=color, label=label)
        ax.bar_label(bars, fmt="%.3f", padding=3, fontsize=9)
    ax.set_yticks(places, list(accuracies))
    ax.invert_yaxis()
    ax.set(xlabel="validation accuracy", xlim=(0, 1.0))
    ax.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
    plots.show(
        figure,
        "Pairs of bars: with eval() the accuracy is the same for all batches; without it, it is lower, and "
        "lowest for single images and for rows sorted by class.",
    )


def scores(found: dict) -> None:
    """Scores with intervals, sorted by score: {"method": (score, (low, high))}."""
    order = sorted(found, key=lambda name: found[name][0])
    figure, ax = plt.subplots(figsize=(6.5, 0.6 + 0.5 * len(order)), layout="constrained")
    values, bounds = zip(*(found[name] for name in order))
    panels.scores(ax, order, values, bounds, label="validation macro-F1")
    plots.show(
        figure,
        "Bars of macro-F1 with 95% bootstrap intervals: majority lowest; LSTM, Transformer and TF-IDF with "
        "regression close together.",
    )


def vanishing(series: dict) -> None:
    """Share of the gradient that reaches the first layer, and the loss: {"name": (shares, losses)}."""
    figure, axes = plt.subplots(1, 2, figsize=(9, 3), layout="constrained")
    styles = ((plots.VERMILION, "-"), (plots.ORANGE, "--"), (plots.BLUE, "-"))
    for (name, pair), (color, style) in zip(series.items(), styles):
        for ax, values in zip(axes, pair):
            ax.plot(values, style, color=color, label=name)
    axes[0].set(xlabel="step", ylabel="gradient, first layer / last layer", yscale="log")
    axes[1].set(xlabel="step", ylabel="training loss (nats)", ylim=(0, None))
    axes[1].legend(frameon=False, fontsize=9)
    plots.show(
        figure,
        "Left, the share of gradient that reaches the first layer: tiny for both sigmoid networks, though it "
        "climbs at the constant rate, near one "
        "for the residual one. Right, only the residual network's loss falls.",
    )


def rates(by_rate) -> None:
    """Accuracy against learning rate, one line per optimizer.

    Args:
        by_rate: DataFrame with the index (optimizer, learning_rate), the columns `mean` and `half`.
    """
    figure, ax = plt.subplots(figsize=(8, 3.4), layout="constrained")
    colors = {"sgd": plots.VERMILION, "adam": plots.SKY, "adamw": plots.BLUE, "adadelta": plots.GREEN}
    for (name, color), marker in zip(colors.items(), "svo^"):
        table = by_rate.loc[name]
        ax.errorbar(
            table.index, table["mean"], table["half"], color=color, marker=marker, capsize=3, label=name
        )
    ax.set(xlabel="learning rate", ylabel="validation accuracy, last epoch", xscale="log", ylim=(0, 1))
    ax.legend(
        frameon=False, loc="center left", bbox_to_anchor=(1, 0.5), title="mean of 5 seeds,\n95% t-interval"
    )
    plots.show(
        figure,
        "Validation accuracy against learning rate for four optimizers with intervals: each has a range that "
        "works, Adam and AdamW at low rates, SGD higher, Adadelta highest.",
    )


def noise(sizes: list[int], measured: list[float]) -> None:
    """Noise of the gradient against batch size, beside the square-root law."""
    figure, ax = plt.subplots(figsize=(5.5, 2.8), layout="constrained")
    ax.plot(sizes, measured, color=plots.BLUE, marker="o", label="measured")
    law = measured[0] * np.sqrt(sizes[0] / np.array(sizes))
    ax.plot(sizes, law, color=plots.GREY, linestyle=":", label="square-root law")
    ax.set(xlabel="batch size (rows)", ylabel="noise / gradient", xscale="log", yscale="log")
    ax.set_xticks(sizes, sizes)
    ax.set_yticks([1, 2, 4, 8], [1, 2, 4, 8])
    ax.minorticks_off()
    ax.legend(frameon=False)
    plots.show(
        figure,
        "Noise of the gradient against batch size, both logarithmic: the measured points lie on the dotted "
        "line of the square-root law.",
    )


def over_fitting(history) -> None:
    """Learning curves of a training that over-fits, see `plots.learning_curves`."""
    figure, ax = plt.subplots(figsize=(6.5, 3), layout="constrained")
    plots.learning_curves(ax, history)
    ax.set(title="200 silhouettes, read again and again")
    plots.show(
        figure,
        "Training loss falls towards zero; validation loss falls first, then stays far above it.",
    )


def capacity(by_capacity: list[tuple], by_data: list[tuple]) -> None:
    """Training and validation accuracy against the number of weights, and of rows: (number, one, other)."""
    figure, axes = plt.subplots(1, 2, figsize=(9.5, 3.2), sharey=True, layout="constrained")
    for ax, found in zip(axes, (by_capacity, by_data)):
        xs = [row[0] for row in found]
        ax.plot(xs, [row[1] for row in found], color=plots.GREY, marker="s", label="training")
        ax.plot(xs, [row[2] for row in found], color=plots.VERMILION, marker="o", label="validation")
        ax.set(xscale="log", ylim=(0, 1.05))
    axes[0].legend(frameon=False, loc="lower right")
    axes[0].set(title="500 rows, growing network", xlabel="weights", ylabel="accuracy")
    axes[1].set(title="one network, growing data", xlabel="training rows")
    plots.show(
        figure,
        "Left, accuracy against number of weights: training and validation rise together, with a gap. Right, "
        "against training rows: training falls, validation rises, the gap closes.",
    )


def differences(found: dict, label: str) -> None:
    """Differences seed by seed with their mean and interval: {"name": (values, mean, half)}."""
    order = list(found)
    figure, ax = plt.subplots(figsize=(7, 1 + 0.5 * len(order)), layout="constrained")
    for place, name in enumerate(order):
        values, mean, half = found[name]
        ax.plot(values, np.full(len(values), place + 0.18), ".", color=plots.GREY)
        ax.errorbar(mean, place - 0.1, xerr=half, color=plots.BLUE, marker="o", capsize=4)
    ax.axvline(0, color="black", linewidth=1)
    ax.set_yticks(range(len(order)), order)
    ax.set(xlabel=label, ylim=(-0.6, len(order) - 0.4))
    plots.show(
        figure,
        f"For each of {', '.join(order)}: one point per seed, and their mean with a 95% interval, beside a "
        "line at zero.",
    )


def resumed(first: int, losses: dict) -> None:
    """Training loss after an interruption after step `first`: {"what was saved": (steps,)}."""
    figure, ax = plt.subplots(figsize=(7, 2.9), layout="constrained")
    styles = ((plots.GREY, "-", 4), (plots.VERMILION, "-", 1.5), (plots.BLUE, "--", 1.5))
    for (name, values), (color, style, width) in zip(losses.items(), styles):
        steps = range(first + 1, first + 1 + len(values))
        ax.plot(steps, values, style, color=color, linewidth=width, label=name)
    ax.set(xlabel="step", ylabel="training loss (nats)", ylim=(0, None))
    ax.legend(frameon=False)
    plots.show(
        figure,
        "Training loss after an interruption: weights and optimizer follow the unbroken run exactly, weights "
        "alone jump up and stay apart for many steps.",
    )
