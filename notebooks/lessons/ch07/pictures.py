"""The drawings of chapter 07, one call each."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from helpers import plots
from helpers.data.sources import SENTIMENTS, sentiment

COLORS = dict(zip(SENTIMENTS, (plots.VERMILION, plots.GREY, plots.BLUE)))
HATCHES = dict(zip(SENTIMENTS, ("//", "", "..")))
LETTERS = {"train": ("T", plots.SKY), "validation": ("V", plots.ORANGE), "test": ("X", plots.VERMILION)}
WHITE_BOX = {"facecolor": "white", "edgecolor": "none", "pad": 1}


def classes(comments: pd.DataFrame) -> None:
    """How the mean ratings are cut into three classes, and the classes of each platform."""
    figure = Figure(figsize=(9.5, 3.2), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(3, 4))
    shares = pd.crosstab(comments["platform"], comments["label"], normalize="index")[list(SENTIMENTS)]
    edges, start = np.arange(-4, 4.01, 0.25), np.zeros(len(shares))
    for name in SENTIMENTS:
        style = {"color": COLORS[name], "hatch": HATCHES[name], "alpha": 0.6}
        rated = comments.loc[comments["label"] == name, "rating"]
        # Moved by a hair for "negative", which owns the border -0.5 itself.
        left.hist(rated, bins=edges + 1e-9 * (name == "negative"), **style)
        bars = right.barh(shares.index, shares[name], left=start, edgecolor="white", label=name, **style)
        right.bar_label(
            bars, [f"{share:.0%}" for share in shares[name]], label_type="center", fontsize=9, bbox=WHITE_BOX
        )
        start += shares[name].to_numpy()
    left.set(xlabel="mean rating of a comment", ylabel="comments", title="cut at -0.5 and +0.5")
    right.set(xlabel="share of the platform's comments", xlim=(0, 1), title="classes per platform")
    figure.legend(loc="outside upper center", ncols=3, frameon=False)
    alt = (
        "Left: histogram of mean ratings with two broad humps, negative and positive, and a narrow neutral "
        "peak at zero between them. Right: stacked bars per platform; movies have few neutral comments, "
        "in nyt neutral is the largest class."
    )
    plots.show(figure, alt)


def sides(groups: pd.Series, by_row: pd.Series, by_group: pd.Series, *, shown: int = 10) -> None:
    """Some reviews, a letter for every sentence: on which side of two splits it is.

    Args:
        groups: the group of every row.
        by_row, by_group: the side of every row, by a random split and by a split of groups.
        shown: number of reviews.
    """
    sizes = groups.value_counts(sort=False)
    chosen = sizes[sizes.between(8, 12)].index[:shown]
    figure = Figure(figsize=(9.5, 3.2), layout="constrained")
    axes = figure.subplots(1, 2, sharey=True)
    titles = ("random split of rows", "split by group")
    for axis, side_of, title in zip(axes, (by_row, by_group), titles):
        for y, group in enumerate(chosen):
            for x, side in enumerate(side_of[groups == group]):
                letter, color = LETTERS[side]
                box = {"facecolor": color, "edgecolor": "white", "alpha": 0.7, "boxstyle": "square,pad=0.35"}
                axis.text(x, y, letter, ha="center", va="center", fontsize=9, bbox=box)
        axis.set(xlim=(-1, 12), ylim=(-0.7, len(chosen) - 0.3), title=title)
        axis.set_xlabel("sentence of the review or article")
    axes[0].set_yticks(range(len(chosen)), chosen, fontsize=8)
    alt = (
        f"{len(chosen)} reviews, one row of letters each: T training, V validation, X test. "
        "On the left most rows mix the letters; on the right each row has one letter only."
    )
    plots.show(figure, alt)


def agreement(rows: pd.DataFrame) -> None:
    """Which share of a comment's raters chose its label, by the comment's mean rating."""
    pairs = zip(rows["ratings"], rows["label"])
    shares = pd.Series([(sentiment(ratings) == label).mean() for ratings, label in pairs])
    bins = np.round(rows["rating"].to_numpy() * 4) / 4
    by_rating = shares.groupby(bins).agg(["mean", "size"]).query("size >= 30")
    figure = Figure(figsize=(6.5, 3), layout="constrained")
    axis = figure.subplots()
    axis.plot(by_rating.index, by_rating["mean"], color=plots.BLUE, marker="o", markersize=4)
    for edge in (-0.5, 0.5):
        axis.axvline(edge, color=plots.GREY, linestyle="--")
    axis.set(xlabel="mean rating of the comment", ylabel="share of raters with its label", ylim=(0, 1.02))
    alt = (
        "The share of raters who chose the comment's own label is close to one for strong ratings and falls "
        "to about one half around the two dashed borders of the label rule."
    )
    plots.show(figure, alt)


def like(static: np.ndarray, contextual: np.ndarray, sentences: tuple[str, ...]) -> None:
    """Cosines (4, 4) of the vectors of one word in four sentences, in the table and after all layers."""
    figure = Figure(figsize=(9.5, 3.2), layout="constrained")
    axes = figure.subplots(1, 2, sharey=True)
    titles = ("static: the input table", "contextual: after six layers")
    for axis, cosines, title in zip(axes, (static, contextual), titles):
        axis.imshow(cosines, cmap="Blues", vmin=0, vmax=1.1, aspect="auto")
        for (row, column), value in np.ndenumerate(cosines):
            color = "white" if value > 0.8 else "black"
            axis.text(column, row, f"{value:.2f}", ha="center", va="center", color=color)
        axis.set(title=f"cosine of two vectors of 'like'\n{title}")
        axis.set_xticks(range(4), [sentence.split()[-1].rstrip(".") for sentence in sentences])
    axes[0].set_yticks(range(4), sentences)
    alt = (
        "Two tables of similarities. Static: all sixteen values are one. Contextual: high within the two "
        "verbs, low between verb and comparison."
    )
    plots.show(figure, alt)


def mask(attention_mask) -> None:
    """The attention mask (B, L) of one batch."""
    figure = Figure(figsize=(7, 2.2), layout="constrained")
    axis = figure.subplots()
    axis.imshow(attention_mask, cmap="Blues", aspect="auto", interpolation="nearest", vmin=-0.3, vmax=1.2)
    axis.set(xlabel="position (tokens)", ylabel="comment", title="dark = token, light = padding")
    alt = (
        f"{len(attention_mask)} rows of different length: dark cells are tokens, light cells to their right "
        "are padding up to the longest row."
    )
    plots.show(figure, alt)


def training(losses, epochs: pd.DataFrame, lines: dict[str, float]) -> None:
    """The loss of every step, and validation loss and macro-F1 after every epoch beside other methods.

    Args:
        losses: of every optimizer step.
        epochs: columns `step`, `loss`, `macro_f1`.
        lines: macro-F1 of other methods on the same rows.
    """
    figure = Figure(figsize=(9.5, 3.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    history = pd.DataFrame({"step": range(1, len(losses) + 1), "train_loss": losses})
    history = history.merge(
        epochs.rename(columns={"loss": "validation_loss"})[["step", "validation_loss"]], how="left"
    )
    plots.learning_curves(left, history)
    right.plot(epochs["step"], epochs["macro_f1"], color=plots.VERMILION, marker="o", label="fine-tuned")
    for (name, value), style in zip(lines.items(), ("--", ":", "-.")):
        right.axhline(value, color=plots.BLUE, linestyle=style, label=name)
    right.set(xlabel="optimizer step", ylabel="macro-F1 on validation", title="Score")
    right.legend(frameon=False, loc="center left")
    alt = (
        "Left: the training loss falls steeply, the validation loss stays nearly level. Right: score after "
        "each epoch, in the end above the lines of the methods."
    )
    plots.show(figure, alt)


def intervals(table: pd.DataFrame, label: str, alt: str, *, lines: dict[str, float] | None = None) -> None:
    """One row per name: a point with its 95% interval; grey where the column `decided` says no.

    Args:
        table: index of names; columns `value`, `low`, `high`, and `n` or `decided` where wanted.
        label: of the value axis.
        alt: what a reader should see.
        lines: dashed lines to compare with.
    """
    figure = Figure(figsize=(8, 0.9 + 0.34 * len(table)), layout="constrained")
    axis = figure.subplots()
    for place, (_, row) in enumerate(table.iterrows()):
        color = plots.BLUE if row.get("decided", True) else plots.GREY
        axis.plot([row["low"], row["high"]], [place, place], color=color, linewidth=3)
        axis.plot(row["value"], place, "o", color=plots.VERMILION if color == plots.BLUE else color)
    for (name, value), style in zip((lines or {}).items(), ("--", ":")):
        named = {"label": f"{name} {value:.3f}"} if name else {}
        axis.axvline(value, color=plots.GREEN if name else plots.GREY, linestyle=style, **named)
    if any(lines or {}):
        axis.legend(frameon=False, ncols=2, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    names = [f"{name} (n = {row['n']:,.0f})" if "n" in row else name for name, row in table.iterrows()]
    axis.set_yticks(range(len(table)), names)
    axis.set_ylim(len(table) - 0.5, -0.5)
    axis.set_xlabel(label)
    axis.locator_params(axis="x", nbins=8)
    plots.show(figure, alt)


def reliability(before, after, temperature: float) -> None:
    """Share of right answers against confidence, before and after temperature scaling.

    Args:
        before, after: lists of `calibration.Bin`.
        temperature: what the logits were divided by.
    """
    figure = Figure(figsize=(4.8, 3.6), layout="constrained")
    axis = figure.subplots()
    axis.plot([0.3, 1], [0.3, 1], color=plots.GREY, linestyle="--", label="perfect")
    named = {"before": (before, "o-", plots.VERMILION)}
    named[f"temperature {temperature:.2f}"] = (after, "s-", plots.BLUE)
    for name, (bins, style, color) in named.items():
        sure, right = [part.confidence for part in bins], [part.accuracy for part in bins]
        axis.plot(sure, right, style, color=color, label=name, markersize=5)
    axis.set(xlabel="mean confidence of the bin", ylabel="share of right answers")
    axis.set(xlim=(0.3, 1.02), ylim=(0.3, 1.02))
    axis.legend(frameon=False)
    alt = (
        "Reliability diagram. Before: most points lie below the diagonal. After temperature scaling they lie "
        "nearer to it."
    )
    plots.show(figure, alt)


def answered(shares, accuracy, everything: float, person: float) -> None:
    """Accuracy of the answered rows against their share; the first few rows alone jump up and down."""
    figure = Figure(figsize=(6.5, 2.8), layout="constrained")
    axis, start = figure.subplots(), len(shares) // 30
    axis.plot(shares[start:], accuracy[start:], color=plots.BLUE, label="the surest rows first")
    axis.axhline(everything, color=plots.GREY, linestyle=":", label="all rows")
    axis.axhline(person, color=plots.GREEN, linestyle="--", label="one person, all rows")
    axis.set(
        xlabel="share of the rows that is answered", ylabel="accuracy on them", xlim=(0, 1), ylim=(0.6, 1)
    )
    axis.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    alt = (
        "Accuracy against the share of rows answered: near one for the surest rows, and falling to the "
        "accuracy on all rows at the right."
    )
    plots.show(figure, alt)


def drift(reference, now: dict[str, np.ndarray]) -> None:
    """Histograms of confidence: the reference, and one panel for each of `now` (title: values)."""
    figure = Figure(figsize=(9.5, 3), layout="constrained")
    axes = figure.subplots(1, len(now), sharey=True)
    edges = np.linspace(0.33, 1, 15)
    for axis, (title, values) in zip(axes, now.items()):
        axis.hist(reference, edges, density=True, color=plots.SKY, alpha=0.8, label="reference: tweets")
        style = {"histtype": "step", "color": plots.VERMILION, "linewidth": 2, "label": "now"}
        axis.hist(values, edges, density=True, **style)
        axis.set(xlabel="confidence", title=title)
        axis.legend(frameon=False)
    axes[0].set_ylabel("density")
    alt = (
        "Histograms of confidence. Left: other tweets lie near the reference. Right: newspaper comments have "
        "lower confidence than the reference."
    )
    plots.show(figure, alt)
