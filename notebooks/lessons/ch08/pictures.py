"""The figures of chapter 08: each function draws and shows one."""

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator

from helpers import plots
from lessons import panels
from lessons.intervals import interval


def _plain_ticks(axis, values) -> None:
    """A logarithmic axis that is labelled 10, 20, 50 and not in powers."""
    axis.set_major_locator(FixedLocator(values))
    axis.set_major_formatter(FixedFormatter([f"{value:g}" for value in values]))
    axis.set_minor_locator(NullLocator())


def first_calls(milliseconds: np.ndarray) -> None:
    """Times of calls in their order; the first one holds the loading, too."""
    figure, ax = plt.subplots(figsize=(7.5, 2.8), layout="constrained")
    numbers = range(1, len(milliseconds) + 1)
    ax.plot(numbers, milliseconds, color=plots.BLUE, marker="o", linestyle="", label="one call")
    ax.axhline(milliseconds.mean(), color=plots.VERMILION, linestyle="--", label="mean of all calls")
    ax.axhline(np.median(milliseconds[5:]), color=plots.GREEN, label="median after a warm-up of 5")
    ax.set(yscale="log", xlabel="number of the call", ylabel="time (ms)")
    _plain_ticks(ax.yaxis, [v for v in (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000) if _is_near(v, ax)])
    ax.legend(frameon=False)
    plots.show(
        figure,
        "Time of the calls on a logarithmic axis: the first one, with loading, lies far above all others; "
        "the dashed mean lies above most later calls, the median among them.",
    )


def _is_near(value: float, ax) -> bool:
    low, high = ax.get_ylim()
    return 0.8 * low <= value <= 1.25 * high


def sparsity(shares: list[float], found: list[dict], majority: float) -> None:
    """macro-F1 with its interval against the share of weights that are zero."""
    figure, ax = plt.subplots(figsize=(7, 2.9), layout="constrained")
    middle = np.array([row["macro-F1"] for row in found])
    ends = np.array([[row["low"], row["high"]] for row in found]).T
    style = {"color": plots.BLUE, "marker": "o", "capsize": 3, "label": "pruned, 95% intervals over tweets"}
    ax.errorbar(shares, middle, np.abs(ends - middle), **style)
    ax.axhline(majority, color=plots.GREY, linestyle="--", label="majority")
    ax.set(xlabel="share of the encoder's linear weights set to zero", ylabel="macro-F1", ylim=(0, 0.9))
    ax.legend(frameon=False, loc="lower left")
    plots.show(
        figure,
        "Macro-F1 against sparsity: nearly level at first, then falling steeply; the last point is still "
        "above the dashed line of the majority class.",
    )


def temperatures(logits, classes, values=(1, 2, 5)) -> None:
    """The probabilities of one row of logits, divided by each temperature."""
    figure, axes = plt.subplots(1, len(values), figsize=(9, 2.1), layout="constrained", sharex=True)
    for axis, temperature in zip(axes, values):
        shares = (logits / temperature).softmax(-1).tolist()
        panels.probabilities(axis, classes, shares, title=f"temperature {temperature}")
    plots.show(
        figure,
        "Bar charts of the same logits: with temperature 1 the first class dominates, with 2 the second "
        "becomes visible, with 5 all are nearly equal.",
    )


LABELLED = {  # in the picture of the frontier, with the place of each name (points) by size and by time
    "teacher": ("teacher, PyTorch", {"MB": (-8, 20), "ms": (-10, 20)}),
    "int8": ("teacher, int8", {"MB": (14, 20), "ms": (0, 20)}),
    "plain int8": ("teacher, plain int8", {"ms": (0, 20)}),  # by size it lies on the other int8
    "student, distilled": ("student", {"MB": (0, -24), "ms": (32, -24)}),
    "student, distilled, int8": ("student, int8", {"MB": (34, -20), "ms": (20, -24)}),
    "LSTM, distilled": ("LSTM", {"MB": (24, -10), "ms": (24, -10)}),
    "TF-IDF": ("TF-IDF", {"MB": (26, -10), "ms": (26, -10)}),
    "majority": ("majority", {"MB": (32, -3), "ms": (42, -3)}),
}


