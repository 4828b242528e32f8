"""The course's figures: Axes in, Axes out, readable by colour-blind people and, through alt text, by screen
readers.

Colours are those of Okabe and Ito (2008), which stay distinct under the common forms of colour blindness.
"""

import base64
import io

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

BLUE, ORANGE, GREEN, VERMILION, PURPLE, SKY, GREY = (
    "#0072b2",
    "#e69f00",
    "#009e73",
    "#d55e00",
    "#cc79a7",
    "#56b4e9",
    "#8c8c8c",
)


def show(figure: Figure, alt: str) -> None:
    """Display a figure in a notebook with a text that says what a reader should see in it, and close it.

    Args:
        figure: drawn, with labelled axes.
        alt: one or two sentences; screen readers speak them, and they stand in for the picture where it
            cannot be shown.
    """
    from IPython.display import display
    from matplotlib import pyplot as plt

    bundle = {"image/png": base64.b64encode(to_png(figure)).decode(), "text/plain": alt}
    display(bundle, raw=True, metadata={"image/png": {"alt": alt}})
    plt.close(figure)


def to_png(figure: Figure, dpi: int = 80) -> bytes:
    """The figure as the bytes of a PNG file, the same bytes for the same figure."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None})
    return buffer.getvalue()


def data_uri(figure: Figure, *, dpi: int = 80) -> str:
    """The figure as an address that carries its own PNG, for a page that stands alone.

    Example: `f'<img alt="what it shows" src="{data_uri(figure)}">'`
    """
    return f"data:image/png;base64,{base64.b64encode(to_png(figure, dpi)).decode()}"


def learning_curves(ax: Axes, history) -> Axes:
    """Training loss per step (grey, smoothed in blue) and validation loss per epoch, from the rows of
    `history.csv`.

    Args:
        ax: drawn into.
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
    """How often each true class (row) is given each predicted class (column): counts, shaded by their share
    of the row.
    """
    position = {name: i for i, name in enumerate(classes)}
    counts = np.zeros((len(classes), len(classes)), dtype=int)
    np.add.at(counts, ([position[t] for t in targets], [position[p] for p in predictions]), 1)
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    ax.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    size = 10 if len(classes) < 7 else 7
    for (row, column), count in np.ndenumerate(counts):
        ax.text(
            column,
            row,
            f"{count}",
            ha="center",
            va="center",
            fontsize=size,
            color="white" if shares[row, column] > 0.5 else "black",
        )
    ax.set(xlabel="predicted class", ylabel="true class", title="Test rows")
    ax.set_xticks(
        range(len(classes)),
        classes,
        rotation=45 if len(classes) > 4 else 0,
        ha="right" if len(classes) > 4 else "center",
    )
    ax.set_yticks(range(len(classes)), classes)
    return ax


def scores(
    ax: Axes,
    names,
    values,
    intervals=None,
    *,
    reference: tuple[str, float] | None = None,
    label: str = "macro-F1",
) -> Axes:
    """Horizontal bars, one per method, with 95% intervals and a dashed reference line.

    Args:
        ax: drawn into.
        names, values: from the weakest method to the strongest; drawn from top to bottom.
        intervals: (low, high) of each value, or None for values without one.
        reference: name and value of the line to compare with.
        label: of the value axis.
    """
    places = np.arange(len(names))
    ax.barh(places, values, color=BLUE, height=0.6)
    for place, value, interval in zip(places, values, intervals or [None] * len(values)):
        if interval is not None:
            ax.plot(interval, [place, place], color="black", linewidth=1.5, marker="|", markersize=8)
        ax.text(0.01, place, f"{value:.3f}", va="center", color="white", fontsize=9)
    if reference:
        ax.axvline(reference[1], color=VERMILION, linestyle="--", label=f"{reference[0]} {reference[1]:.3f}")
        ax.legend(frameon=False, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    ax.set_yticks(places, names)
    ax.invert_yaxis()
    ax.set(xlabel=label, xlim=(0, 1))
    return ax


def probabilities(ax: Axes, classes, values, *, title: str = "") -> Axes:
    """The class probabilities of one input as horizontal bars with their values."""
    ax.barh(
        range(len(classes)), values, color=[BLUE if v == max(values) else SKY for v in values], height=0.6
    )
    for place, value in enumerate(values):
        ax.text(min(value + 0.01, 0.88), place, f"{value:.2f}", va="center", fontsize=9)
    ax.set_yticks(range(len(classes)), classes)
    ax.invert_yaxis()
    ax.set(xlabel="probability", xlim=(0, 1), title=title)
    return ax


def image_row(axes, images, titles) -> None:
    """One picture per Axes, without ticks, each under its title. Images are (H, W), (H, W, 3), or float
    tensors (3, H, W).
    """
    for ax, image, title in zip(axes, images, titles):
        array = np.asarray(image)
        ax.imshow(array.transpose(1, 2, 0) if array.ndim == 3 and array.shape[0] == 3 else array, cmap="gray")
        ax.set_title(title, fontsize=9)
        ax.set_axis_off()
