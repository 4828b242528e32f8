"""The course's figures: Axes in, Axes out; readable by colour-blind people, and by screen readers (alt text).

Colours are those of Okabe and Ito (2008), which stay distinct under the common forms of colour blindness.
"""

import base64
import functools
import html
import io

import numpy as np
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

BLUE, ORANGE, GREEN, VERMILION = "#0072b2", "#e69f00", "#009e73", "#d55e00"
PURPLE, SKY, GREY = "#cc79a7", "#56b4e9", "#8c8c8c"
MAX_CLASSES = 30  # in a confusion matrix: the numbers of more could not be read
LONGEST_NAME = 30  # characters of a class name in a figure
DPI, PAGE_DPI = 150, 80  # pixels per inch of what is drawn, and of the page on which it is shown
# Families for class names: matplotlib's own has no Chinese, Japanese, Korean, and few emoji.
FAMILIES = (
    *("DejaVu Sans", "Noto Sans CJK SC", "Noto Sans CJK JP", "WenQuanYi Zen Hei", "Microsoft YaHei"),
    *("Malgun Gothic", "PingFang SC", "Arial Unicode MS", "Noto Emoji", "Segoe UI Emoji"),
)


def show(figure: Figure, alt: str) -> None:
    """Display a figure in a notebook with a text that says what a reader should see in it, and close it.

    It has 150 pixels an inch, sharp on a projector, and takes as much room on the page as 80 would.

    Args:
        figure: the finished figure, with labelled axes.
        alt: one or two sentences; screen readers speak them, and they replace a picture that cannot be shown.
    """
    from IPython.display import display
    from matplotlib import pyplot as plt

    display({"text/html": image_html(figure, alt), "text/plain": alt}, raw=True)
    plt.close(figure)


def image_html(figure: Figure, alt: str) -> str:
    """The figure as an `<img>` that carries its own PNG and its alt text, never wider than the page."""
    # JupyterLab shows a PNG alone without the alt text that its metadata hold.
    width = round(figure.get_figwidth() * PAGE_DPI)
    return (
        f'<img alt="{html.escape(alt)}" width="{width}" style="max-width:100%;height:auto" '
        f'src="data:image/png;base64,{_png(figure)}">'
    )


def _png(figure: Figure) -> str:
    drawn, small = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn, format="png", dpi=DPI)
    # 256 colours, chosen for this picture: a third of the bytes; no names or times: same figure, same bytes
    Image.open(drawn).convert("RGB").quantize(256, dither=Image.Dither.NONE).save(small, "PNG", optimize=True)
    return base64.b64encode(small.getvalue()).decode()


def learning_curves(ax: Axes, history) -> Axes:
    """Training loss per step (grey, smoothed in blue) and validation loss per epoch, of `history.csv`.

    Args:
        history: DataFrame with `step`, `train_loss` and `validation_loss` (NaN but at the end of an epoch).
    """
    ax.plot(history["step"], history["train_loss"], color=GREY, alpha=0.35, linewidth=0.8)
    smooth = history["train_loss"].rolling(max(1, len(history) // 20), min_periods=1).mean()
    ax.plot(history["step"], smooth, color=BLUE, label="training, smoothed")
    epochs = history.dropna(subset=["validation_loss"])
    ax.plot(epochs["step"], epochs["validation_loss"], color=VERMILION, marker="o", label="validation")
    ax.set(xlabel="optimizer step", ylabel="cross-entropy (nats)", title="Loss", ylim=(0, None))
    ax.legend(frameon=False)
    return ax


def confusion_matrix(ax: Axes, targets, predictions, classes, title: str = "Test rows") -> Axes:
    """How often each true class (row) gets each predicted class (column), shaded by share of the row.

    For up to `MAX_CLASSES` classes; their names are written as `drawn_names` has them.
    """
    position = {name: i for i, name in enumerate(classes)}
    counts = np.zeros((len(classes), len(classes)), dtype=int)
    np.add.at(counts, ([position[t] for t in targets], [position[p] for p in predictions]), 1)
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    ax.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    style = {"ha": "center", "va": "center", "fontsize": 10 if len(classes) < 7 else 7}
    for (row, column), count in np.ndenumerate(counts):
        color = "white" if shares[row, column] > 0.5 else "black"
        ax.text(column, row, f"{count}", color=color, **style)
    ax.set(xlabel="predicted class", ylabel="true class", title=title)
    names = drawn_names(classes)
    style = {"parse_math": False, "fontfamily": _fonts()[0]}  # "$" and "_" in a name are no formula
    tilted = {"rotation": 45, "ha": "right"} if len(classes) > 4 or max(map(len, names)) > 12 else {}
    ax.set_xticks(range(len(classes)), names, **tilted, **style)
    ax.set_yticks(range(len(classes)), names, **style)
    return ax


def drawn_names(classes) -> list[str]:
    """Class names as a figure can show them: `printable`, and shortened in the middle.

    Where that would make two alike, or no installed font has the characters, it is the number: "№ 7".
    """
    short = [printable(name) for name in classes]
    middle = LONGEST_NAME * 2 // 3
    short = [
        name if len(name) <= LONGEST_NAME else f"{name[: middle - 1]}…{name[middle - LONGEST_NAME :]}"
        for name in short
    ]
    is_drawn = [short.count(name) == 1 and _fonts()[1].issuperset(map(ord, name)) for name in short]
    return [name if drawn else f"№ {i}" for i, (name, drawn) in enumerate(zip(short, is_drawn), start=1)]


def printable(text: str) -> str:
    """A text on one line: line ends and other characters without a shape are written as escapes."""
    seen = lambda character: character.isprintable() or character in "\u200c\u200d"  # joiners of letters
    return "".join(c if seen(c) else c.encode("unicode_escape").decode() for c in text)


@functools.cache
def _fonts() -> tuple[list[str], set[int]]:
    """Which of `FAMILIES` are installed, and the characters that they have."""
    installed = font_manager.fontManager.get_font_names()
    families = [name for name in FAMILIES if name in installed]
    fonts = [font_manager.get_font(font_manager.findfont(name)) for name in families]
    return families, set().union(*(font.get_charmap() for font in fonts))
