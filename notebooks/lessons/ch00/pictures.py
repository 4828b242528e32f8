"""The pictures of chapter 00: before and after, the error while learning, the course's words on one comment.

Each function draws, shows and returns nothing; what is drawn is computed in the chapter's cells.
"""

import base64
import math

import pandas as pd
from IPython.display import display
from matplotlib import pyplot as plt

from helpers import doctor, plots
from helpers.files import ROOT
from lessons.ch00.before_and_after import stacked_probabilities

QUESTIONS = {
    "00": "What will I be able to do, and is my machine ready?",
    "01": "What makes a model large, and what does it cost?",
    "02": "How does data get from disk into a batch, correctly and fast?",
    "03": "How do I train a model so that I can trust the result?",
    "04": "What to freeze, how fast to learn, how to regularise?",
    "05": "How does a messy pile of files become a dataset?",
    "06": "How do I fine-tune an image classifier, and make it fast?",
    "07": "From raw comments to a model that answers",
    "08": "How do I compress, distribute, deploy and watch a model?",
    "09": "How does a model write, and how is it trained to?",
    "10": "How do I teach a language model to answer, on my own examples?",
    "11": "How do I train towards what people prefer, and not towards a loophole?",
    "12": "What when the data do not fit the disk, or the model the GPU?",
    "A": "Which tool for which job?",
    "B": "The three workflows on one page each",
}
PLAIN = {"textcoords": "offset points", "ha": "center", "va": "center"}


def pair(texts, before, after, classes) -> None:
    """The same comments twice, as bars of class probabilities (N, 3): before and after fine-tuning."""
    figure, axes = plt.subplots(1, 2, figsize=(11, 3.6), layout="constrained")
    stacked_probabilities(axes[0], texts, before, classes, title="before fine-tuning: a shrug")
    stacked_probabilities(axes[1], texts, after, classes, title="after fine-tuning")
    axes[1].set_yticks([])  # the same comments as on the left
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
    alt = (
        "Five comments twice. Before: bars cut into thirds. After: joy is positive, complaints are negative."
    )
    plots.show(figure, alt)


def learning(errors) -> None:
    """The error of each step, its running mean, and the error of a shrug among three classes."""
    series = pd.Series(errors, index=range(1, len(errors) + 1))
    figure, ax = plt.subplots(figsize=(8, 2.8), layout="constrained")
    ax.plot(series, color=plots.GREY, linewidth=0.8, label="each step")
    ax.plot(series.rolling(15, min_periods=1).mean(), color=plots.BLUE, linewidth=2, label="mean of 15 steps")
    ax.axhline(math.log(3), color=plots.VERMILION, linestyle="--", label="a perfect shrug")
    ax.set(xlabel="step", ylabel="cross-entropy (nats)", title="Error while learning", ylim=(0, None))
    ax.legend(frameon=False, loc="lower left", ncols=3)
    plots.show(
        figure, "The error starts at the dashed line of a shrug and falls, with noise from step to step."
    )


def tokens(pieces, ids) -> None:
    """The tokens of a comment as boxes in a row, each with its number below."""
    figure, ax = plt.subplots(figsize=(11, 1.3), layout="constrained")
    box = {"boxstyle": "round,pad=0.3", "facecolor": plots.SKY, "alpha": 0.4, "edgecolor": "black"}
    widths = [max(len(piece), len(str(number))) + 2 for piece, number in zip(pieces, ids)]
    start = 0.0
    for piece, number, width in zip(pieces, ids, widths):
        ax.text(start + width / 2, 0.72, piece, ha="center", va="center", fontsize=10, bbox=box)
        ax.text(start + width / 2, 0.22, number, ha="center", va="center", fontsize=10)
        start += width
    ax.set(xlim=(0, start), ylim=(0, 1))
    ax.axis("off")
    plots.show(figure, "A comment cut into tokens, one box each, with the token's number below its box.")


