"""The course's figures: Axes in, Axes out; readable by colour-blind people, and by screen readers (alt text).

Colours are those of Okabe and Ito (2008), which stay distinct under the common forms of colour blindness.
"""

import base64
import io

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

BLUE, ORANGE, GREEN, VERMILION = "#0072b2", "#e69f00", "#009e73", "#d55e00"
PURPLE, SKY, GREY = "#cc79a7", "#56b4e9", "#8c8c8c"


def show(figure: Figure, alt: str) -> None:
    """Display a figure in a notebook with a text that says what a reader should see in it, and close it.

    Args:
        figure: the finished figure, with labelled axes.
        alt: one or two sentences; screen readers speak them, and they replace a picture that cannot be shown.
    """
    from IPython.display import display
    from matplotlib import pyplot as plt

    bundle = {"image/png": _png(figure, 80), "text/plain": alt}
    display(bundle, raw=True, metadata={"image/png": {"alt": alt}})
    plt.close(figure)


def data_uri(figure: Figure, *, dpi: int = 80) -> str:
    """The figure as an address that carries its own PNG, for a page that stands alone.

    Example: `f'<img alt="what it shows" src="{data_uri(figure)}">'`
    """
    return f"data:image/png;base64,{_png(figure, dpi)}"


def _png(figure: Figure, dpi: int) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None})  # same figure, same bytes
    return base64.b64encode(buffer.getvalue()).decode()


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


def confusion_matrix(ax: Axes, targets, predictions, classes) -> Axes:
    """How often each true class (row) gets each predicted class (column), shaded by share of the row."""
    position = {name: i for i, name in enumerate(classes)}
    counts = np.zeros((len(classes), len(classes)), dtype=int)
    np.add.at(counts, ([position[t] for t in targets], [position[p] for p in predictions]), 1)
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    ax.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    style = {"ha": "center", "va": "center", "fontsize": 10 if len(classes) < 7 else 7}
    for (row, column), count in np.ndenumerate(counts):
        color = "white" if shares[row, column] > 0.5 else "black"
        ax.text(column, row, f"{count}", color=color, **style)
    ax.set(xlabel="predicted class", ylabel="true class", title="Test rows")
    tilted = {"rotation": 45, "ha": "right"} if len(classes) > 4 else {}
    ax.set_xticks(range(len(classes)), classes, **tilted)
    ax.set_yticks(range(len(classes)), classes)
    return ax
