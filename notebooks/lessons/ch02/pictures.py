"""The pictures of chapter 02. Each function returns a figure and the sentence that stands in for it:
`plots.show(*pictures.road())`.
"""

import numpy as np
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from helpers import plots
from lessons import panels

Picture = tuple[Figure, str]
BOXES = (
    ("Sampler", "which rows,\nin which order?\n(2.7)"),
    ("Dataset", "what is row i?\n(2.1, 2.4, 2.5)"),
    ("collate_fn", "how do samples\nbecome one batch?\n(2.3, 2.6)"),
    ("model", "what follows\nfrom the batch?\n(next chapters)"),
)
ARROW = {"arrowstyle": "->", "linewidth": 1.8}


def road() -> Picture:
    """The four stations between files and model."""
    figure = Figure(figsize=(9, 2.3), layout="constrained")
    ax = figure.subplots()
    for place, (name, question) in enumerate(BOXES):
        ax.text(place, 0.62, name, ha="center", va="center", fontsize=13, weight="bold", color=plots.BLUE)
        ax.text(place, 0.28, question, ha="center", va="center", fontsize=10)
        ax.add_patch(Rectangle((place - 0.36, 0.02), 0.72, 0.78, fill=False, edgecolor="black"))
    for place, label in enumerate(("row numbers", "samples", "a batch")):
        ax.annotate("", (place + 0.63, 0.5), (place + 0.37, 0.5), arrowprops=ARROW)
        ax.text(place + 0.5, 0.9, label, ha="center", va="center", fontsize=10)
    ax.plot([-0.42, 2.42], [1.05, 1.05], color=plots.GREY, linewidth=2)
    what = "DataLoader: joins the three, and may share them among worker processes (2.10)"
    ax.text(1, 1.16, what, ha="center", va="center", fontsize=10)
    ax.set(xlim=(-0.5, 3.5), ylim=(0, 1.25))
    ax.set_axis_off()
    return figure, (
        "Four boxes from left to right: the sampler gives row numbers to the dataset, the dataset gives "
        "samples to collate_fn, collate_fn gives a batch to the model."
    )


def image_row(images: dict[str, object], alt: str) -> Picture:
    """Pictures side by side, each under its name: (H, W), (H, W, 3), PIL or a tensor (3, H, W)."""
    figure = Figure(figsize=(9, 9 / len(images) + 0.3), layout="constrained")
    panels.image_row(figure.subplots(1, len(images)), images.values(), images)
    return figure, alt


def image_rows(rows: dict[str, list], alt: str) -> Picture:
    """Blocks of four pictures, two blocks in a line; the first picture of each is the one before."""
    figure = Figure(figsize=(8.5, 2.5), layout="constrained")
    axes = figure.subplots(2, 8).reshape(-1, 4)
    for block, (name, images) in zip(axes, rows.items()):
        panels.image_row(block, images, ["before", *(f"{name} {draw}" for draw in (1, 2, 3))])
    return figure, alt


def histograms(values: dict[str, object], alt: str) -> Picture:
    """One histogram of pixel values per entry, with a dashed line at the mean."""
    figure = Figure(figsize=(2.6 * len(values), 2.5), layout="constrained")
    axes = figure.subplots(1, len(values), sharey=True, squeeze=False)[0]
    colours = (plots.GREY, plots.BLUE, plots.GREEN, plots.VERMILION)
    for ax, (name, pixels), colour in zip(axes, values.items(), colours):
        counts, edges = np.histogram(pixels, bins=40)
        ax.bar(edges[:-1], counts / counts.sum(), width=np.diff(edges), align="edge", color=colour)
        ax.axvline(float(pixels.mean()), color="black", linestyle="--")
        ax.set(title=name, xlabel="pixel value", yscale="log")
    axes[0].set_ylabel("share of pixels (log)")
    return figure, alt


def changes(differences: dict[str, tuple[float, float]]) -> Picture:
    """Changes of an accuracy with their 95% intervals, largest loss first.

    Args:
        differences: name -> (mean change, half of the interval's width), both 0..1.
    """
    figure = Figure(figsize=(7.5, 1.9), layout="constrained")
    ax = figure.subplots()
    ordered = sorted(differences.items(), key=lambda entry: entry[1][0])
    for place, (_, (mean, half)) in enumerate(ordered):
        ax.errorbar(100 * mean, place, xerr=100 * half, color=plots.BLUE, marker="o", capsize=4, linestyle="")
    ax.axvline(0, color=plots.GREY, linestyle="--")
    ax.set_yticks(range(len(ordered)), [name for name, _ in ordered])
    ax.set(
        ylim=(len(ordered) - 0.5, -0.5),
        xlabel="change of right labels against once, once (points), 95% interval",
    )
    return figure, (
        "Three points with intervals: transforming only the known or only the new pictures twice loses about "
        "as much and lies clearly left of zero; transforming both twice does not."
    )


