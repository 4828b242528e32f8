"""The figures of chapter 11 that need no stored results: how sure raters are, a pair token by token."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from helpers import plots

PROMPT, ANSWER, PADDING = plots.SKY, plots.ORANGE, "#cccccc"
WIDEST = 16  # tokens of a row that can be read


def sureness(prefers_first: np.ndarray) -> None:
    """Histogram of the share of raters (N,) who prefer the most frequent opinion to the second one."""
    figure = Figure(figsize=(7, 2.6), layout="constrained")
    axis = figure.subplots()
    bins = np.linspace(0.5, 1, 11)
    counts = np.histogram(prefers_first, bins)[0] / len(prefers_first)
    colors = [plots.VERMILION if edge < 0.64 else plots.BLUE for edge in bins[:-1]]
    axis.bar(bins[:-1] + 0.025, counts, width=0.045, color=colors)
    axis.yaxis.set_major_formatter(lambda share, _: f"{share:.0%}")
    axis.set(
        xlabel="share of raters who prefer the first of the two answers", ylabel="comments", xlim=(0.49, 1.01)
    )
    sure = np.mean(prefers_first >= 0.95)
    alt = (
        f"Histogram: in {sure:.0%} of the comments at least 95 of 100 raters prefer the first answer; the "
        "bars up to two thirds, in red, are the pairs that raters disagree on."
    )
    plots.show(figure, alt)


def pair_map(batch: dict, tokenizer) -> None:
    """Draw the last tokens of a batch of pairs, coloured by what the log-probability does with them.

    Args:
        batch: `input_ids`, `attention_mask`, `labels`, each int64 (B, 2, L).
    """
    plots.show(*_drawn(batch, tokenizer))


def _drawn(batch, tokenizer) -> tuple[Figure, str]:
    ids, mask, labels = (batch[name].flatten(0, 1) for name in ("input_ids", "attention_mask", "labels"))
    length = ids.shape[1]
    first = max(0, length - WIDEST)
    figure = Figure(figsize=(12, 0.7 + 0.6 * len(ids)), layout="constrained")
    axis = figure.subplots()
    for row in range(len(ids)):
        height = -row - 0.35 * (row // 2)  # a gap between pairs
        side = ("chosen", "rejected")[row % 2]
        axis.text(-0.2, height + 0.4, f"pair {row // 2}, {side}", ha="right", va="center", fontsize=10)
        for place in range(first, length):
            color = PROMPT if mask[row, place] else PADDING
            color = ANSWER if labels[row, place] != -100 else color
            axis.add_patch(Rectangle((place - first, height), 0.95, 0.8, facecolor=color))
            _write(axis, tokenizer.decode([int(ids[row, place])]), place - first + 0.475, height + 0.4)
    axis.set(xlim=(-2.4, length - first), ylim=(height - 0.1, 0.9))
    axis.set_axis_off()
    names = {PROMPT: "prompt: read", ANSWER: "answer and its end: summed", PADDING: "padding: neither"}
    handles = [Patch(color=color, label=name) for color, name in names.items()]
    figure.legend(handles=handles, ncols=3, loc="outside upper left", frameon=False)
    summed = (labels != -100).sum(1).tolist()
    alt = (
        f"The last {length - first} tokens of {len(ids) // 2} pairs, two rows each: the same prompt in blue, "
        f"answers with their end sign in orange ({summed} tokens), padding in grey at the right."
    )
    return figure, alt


def _write(axis, token: str, x: float, y: float) -> None:
    shown = plots.printable(token.replace("<|", "<").replace("|>", ">")).strip(" ") or "␣"
    size, tilt = (10, 0) if len(shown) < 7 else (8, 25)
    axis.text(x, y, shown, ha="center", va="center", fontsize=size, rotation=tilt, parse_math=False)
