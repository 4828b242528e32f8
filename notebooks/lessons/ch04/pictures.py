"""The drawings of chapter 04: each call shows one figure."""

import numpy as np
from matplotlib import pyplot as plt

from helpers import plots
from helpers.tuning.optimization import SCHEDULES
from lessons.ch04 import stored
from lessons.ch04.schedule_explorer import rates
from lessons.intervals import interval

COLORS = (plots.GREY, plots.VERMILION, plots.ORANGE, plots.GREEN, plots.BLUE, plots.PURPLE)


def points(values: dict, label: str, reference: float | None = None, *, alt: str) -> None:
    """One point with its 95% interval for each name, sorted by mean; a dotted line at `reference`."""
    order = sorted(values, key=lambda name: np.mean(values[name]))
    figure, ax = plt.subplots(figsize=(7, 0.6 + 0.42 * len(order)), layout="constrained")
    for place, name in enumerate(order):
        mean, half = interval(values[name])
        ax.errorbar(mean, place, xerr=half, marker="o", capsize=4, color=plots.BLUE)
    if reference is not None:
        ax.axvline(reference, color=plots.GREY, linestyle=":")
    ax.set_yticks(range(len(order)), order)
    ax.set(xlabel=f"{label}, mean and 95% interval", ylim=(-0.6, len(order) - 0.4))
    plots.show(figure, alt)


def signals(found: dict) -> None:
    """Signal above, gradient below; tanh left, ReLU right; one line for each way to draw first weights."""
    figure, axes = plt.subplots(2, 2, figsize=(9.5, 5.2), layout="constrained", sharex=True, sharey="row")
    for column, activation in enumerate(("tanh", "ReLU")):
        lines = {name: pair for (kind, name), pair in found.items() if kind == activation}
        for (name, pair), color, marker in zip(lines.items(), COLORS, "xv^so"):
            for row, values in enumerate(pair):
                depth = range(1, len(values) + 1)
                axes[row, column].plot(depth, values, color=color, marker=marker, markersize=4, label=name)
        axes[0, column].set(title=activation, yscale="log", ylim=(1e-6, 1e8))
        axes[1, column].set(yscale="log", ylim=(1e-6, 1e8), xlabel="layer", xticks=[1, 5, 10, 15, 20])
    axes[0, 0].set(ylabel="std of the output")
    axes[1, 0].set(ylabel="gradient (last layer = 1)")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside right center", frameon=False)
    plots.show(
        figure,
        "Four panels over 20 layers, logarithmic. Above, the signal: small fixed spreads vanish; with tanh "
        "std 0.2 stays near 1; with ReLU it explodes and Kaiming stays level. Below, the gradient, relative "
        "to the last layer: with tanh and std 0.2 it grows by powers of ten towards the first layer.",
    )


def schedules() -> None:
    """The rate over 100 steps of every schedule that `make_schedule` knows."""
    figure, axes = plt.subplots(2, 4, figsize=(10, 4), layout="constrained", sharex=True, sharey=True)
    for axis, name in zip(axes.flat, SCHEDULES):
        values = rates(name, learning_rate=1.0, num_steps=100)
        axis.plot(range(1, 101), values, color=plots.BLUE)
        axis.fill_between(range(1, 101), values, color=plots.SKY, alpha=0.25)
        axis.set(title=f"{name}\nmean {values.mean():.0%} of the highest")
    axes[1, 3].set_axis_off()
    figure.supxlabel("optimizer step")
    figure.supylabel("learning rate (highest = 1)")
    plots.show(
        figure,
        "Seven small plots of the rate over 100 steps: constant, linear, cosine, step, exponential, "
        "inverse-time and one-cycle; all but one-cycle rise over the first ten steps, then stay or fall.",
    )


def wrong_names(pairs: dict) -> None:
    """Two panels, {name: (right function, wrong function)} of (rate, epoch), over 30 epochs."""
    figure, axes = plt.subplots(1, 2, figsize=(9.5, 3), layout="constrained")
    looks = ((plots.BLUE, "o", "what the name means"), (plots.VERMILION, "x", "the article's"))
    for axis, (name, functions) in zip(axes, pairs.items()):
        for function, (color, marker, label) in zip(functions, looks):
            values = [function(1.0, epoch) for epoch in range(30)]
            axis.plot(range(30), values, color=color, marker=marker, markersize=4, label=label)
        axis.set(title=name, xlabel="epoch", ylabel="rate / intended first rate", ylim=(0, 1.1))
        axis.legend(frameon=False)
    plots.show(
        figure,
        "Left: the article's exponential falls more slowly and stays well above zero. Right: the article's "
        "step starts at one tenth of the intended rate and is near zero after a few epochs.",
    )


