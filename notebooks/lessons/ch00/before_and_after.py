"""Before and after fine-tuning, side by side: the numbers, the figure and the widget of chapter 00.

The computation (`side_by_side`) knows nothing of widgets, so it can be called and tested without a browser.
"""

import html
import textwrap

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from helpers.deployment.predict import predict
from helpers.models.pretrained import Classifier
from helpers.plots import BLUE, GREY, VERMILION


def side_by_side(before: Classifier, after: Classifier, text: str) -> pd.DataFrame:
    """The class probabilities of one comment from two models.

    Args:
        before, after: two classifiers with the same classes in the same order.
        text: one comment.

    Returns:
        One row per class, columns `before` and `after`; each column sums to 1.

    Raises:
        ValueError: the classes differ, or the text is empty.
    """
    if before.classes != after.classes:
        raise ValueError(f"both models need the same classes, found {before.classes} and {after.classes}")
    if not text.strip():
        raise ValueError("the comment is empty; type a few words")
    columns = {name: predict(model, [text])[0] for name, model in (("before", before), ("after", after))}
    return pd.DataFrame(columns, index=pd.Index(before.classes, name="class"))


def stacked_probabilities(
    ax: Axes, texts: list[str], probabilities, classes: tuple[str, ...], *, title: str = ""
) -> Axes:
    """One bar per comment, cut into the probabilities of its three classes; the largest one is bold.

    Args:
        ax: drawn into.
        texts: N comments, wrapped and drawn as the labels of the bars.
        probabilities: (N, 3), each row sums to 1.
        classes: the three names, drawn from left to right.
        title: title of the Axes.
    """
    probabilities = np.asarray(probabilities)
    left = np.zeros(len(texts))
    for column, (name, color, hatch) in enumerate(zip(classes, (VERMILION, GREY, BLUE), ("//", "", ".."))):
        widths = probabilities[:, column]
        ax.barh(
            range(len(texts)),
            widths,
            left=left,
            color=color,
            alpha=0.55,
            edgecolor="white",
            hatch=hatch,
            label=name,
        )
        for row in np.flatnonzero(widths > 0.09):
            weight = "bold" if column == probabilities[row].argmax() else "normal"
            box = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1}
            ax.text(
                left[row] + widths[row] / 2,
                row,
                f"{widths[row]:.2f}",
                ha="center",
                va="center",
                weight=weight,
                fontsize=9,
                bbox=box,
            )
        left += widths
    ax.set_yticks(range(len(texts)), [textwrap.fill(text, 34) for text in texts], fontsize=9)
    ax.invert_yaxis()
    ax.set(xlabel="probability", xlim=(0, 1), title=title)
    return ax


def table_html(table: pd.DataFrame, text: str) -> str:
    """The result of `side_by_side` as an HTML table of bars; the comment is escaped."""
    largest, rows = table.max(), ""
    for name, row in table.iterrows():
        cells = ""
        for column, p in row.items():
            number = f"<b>{p:.2f}</b>" if p == largest[column] else f"{p:.2f}"
            cells += (
                '<td style="width:240px;text-align:left"><div style="display:inline-block;height:12px;'
                f'background:{BLUE};width:{round(170 * p)}px"></div> {number}</td>'
            )
        rows += f'<tr><th scope="row" style="text-align:left">{html.escape(str(name))}</th>{cells}</tr>'
    head = "".join(
        f'<th scope="col" style="text-align:left">{name} fine-tuning</th>' for name in table.columns
    )
    shown = textwrap.shorten(text, 200, placeholder=" ...")  # the bars stay on the screen
    return f"<table><caption>{html.escape(shown)}</caption><tr><td></td>{head}</tr>{rows}</table>"


def answer(before: Classifier, after: Classifier, text: str) -> str:
    """What the widget shows for a typed comment: the table, or a sentence when there is nothing to label."""
    try:
        return table_html(side_by_side(before, after, text), text)
    except ValueError as error:
        return f"<p>{html.escape(str(error))}</p>"


def before_and_after(before: Classifier, after: Classifier, text: str):
    """A text field and a button: type a comment, press Enter or the button, and both models answer.

    Args:
        before, after: see `side_by_side`.
        text: the comment to begin with.
    """
    from lessons.controls import comment_field

    return comment_field(lambda typed: answer(before, after, typed), text, tooltip="ask both models")