def frontier(points: pd.DataFrame) -> None:
    """macro-F1 against size and against time; a line through the models that nothing dominates.

    Args:
        points: indexed by method, with `macro_f1`, `half_width`, `MB` and `ms`.
    """
    figure, axes = plt.subplots(1, 2, figsize=(10, 3.9), layout="constrained", sharey=True)
    units = {"MB": "size on disk (MB)", "ms": "CPU time per tweet, one thread (ms)"}
    for axis, (cost, unit) in zip(axes, units.items()):
        best = points.loc[frontier_of(points, cost)].sort_values(cost)
        others = points.drop(best.index)
        axis.step(best[cost], best["macro_f1"], where="post", color=plots.BLUE, linewidth=1)
        axis.plot(others[cost], others["macro_f1"], "x", color=plots.GREY, label="dominated")
        axis.errorbar(
            *(best[cost], best["macro_f1"], best["half_width"]),
            **{"fmt": "o", "color": plots.BLUE, "capsize": 2, "label": "on the frontier, 95% interval"},
        )
        for method, (name, places) in LABELLED.items():
            if cost in places:
                point, style = points.loc[method, [cost, "macro_f1"]], {"ha": "center", "fontsize": 8}
                axis.annotate(name, point, xytext=places[cost], textcoords="offset points", **style)
        axis.set(xlabel=unit, ylim=(0.15, 0.85))
        axis.margins(x=0.09)
    axes[0].set(ylabel="macro-F1, mean of the seeds")
    axes[1].legend(frameon=False, loc="lower right")
    plots.show(
        figure,
        "Macro-F1 against size and against time per tweet, two panels: a stepped line joins the models that "
        "no other one beats; the crosses below and to the right of it are dominated.",
    )


def frontier_of(points: pd.DataFrame, cost: str) -> list[str]:
    """The models for which no other one costs no more, scores no less, and is better in one of the two."""
    found = []
    for name, row in points.iterrows():
        as_good = (points[cost] <= row[cost]) & (points["macro_f1"] >= row["macro_f1"])
        better = (points[cost] < row[cost]) | (points["macro_f1"] > row["macro_f1"])
        if not (as_good & better).any():
            found.append(name)
    return found


def latencies(one_each: np.ndarray, mixed: np.ndarray) -> None:
    """Cumulative shares of the latencies (ms) of two loads."""
    figure, ax = plt.subplots(figsize=(8, 2.9), layout="constrained")
    loads = (
        (one_each, "-", plots.BLUE, "one comment each"),
        (mixed, "--", plots.VERMILION, "one request in 20 brings 64 comments"),
    )
    for ms, style, color, name in loads:
        shares = np.arange(1, len(ms) + 1) / len(ms)
        ax.step(np.sort(ms), shares, style, where="post", color=color, label=name)
    ax.axhline(0.95, color=plots.GREY, linewidth=1, label="95% of the requests")
    highest = max(1000, 1.1 * mixed.max())
    ax.set(xscale="log", xlabel="latency (ms)", ylabel="share of requests\nanswered within it")
    ax.set(xlim=(5, highest), ylim=(0, 1.02))
    _plain_ticks(ax.xaxis, [v for v in (5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000) if v <= highest])
    ax.legend(frameon=False, loc="lower right")
    plots.show(
        figure,
        "Cumulative shares of latencies: the solid line rises steeply, the dashed one of the mixed load "
        "rises in two steps with a long level part between them, so there are two groups of requests.",
    )


def false_alarms(windows: dict[int, np.ndarray], drifted: float, drifted_rows: int) -> None:
    """Box plots of the stability index of windows in which nothing has drifted, and one that has.

    Args:
        windows: indices by the number of rows.
        drifted: index of comments from another source.
        drifted_rows: how many those were.
    """
    figure, ax = plt.subplots(figsize=(7.5, 2.9), layout="constrained")
    names = [f"{size} tweets" for size in windows]
    ax.boxplot(list(windows.values()), orientation="horizontal", tick_labels=names, widths=0.6)
    style = {"color": plots.VERMILION, "marker": "D", "linestyle": ""}
    ax.plot([drifted], [len(windows)], label=f"{drifted_rows} newspaper comments", **style)
    for limit, line in ((0.1, ":"), (0.25, "--")):
        ax.axvline(limit, color=plots.GREY, linestyle=line, label=f"limit {limit}")
    ax.set(xscale="log", xlabel="PSI of the confidence, tweets against tweets", ylabel="window")
    _plain_ticks(ax.xaxis, (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2))
    ax.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    plots.show(
        figure,
        "Box plots of the PSI between tweets and tweets for several window sizes: the smaller the window, "
        "the larger the index; many of the small ones lie beyond a limit although nothing has drifted.",
    )


def label_curves(rounds: pd.DataFrame, what: str, label: str) -> None:
    """The column `what` against the number of labels, one curve per strategy, with intervals over seeds."""
    figure, ax = plt.subplots(figsize=(7, 3), layout="constrained")
    looks = {"random": (plots.GREY, "o"), "least sure": (plots.BLUE, "s")}
    for shift, (strategy, (color, marker)) in enumerate(looks.items()):
        grouped = rounds[rounds["strategy"] == strategy].groupby("labels")[what]
        middle, half = grouped.mean(), grouped.agg(lambda scores: interval(scores)[1])
        style = {"color": color, "marker": marker, "capsize": 2, "label": strategy}
        ax.errorbar(middle.index + 3 * shift, middle, half, **style)
    ax.set(xlabel="labelled comments", ylabel=label)
    ax.legend(frameon=False, loc="lower right", title="next rows")
    plots.show(
        figure,
        "Curves against the number of labels, with intervals over the seeds: rows of which the model is "
        "least sure bring more than random ones.",
    )