def first_steps(sizes) -> None:
    """Mean step of a weight, as a share of the rate, at each optimizer step."""
    figure, ax = plt.subplots(figsize=(7, 2.6), layout="constrained")
    ax.plot(range(1, len(sizes) + 1), sizes, color=plots.BLUE, marker="o", markersize=3)
    ax.set(xlabel="optimizer step", ylabel="mean step / rate", ylim=(0, 1.05))
    plots.show(
        figure,
        "Mean length of a weight's step divided by the rate: one at the first step, then falling "
        "quickly to a fraction.",
    )


def range_tests(curves: list, suggestions: list, smooth) -> None:
    """Loss against rate: each test thin, smoothed thick, its suggestion as a dashed line."""
    figure, ax = plt.subplots(figsize=(8, 3.4), layout="constrained")
    for (name, tried, losses), rate, color in zip(curves, suggestions, (*COLORS[1:5],)):
        ax.plot(tried, losses, color=color, alpha=0.25, linewidth=1)
        ax.plot(tried, smooth(losses), color=color, linewidth=2, label=name)
        ax.axvline(rate, color=color, linestyle="--", linewidth=1)
    ax.set(xscale="log", xlabel="learning rate of this step", ylabel="loss (nats)", ylim=(0.7, 1.8))
    figure.legend(loc="outside right center", frameon=False)
    plots.show(
        figure,
        "Loss against learning rate, logarithmic, for several range tests: level at first, falling between "
        "1e-5 and 1e-3, then rising steeply. Dashed lines mark the suggestions, where the fall is under way.",
    )


def layer_rates(rate: float, layers: int, decays=(0.9, 0.5)) -> None:
    """The learning rate of each layer, the head on top as in a drawing of the network."""
    names = ["embeddings", *(f"layer {i}" for i in range(layers)), "head"]
    figure, axes = plt.subplots(1, 2, figsize=(9.5, 2.9), layout="constrained", sharey=True, sharex=True)
    for axis, decay in zip(axes, decays):
        values = [rate * decay**depth for depth in reversed(range(len(names)))]
        axis.barh(names, values, color=plots.BLUE)
        axis.set(xlabel="learning rate", title=f"layer_decay = {decay}")
        axis.ticklabel_format(axis="x", style="sci", scilimits=(0, 0))
    plots.show(
        figure,
        "Two bar charts of the rate per layer, the head on top and the embeddings at the bottom: with 0.9 "
        "the bars shrink slowly downwards, with 0.5 the lowest layers get almost nothing.",
    )


def drift(lines: dict, shown: list[int]) -> None:
    """Validation accuracy against the number of pictures shown to a frozen network."""
    figure, ax = plt.subplots(figsize=(7, 2.8), layout="constrained")
    for (name, values), color, marker in zip(lines.items(), (plots.VERMILION, plots.BLUE), "xo"):
        ax.plot(shown, values, color=color, marker=marker, label=name)
    ax.set(xlabel="pictures shown, all weights frozen", ylabel="validation accuracy", ylim=(0, 1))
    ax.legend(frameon=False, loc="lower left")
    plots.show(
        figure,
        "Accuracy against the number of pictures shown to a frozen network: falling with model.train(), "
        "level where BatchNorm stays in evaluation mode.",
    )


def memory(parts: dict) -> None:
    """Stacked bars of gigabytes: {name: {part: bytes}}."""
    figure, ax = plt.subplots(figsize=(8, 2.6), layout="constrained")
    colors = (plots.SKY, plots.ORANGE, plots.GREEN)
    for place, sizes in enumerate(reversed(parts.values())):
        left = 0.0
        for (part, size), color in zip(sizes.items(), colors):
            label = part if place == 0 else None
            ax.barh(place, size / 1e9, left=left, color=color, edgecolor="black", linewidth=0.5, label=label)
            left += size / 1e9
    ax.set_yticks(range(len(parts)), reversed(list(parts)))
    ax.set(xlabel="memory without activations (GB)")
    figure.legend(loc="outside right center", frameon=False)
    plots.show(
        figure,
        "Stacked bars of weights, gradients and AdamW's moments: all weights need four parts in float32; "
        "LoRA needs the weights almost alone, and these shrink to a half and to less than a "
        "fifth with fewer bits.",
    )