def layers(states, pieces, *, shown: int = 48) -> None:
    """Three of the tensors (1, L, H) between layers as coloured tables, their first columns."""
    figure, axes = plt.subplots(1, 3, figsize=(11, 3.1), layout="constrained", sharey=True)
    last = len(states) - 1
    for ax, depth in zip(axes, (0, last // 2, last)):
        table = states[depth][0, :, :shown].float().cpu()
        scale = float(table.abs().quantile(0.98))
        ax.imshow(table, cmap="RdBu", vmin=-scale, vmax=scale, aspect="auto", interpolation="nearest")
        title = "before the first layer" if depth == 0 else f"after layer {depth}"
        ax.set(title=title, xlabel=f"the first {shown} of {states[depth].shape[-1]} numbers")
    axes[0].set_yticks(range(len(pieces)), pieces, fontsize=8)
    alt = (
        "Three tables of coloured cells, one row for each token: its numbers before the first layer, after "
        "the middle one and after the last one. The colours change from table to table."
    )
    plots.show(figure, alt)


def answer(logits, probabilities, classes, right: int) -> None:
    """Logits (C,) and their probabilities (C,) side by side; the error is that of the class `right`."""
    logits, probabilities = logits.tolist(), probabilities.tolist()
    figure, axes = plt.subplots(1, 3, figsize=(11, 2.2), layout="constrained", width_ratios=(1, 1, 1.1))
    places = range(len(classes))
    reach = 1.5 * max(map(abs, logits)) + 0.1
    axes[0].barh(places, logits, color=plots.PURPLE)
    axes[0].axvline(0, color="black", linewidth=0.8)
    for place, value in zip(places, logits):
        side = math.copysign(18, value)
        axes[0].annotate(f"{value:.2f}", (value, place), (side, 0), fontsize=9, **PLAIN)
    axes[0].set(title="logits: any numbers", xlim=(-reach, reach))
    axes[1].barh(places, probabilities, color=plots.BLUE)
    for place, value in zip(places, probabilities):
        axes[1].annotate(f"{value:.2f}", (value, place), (18, 0), fontsize=9, **PLAIN)
    axes[1].set(title="probabilities: they add up to 1", xlim=(0, 1.15))
    for ax in axes[:2]:
        ax.set_yticks(places, classes)
        ax.invert_yaxis()
    line = [share / 100 for share in range(1, 101)]
    axes[2].plot(line, [-math.log(share) for share in line], color=plots.GREY)
    p = probabilities[right]
    axes[2].plot(p, -math.log(p), marker="o", color=plots.VERMILION, markersize=9)
    axes[2].annotate(f"{-math.log(p):.2f}", (p, -math.log(p)), (20, 12), fontsize=10, **PLAIN)
    axes[2].set(title="loss", xlabel=f"probability of the right class ({classes[right]})", ylim=(0, 4))
    alt = (
        "Left: three bars of logits. Middle: the same as probabilities. Right: the loss falls from 4 to 0 "
        "as the probability of the right class rises to 1; a dot marks this comment."
    )
    plots.show(figure, alt)


def batch(ids, mask, pieces) -> None:
    """Token ids (B, L) as a table of tokens; padding, where the mask (B, L) is 0, is grey."""
    figure, ax = plt.subplots(figsize=(11, 0.5 * len(ids) + 0.5), layout="constrained")
    ax.imshow(mask, cmap="Blues", vmin=0, vmax=3, aspect="auto")
    for row, column in ((row, column) for row in range(ids.shape[0]) for column in range(ids.shape[1])):
        color = "black" if mask[row, column] else plots.GREY
        ax.text(column, row, pieces[row][column], ha="center", va="center", fontsize=8, color=color)
    ax.set_yticks(range(len(ids)), [f"comment {number}" for number in range(1, len(ids) + 1)])
    ax.set(xlabel=f"token (shape of the batch: {tuple(ids.shape)})")
    alt = "A table of tokens, one comment in each row. Shorter ones are filled up with grey [PAD] tokens."
    plots.show(figure, alt)


def course_map() -> None:
    """The map of the course."""
    drawing = (ROOT / "notebooks" / "figures" / "course_map.svg").read_text(encoding="utf-8")
    alt = (
        "Map of the course: 00 to 05 one after another, then 06 and 07 side by side, then 08 to 12; A and B "
        "stand apart."
    )
    carried = base64.b64encode(drawing.encode()).decode()  # as an <img>: JupyterLab gives an SVG no alt text
    image = f'<img alt="{alt}" style="width:100%;max-width:942px" src="data:image/svg+xml;base64,{carried}">'
    display({"text/html": image, "text/plain": alt}, raw=True)


def chapters() -> None:
    """The chapters as a table of links, each with the question that it answers."""
    rows = ""
    for number, question in QUESTIONS.items():
        file = next((ROOT / "notebooks").glob(f"{number}_*.ipynb"))
        title = file.stem.replace("_", " ")
        rows += f'<tr><td style="text-align:left"><a href="{file.name}">{title}</a></td>'
        rows += f'<td style="text-align:left">{question}</td></tr>'
    text = "\n".join(f"{number}: {question}" for number, question in QUESTIONS.items())
    display({"text/html": f"<table>{rows}</table>", "text/plain": text}, raw=True)


def doctor_table(checks: list[doctor.Check]) -> None:
    """The doctor's findings as a table: what was looked at, what was found, what to do if it is not ready."""
    table = pd.DataFrame(
        {
            "check": [check.name for check in checks],
            "ready": ["yes" if check.ready else "NO" for check in checks],
            "found": [check.found.replace(str(ROOT), "COURSE") for check in checks],
            "what to do if not": [check.remedy for check in checks],
        }
    )
    with pd.option_context("display.max_colwidth", None):
        page = table.to_html(index=False, justify="left")
    for cell in ("th", "td"):
        page = page.replace(f"<{cell}>", f'<{cell} style="text-align:left;white-space:normal">')
    display({"text/html": page, "text/plain": table.to_string(index=False)}, raw=True)
