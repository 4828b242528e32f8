"""Chapter 12's pictures: what each strategy splits, and where rows land behind a shuffle buffer."""

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from helpers import plots

LAYERS, ROWS = 4, 4
COLORS = (plots.BLUE, plots.ORANGE)
# Of two processes, what process p holds of layer l: (left, bottom, width, height) in a unit square.
HELD = {
    "DDP": lambda process, layer: (0, 0, 1, 1),
    "FSDP2": lambda process, layer: (0, 0.5 * (1 - process), 1, 0.5),
    "tensor parallel": lambda process, layer: (0.5 * process, 0, 0.5, 1),
    "pipeline parallel": lambda process, layer: (0, 0, 1, 1) if layer * 2 // LAYERS == process else None,
}
EXCHANGED = {
    "DDP": "gradients, once per step",
    "FSDP2": "weights before a layer,\ngradients after it",
    "tensor parallel": "activations,\ntwice per layer",
    "pipeline parallel": "activations,\nat one border",
}


def splits() -> tuple[Figure, str]:
    """What two processes hold of four layers, and which rows of the batch they see, for four strategies."""
    figure, axes = plt.subplots(1, 4, figsize=(11, 3.6), layout="constrained")
    for ax, (name, held) in zip(axes, HELD.items()):
        for process in (0, 1):
            for layer in range(LAYERS):
                _layer(ax, process * 1.4, LAYERS - 1 - layer, COLORS[process], held(process, layer))
            _batch(ax, process, halves=name in ("DDP", "FSDP2"))
            ax.text(process * 1.4 + 0.5, LAYERS + 0.15, f"process {process}", ha="center", fontsize=9)
        ax.set(xlim=(-0.15, 2.55), ylim=(-1.35, LAYERS + 0.5), title=name)
        ax.text(1.2, -1.3, f"exchanged: {EXCHANGED[name]}", ha="center", va="top", fontsize=9)
        ax.set_axis_off()
    alt = (
        "Four panels, each with two processes, four layers and the rows of a batch. DDP: both hold all "
        "layers, each sees half of the rows. FSDP2: each holds half of every layer and sees half of the "
        "rows. Tensor parallel: each holds half of the columns of every layer, both see all rows. Pipeline "
        "parallel: each holds two whole layers, all rows pass through both."
    )
    return figure, alt


def _layer(ax, left: float, bottom: float, color: str, held) -> None:
    ax.add_patch(
        Rectangle((left, bottom + 0.08), 1, 0.84, facecolor="white", edgecolor="#999", linestyle=":")
    )
    if held is not None:
        x, y, width, height = held
        place = (left + x, bottom + 0.08 + 0.84 * y)
        ax.add_patch(Rectangle(place, width, 0.84 * height, facecolor=color, edgecolor="black"))


def _batch(ax, process: int, halves: bool) -> None:
    for row in range(ROWS):
        seen = not halves or row * 2 // ROWS == process
        style = {"facecolor": plots.GREEN if seen else "white", "edgecolor": "#999"}
        ax.add_patch(Rectangle((process * 1.4, -0.25 - 0.22 * row), 1, 0.17, **style))


def landing(orders: dict[int, np.ndarray], first: int, last: int) -> tuple[Figure, str]:
    """Where the rows `first` to `last` of the files land in the order behind each shuffle buffer.

    Args:
        orders: {size of the buffer: order int (N,), the row that comes at each place}.
    """
    figure, axes = plt.subplots(len(orders), 1, figsize=(9, 3.4), layout="constrained", sharex=True)
    spreads = []
    for ax, (size, order) in zip(axes, orders.items()):
        places = np.flatnonzero((order >= first) & (order < last))
        ax.hist(places, bins=120, range=(0, len(order)), color=plots.BLUE)
        ax.set(yticks=[], title=f"buffer {size:,}", xlim=(0, len(order)))
        spreads.append(f"{size:,}: {np.ptp(places):,}")
    axes[-1].set_xlabel("place in the epoch")
    alt = (
        f"Three histograms: where the {last - first:,} rows of one file come in the epoch. With a small "
        f"buffer they stay together, with a large one they spread. From first to last, places by buffer: "
        f"{'; '.join(spreads)}."
    )
    return figure, alt


def bytes_bars(measured: dict[str, dict[str, float]], whole: float) -> tuple[Figure, str]:
    """Bytes per process as stacked bars, one per run, with the even share of `whole` as a mark.

    Args:
        measured: {name of the run: {"processes": n, "sharded": bool, "weights": bytes, "gradients": bytes,
            "moments": bytes}}.
        whole: bytes of all three parts of the whole model.
    """
    figure, ax = plt.subplots(figsize=(7.5, 3), layout="constrained")
    bottom = np.zeros(len(measured))
    looks = (("weights", plots.BLUE, ""), ("gradients", plots.ORANGE, "//"), ("moments", plots.SKY, ".."))
    for part, color, hatch in looks:
        heights = np.array([run[part] / 1e6 for run in measured.values()])
        style = {"color": color, "hatch": hatch, "edgecolor": "black", "linewidth": 0.5}
        ax.bar(range(len(measured)), heights, bottom=bottom, width=0.6, label=part, **style)
        bottom += heights
    shares = [whole / 1e6 / (run["processes"] if run["sharded"] else 1) for run in measured.values()]
    ax.scatter(
        range(len(measured)), shares, marker="_", s=2600, linewidths=3, color=plots.VERMILION, zorder=3
    )
    ax.set_xticks(range(len(measured)), list(measured))
    ax.set(ylabel="MB in each process", ylim=(0, 1.25 * bottom.max()))
    ax.legend(frameon=False, ncols=3, loc="upper right")
    found = "; ".join(f"{name} {height:.0f}" for name, height in zip(measured, bottom))
    return figure, f"Stacked bars of megabytes per process: {found}. Red lines: what was computed before."