def padding(lengths: np.ndarray, batches: dict[str, tuple[np.ndarray, int | None]]) -> Picture:
    """Batches of texts as lines of tokens (dark) and padding (light).

    Args:
        lengths: tokens of every row (N,).
        batches: title -> (row numbers of a batch, the fixed length or None for that of the longest row).
    """
    figure = Figure(figsize=(9.5, 2.8), layout="constrained")
    axes = figure.subplots(1, len(batches), sharey=True, squeeze=False)[0]
    for ax, (title, (rows, fixed)) in zip(axes, batches.items()):
        mask = np.arange(fixed or lengths[rows].max()) < np.sort(lengths[rows])[::-1, None]  # (B, L)
        ax.imshow(
            mask,
            cmap=ListedColormap(["#d9d9d9", plots.BLUE]),
            aspect="auto",
            interpolation="nearest",
            vmin=0,
            vmax=1,
            extent=(0, mask.shape[1], len(rows), 0),
        )
        ax.set(title=title, xlabel="position (tokens)", xlim=(0, 128))
    axes[0].set_ylabel("text of the batch")
    return figure, (
        "Three batches: dark is text, light is padding. Padded to 128 the batch is mostly light; padded to "
        "its longest text about half; with bucketing almost none."
    )


def similarity(lengths: list[int], with_mask: list[float], without: list[float]) -> Picture:
    """How similar a padded comment stays to itself, with its mask and without."""
    figure = Figure(figsize=(6.5, 2.8), layout="constrained")
    ax = figure.subplots()
    ax.plot(lengths, with_mask, color=plots.BLUE, marker="o", label="with attention mask")
    ax.plot(lengths, without, color=plots.VERMILION, marker="s", linestyle="--", label="mask forgotten")
    ax.set(
        xlabel="length after padding (tokens)", ylabel="similarity to the\nunpadded comment", ylim=(0.5, 1.05)
    )
    ax.legend(frameon=False)
    return figure, (
        "With the mask the similarity stays at one for every length. Without it, the similarity falls "
        "steadily as padding is added."
    )


def classes_by_batch(labels: dict[str, list], classes) -> Picture:
    """How many images of each class every batch holds.

    Args:
        labels: title -> the labels of every batch of an epoch.
        classes: names of the classes.
    """
    figure = Figure(figsize=(9, 2.8), layout="constrained")
    axes = figure.subplots(1, len(labels), sharey=True, squeeze=False)[0]
    for ax, (title, batches) in zip(axes, labels.items()):
        counts = np.stack([np.bincount(batch, minlength=len(classes)) for batch in batches], axis=1)
        picture = ax.imshow(counts, aspect="auto", cmap="Blues", interpolation="nearest", vmin=0, vmax=32)
        ax.set(title=title, xlabel="batch")
    axes[0].set_yticks(range(len(classes)), classes)
    figure.colorbar(picture, label="images in the batch")
    return figure, (
        "Two maps of class against batch. In order, nearly each batch holds one class, a dark staircase; "
        "shuffled, every batch holds a few images of each class."
    )


def arrivals(arrived: dict[str, list[int]], batch_size: int) -> Picture:
    """Row of the file against place of arrival, for a stream read by two workers in turn."""
    figure = Figure(figsize=(8.5, 2.8), layout="constrained")
    axes = figure.subplots(1, len(arrived), sharey=True, squeeze=False)[0]
    for ax, (title, rows) in zip(axes, arrived.items()):
        worker = np.arange(len(rows)) // batch_size % 2
        for number, colour, marker in ((0, plots.BLUE, "o"), (1, plots.ORANGE, "x")):
            places = np.flatnonzero(worker == number)
            label = f"worker {number}"
            ax.scatter(places, np.array(rows)[places], s=18, color=colour, marker=marker, label=label)
        ax.set(title=title, xlabel="place of arrival", xlim=(-2, 122))
    axes[0].set_ylabel("row of the file")
    axes[-1].legend(frameon=False, loc="lower right")
    return figure, (
        "Two plots of file row against place of arrival. Left: two parallel staircases, each row arrives "
        "once from each worker. Right: the two workers together cover each row once."
    )


def timelines(bars: dict[int, list[tuple[str, float, float]]]) -> Picture:
    """Who is busy when, for every number of workers.

    Args:
        bars: number of workers -> (lane, begin, end) of every batch loaded and of every training step,
            seconds; the lane of training is "training".
    """
    lanes = {count: sorted({lane for lane, *_ in found}) for count, found in bars.items()}
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    axes = figure.subplots(len(bars), 1, sharex=True, height_ratios=[len(names) for names in lanes.values()])
    for ax, (count, found) in zip(axes, bars.items()):
        for lane, begin, end in found:
            color, hatch = (plots.ORANGE, "//") if lane == "training" else (plots.BLUE, None)
            style = {"height": 0.6, "edgecolor": "black", "linewidth": 0.5, "color": color, "hatch": hatch}
            ax.barh(lanes[count].index(lane), end - begin, left=begin, **style)
        ax.set_yticks(range(len(lanes[count])), lanes[count])
        ax.invert_yaxis()
        last = max(end for _, _, end in found)
        ax.axvline(last, color=plots.GREY, linestyle="--")
        ax.set_title(f"num_workers={count}: done after {last:.2f} s", fontsize=10)
        ax.set_xlim(left=0)
    axes[-1].set_xlabel("time since the start of the epoch (s)")
    return figure, (
        "Two timelines. Without workers, waiting for files and training take turns. With two workers both "
        "wait at the same time, beside the training, and the epoch ends much earlier."
    )
