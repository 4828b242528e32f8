"""The pictures of chapter 09: tokens with their losses, packed blocks, masks, choices, bits per byte."""

import numpy as np
import torch
from matplotlib import cm
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

from helpers import plots
from helpers.plots import BLUE, GREEN, GREY, ORANGE, PURPLE, SKY, VERMILION

DOCUMENTS = ListedColormap(["white", BLUE, ORANGE, GREEN, PURPLE, SKY, VERMILION])
PER_LINE = 12  # tokens side by side


def show(figure: Figure, alt: str) -> None:
    """`plots.show`, sharp enough for a projector."""
    plots.show(figure, alt)


def token_losses(tokens: list[str], losses, *, title: str) -> Figure:
    """The tokens of a text in reading order, each shaded by its loss (bits), which stands below it."""
    lines = int(np.ceil(len(tokens) / PER_LINE))
    figure = Figure(figsize=(9.5, 0.75 * lines + 0.5), layout="constrained")
    ax = figure.subplots()
    style = {"ha": "center", "va": "center", "parse_math": False}
    shades = cm.Oranges(np.clip(np.asarray(losses) / 16, 0, 1) * 0.75)
    for place, (token, loss) in enumerate(zip(tokens, losses)):
        row, column = divmod(place, PER_LINE)
        ax.add_patch(_box(column, row, shades[place]))
        ax.text(column + 0.5, row + 0.38, plots.printable(token), fontsize=9, **style)
        ax.text(column + 0.5, row + 0.72, f"{loss:.1f}", fontsize=7.5, **style)
    ax.set(xlim=(0, PER_LINE), ylim=(lines, 0), title=title)
    ax.set_axis_off()
    return figure


def _box(column: int, row: int, colour):
    from matplotlib.patches import Rectangle

    return Rectangle((column + 0.03, row + 0.05), 0.94, 0.9, facecolor=colour, edgecolor=GREY, linewidth=0.5)


def packing(lengths: list[int], block: int) -> Figure:
    """Documents of these lengths as a padded batch, and packed into blocks of `block` tokens."""
    padded = np.zeros((len(lengths), max(lengths)), dtype=int)
    colours = [1 + number % 6 for number in range(len(lengths))]
    for row, (length, colour) in enumerate(zip(lengths, colours)):
        padded[row, :length] = colour
    stream = np.repeat(colours, lengths)
    packed = np.resize(stream[: len(stream) // block * block], (len(stream) // block, block))
    figure = Figure(figsize=(9.5, 3), layout="constrained")
    for ax, cells, name in zip(figure.subplots(1, 2), (padded, packed), ("padded", "packed")):
        ax.imshow(cells, cmap=DOCUMENTS, vmin=0, vmax=6, aspect="auto", interpolation="nearest")
        ax.set(title=f"{name}: {(cells == 0).mean():.0%} of the places are empty", xlabel="position (tokens)")
        ax.set_yticks(range(0, len(cells), max(1, len(cells) // 8)))
        ax.set_ylabel("document" if name == "padded" else "block")
    return figure


def masks(named: dict[str, torch.Tensor]) -> Figure:
    """Masks (L, L) side by side: row = the token that looks, column = the token it may look at."""
    figure = Figure(figsize=(3.4 * len(named), 3.2), layout="constrained")
    for ax, (name, mask) in zip(np.atleast_1d(figure.subplots(1, len(named))), named.items()):
        ax.imshow(mask, cmap=ListedColormap(["white", BLUE]), vmin=0, vmax=1, interpolation="nearest")
        ax.set(title=name, xlabel="may look at", ylabel="the token that looks")
        ax.set_xticks(np.arange(-0.5, len(mask)), minor=True)
        ax.set_yticks(np.arange(-0.5, len(mask)), minor=True)
        ax.grid(which="minor", color=GREY, linewidth=0.3)
        ax.tick_params(which="minor", length=0)
    return figure


def choices(tokens: list[str], named: dict[str, np.ndarray]) -> Figure:
    """Probabilities of the same tokens under several ways to choose; blue can be drawn, grey has chance 0."""
    figure = Figure(figsize=(10, 3.3), layout="constrained")
    most = 1.4 * max(values.max() for values in named.values())
    for ax, (name, values) in zip(figure.subplots(1, len(named), sharey=True), named.items()):
        ax.barh(range(len(tokens)), values, color=BLUE, height=0.7)
        for place, value in enumerate(values):
            text, colour = (f"{value:.0%}", "black") if value > 0 else ("never", GREY)
            ax.text(value + 0.02 * most, place, text, va="center", fontsize=8, color=colour)
        ax.set(title=name, xlim=(0, most), xlabel="probability")
        ax.set_yticks(range(len(tokens)), [plots.printable(token) for token in tokens], parse_math=False)
    ax.invert_yaxis()
    return figure


def ladder(named: dict[str, float], *, groups: dict[str, str]) -> Figure:
    """Bits per byte of each model as a dot, the worst on top; `groups` gives colour names by model."""
    colours = {"counted": GREY, "trained here": VERMILION, "pretrained": BLUE, "fewer bits": SKY}
    figure = Figure(figsize=(8.5, 0.36 * len(named) + 1.1), layout="constrained")
    ax = figure.subplots()
    for place, (name, value) in enumerate(named.items()):
        ax.plot([0, value], [place, place], color="#dddddd", linewidth=1, zorder=1)
        ax.plot(value, place, "o", color=colours[groups[name]], markersize=9)
        ax.text(value + 0.12, place, f"{value:.2f}", va="center", fontsize=9)
    for group, colour in colours.items():
        if group in groups.values():
            ax.plot([], [], "o", color=colour, label=group)
    ax.set_yticks(range(len(named)), named)
    ax.set(xlabel="bits per byte of the held-out comments (less is better)", ylim=(len(named) - 0.4, -0.6))
    ax.set_xlim(0, max(named.values()) * 1.12)
    ax.legend(frameon=False, loc="lower right", fontsize=9)
    return figure


def sizes(named: dict[str, tuple[float, float]]) -> Figure:
    """Models as points: megabytes, bits per byte; those that need twice the bits of the best lie above it."""
    figure = Figure(figsize=(8, 3.6), layout="constrained")
    ax = figure.subplots()
    best = min(bits for _, bits in named.values())
    for name, (megabytes, bits) in named.items():
        if bits < 2 * best:
            ax.plot(megabytes, bits, "o", color=BLUE, markersize=8)
            ax.annotate(name, (megabytes, bits), (9, 0), textcoords="offset points", va="center", fontsize=9)
    ax.set(xlabel="size of the weights (MB)", ylabel="bits per byte (less is better)")
    ax.set_xlim(0, max(size for size, _ in named.values()) * 1.25)
    ax.margins(y=0.15)
    return figure


def curve(steps, losses, lines: dict[str, float]) -> Figure:
    """Training loss in bits per token by step, with dashed lines of rivals at their values."""
    figure = Figure(figsize=(7.5, 2.9), layout="constrained")
    ax = figure.subplots()
    smooth = np.convolve(losses, np.ones(50) / 50, "valid")
    ax.plot(steps, losses, color=GREY, alpha=0.35, linewidth=0.6)
    ax.plot(steps[49:], smooth, color=BLUE, label="the decoder, mean of 50 steps")
    for (name, value), colour in zip(lines.items(), (ORANGE, VERMILION)):
        ax.axhline(value, linestyle="--", color=colour, label=f"{name}, on the held-out comments")
    ax.set(xlabel="step", ylabel="loss (bits per token)", ylim=(0, None))
    ax.legend(frameon=False, fontsize=9)
    return figure