def overfitting(curve: dict) -> None:
    """Losses left, validation accuracy right, a dotted line at the best epoch of each."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(9.5, 3), layout="constrained")
    epochs = range(1, len(curve["training loss"]) + 1)
    left.plot(epochs, curve["training loss"], color=plots.BLUE, label="training loss")
    left.plot(
        epochs, curve["validation loss"], color=plots.VERMILION, linestyle="--", label="validation loss"
    )
    left.axvline(1 + int(np.argmin(curve["validation loss"])), color=plots.GREY, linestyle=":")
    left.set(xlabel="epoch", ylabel="cross-entropy (nats)", ylim=(0, None), title="loss")
    left.legend(frameon=False)
    right.plot(epochs, curve["validation accuracy"], color=plots.VERMILION, linestyle="--")
    right.axvline(1 + int(np.argmax(curve["validation accuracy"])), color=plots.GREY, linestyle=":")
    right.set(xlabel="epoch", ylabel="validation accuracy", title="accuracy")
    plots.show(
        figure,
        "Left: training loss falls towards zero while validation loss falls, turns and rises again. Right: "
        "validation accuracy rises and then stays about level. Dotted lines mark the best epochs.",
    )


def lengths(paths: dict) -> None:
    """The length of a weight vector against the step, one line for each way to decay."""
    figure, ax = plt.subplots(figsize=(8, 3), layout="constrained")
    for (name, values), color, style in zip(paths.items(), COLORS, ("-", "-", "--", ":", "-.")):
        ax.plot(range(1, len(values) + 1), values, color=color, linestyle=style, linewidth=2, label=name)
    ax.set(xlabel="optimizer step (rate 0.01)", ylabel="length of the weight vector", ylim=(0, 1.05))
    figure.legend(loc="outside right center", frameon=False)
    plots.show(
        figure,
        "Length of a weight that the data never touches: with every penalty in the loss it falls to or near "
        "zero within about a hundred steps, whatever the coefficient; without decay and with decoupled decay "
        "it stays near 1.",
    )


def strategies() -> None:
    """The stored trainings: macro-F1 against training rows for both read-outs, and against time."""
    looks = zip(stored.STRATEGIES, COLORS, "xvs^Do")
    figure, axes = plt.subplots(1, 3, figsize=(11, 3.8), layout="constrained", sharey=True)
    runs = stored.results("strategies")["runs"]
    for place, (strategy, color, marker) in enumerate(looks):
        name = stored.NAMES.get(strategy, strategy)
        for axis, read_out in zip(axes, stored.READ_OUTS):
            found = [interval([*stored.scores(read_out, strategy, n).values()]) for n in stored.sizes()]
            moved = [size * 1.04 ** (place - 2.5) for size in stored.sizes()]  # so that intervals can be seen
            means, halves = zip(*found)
            axis.errorbar(moved, means, yerr=halves, color=color, marker=marker, capsize=3, label=name)
        seconds = [
            np.mean([run["seconds"] for run in runs if (run["strategy"], run["size"]) == (strategy, size)])
            for size in stored.sizes()
        ]
        means = [np.mean([*stored.scores("masked mean", strategy, n).values()]) for n in stored.sizes()]
        axes[2].plot(np.maximum(seconds, 0.1), means, color=color, marker=marker)
    for axis, read_out in zip(axes, stored.READ_OUTS):
        axis.set(xscale="log", xlabel="training comments", title=f"read by the {read_out}", ylim=(0.3, 0.8))
        axis.set_xticks(stored.sizes(), stored.sizes())
        axis.minorticks_off()
    axes[0].set(ylabel="macro-F1 (validation)")
    axes[2].set(xscale="log", xlabel="seconds of one core", title="time (masked mean)")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right center", frameon=False)
    plots.show(
        figure,
        "Three panels of macro-F1. Left and middle: against the number of training comments with 95% "
        "intervals, for a text read by the masked mean and by the pooler. Right: against training time.",
    )
