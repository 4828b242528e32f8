"""Batch explorer (chapter 02): how batch size, shuffling and bucketing decide the share of padding."""

from dataclasses import dataclass

import ipywidgets as widgets
import numpy as np
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

from helpers import plots
from helpers.data.samplers import BucketBatchSampler
from lessons.controls import explorer, wide

BUCKETING, SHUFFLED, IN_ORDER = "shuffled, similar lengths together", "shuffled", "in the order of the file"
ORDERS = (IN_ORDER, SHUFFLED, BUCKETING)
PREFETCH = 2  # PyTorch's default: batches that each worker prepares ahead


@dataclass(frozen=True)
class BatchReport:
    """One batch and the epoch that it belongs to.

    Attributes:
        mask: bool (B, L), True = a real token, False = padding.
        batches: number of batches in the epoch.
        share: share of all positions of the epoch that hold padding.
        smallest, largest: rows of the smallest and of the largest batch of the epoch.
        worker: the worker process that makes this batch; None when the main process does.
        waiting: most batches that lie ready or in work at one time.
    """

    mask: np.ndarray
    batches: int
    share: float
    smallest: int
    largest: int
    worker: int | None
    waiting: int

    def sentence(self, number: int) -> str:
        """The report in words, for batch `number`."""
        who = "the main process makes it" if self.worker is None else f"worker {self.worker} makes it"
        rows = f"{self.smallest}" if self.smallest == self.largest else f"{self.smallest} to {self.largest}"
        return (
            f"Batch {number} of {self.batches}: input_ids {self.mask.shape}, {1 - self.mask.mean():.0%} "
            f"padding; {who}, at most "
            f"{self.waiting} batches wait in memory. Whole epoch: {rows} rows a batch, {self.share:.0%} "
            "padding."
        )


def epoch_batches(
    lengths, batch_size: int, order: str, *, seed: int = 0, drop_last: bool = False
) -> list[np.ndarray]:
    """The row numbers of every batch of an epoch.

    Args:
        lengths: tokens of every row (N,).
        batch_size: rows per batch.
        order: one of `ORDERS`.
        seed: seed of the shuffling.
        drop_last: leave out a last batch that is not full (bucketing has none: it deals the rows out evenly).
    """
    if order == BUCKETING:
        return BucketBatchSampler(lengths, batch_size, seed=seed).batches()
    rows = np.arange(len(lengths))
    if order == SHUFFLED:
        rows = np.random.default_rng(seed).permutation(len(lengths))
    batches = [rows[start : start + batch_size] for start in range(0, len(rows), batch_size)]
    return batches[:-1] if drop_last and len(batches) > 1 and len(batches[-1]) < batch_size else batches


def explore(
    lengths,
    *,
    batch_size: int = 32,
    order: str = SHUFFLED,
    drop_last: bool = False,
    num_workers: int = 0,
    number: int = 1,
    seed: int = 0,
) -> BatchReport:
    """Form an epoch's batches and look at batch `number` (from 1; beyond the end, the last one)."""
    lengths = np.asarray(lengths)
    batches = epoch_batches(lengths, batch_size, order, seed=seed, drop_last=drop_last)
    chosen = min(number, len(batches)) - 1
    padded = sum(lengths[rows].max() * len(rows) for rows in batches)
    sizes = [len(rows) for rows in batches]
    return BatchReport(
        mask=np.arange(lengths[batches[chosen]].max()) < lengths[batches[chosen], None],
        batches=len(batches),
        share=float(1 - sum(lengths[rows].sum() for rows in batches) / padded),
        smallest=min(sizes),
        largest=max(sizes),
        worker=chosen % num_workers if num_workers else None,
        waiting=num_workers * PREFETCH if num_workers else 1,
    )


def picture(report: BatchReport) -> Figure:
    """The batch as a picture: one line per comment, real tokens dark, padding light."""
    figure = Figure(figsize=(7.5, 2.8), layout="constrained")
    ax = figure.subplots()
    ax.imshow(
        report.mask,
        cmap=ListedColormap(["#d9d9d9", plots.BLUE]),
        aspect="auto",
        interpolation="nearest",
        vmin=0,
        vmax=1,
        extent=(0, report.mask.shape[1], report.mask.shape[0], 0),
    )
    ax.set(
        xlim=(0, 128),
        xlabel="position (tokens)",
        ylabel="row of the batch",
        title=f"{1 - report.mask.mean():.0%} of this batch is padding",
    )
    return figure


def batch_explorer(lengths) -> widgets.Widget:
    """Controls for `explore` with its picture and its sentence below.

    Args:
        lengths: tokens of every row (N,).
    """
    slider = wide() | {"continuous_update": False}  # draw when the handle is released, not at every pixel
    controls = {
        "batch_size": widgets.Dropdown(
            options=[4, 8, 16, 32, 64, 128], value=32, description="batch_size", **wide()
        ),
        "order": widgets.Dropdown(options=ORDERS, value=SHUFFLED, description="order of the rows", **wide()),
        "drop_last": widgets.Checkbox(value=False, description="drop_last", **wide()),
        "num_workers": widgets.IntSlider(value=0, min=0, max=4, description="num_workers", **slider),
        "number": widgets.IntSlider(
            value=1, min=1, max=explore(lengths).batches, description="batch number", **slider
        ),
        "seed": widgets.IntSlider(value=0, min=0, max=9, description="seed", **slider),
    }

    def draw(number, **values):
        report = explore(lengths, number=number, **values)
        # A number beyond the new end is moved by the slider, which calls again.
        if controls["number"].max != report.batches:
            controls["number"].max = report.batches
        return picture(report), report.sentence(min(number, report.batches))

    return explorer(controls, draw)
