"""Exercise of chapter 02 that chooses: order, batch size and workers for a job, timed on hidden comments."""

import functools

import numpy as np
from transformers import AutoTokenizer

from helpers import assets
from helpers.data import sources
from helpers.data.datasets import TextDataset
from lessons.ch02 import answers, batch_explorer
from lessons.exercise import Exercise

READ, STEP, POSITION, START = 0.004, 0.015, 0.00005, 0.4  # seconds
MOST_POSITIONS, CORES, BAND = 6000, 4, 1.15
FIRST_HIDDEN, EVERY = 5, 8


@functools.cache
def hidden_lengths() -> np.ndarray:
    """Tokens of about 3,000 comments of all platforms (N,), at most 128."""
    rows = sources.comments().iloc[FIRST_HIDDEN::EVERY]
    return TextDataset(rows, AutoTokenizer.from_pretrained(assets.path("minilm"))).lengths


def positions(lengths: np.ndarray, order: str, batch_size: int) -> list[int]:
    """Rows times longest row of every batch of an epoch."""
    batches = batch_explorer.epoch_batches(lengths, batch_size, order)
    return [len(rows) * int(lengths[rows].max()) for rows in batches]


def seconds(lengths: np.ndarray, order: str, batch_size: int, num_workers: int) -> float:
    """Seconds of an epoch of the job."""
    padded = positions(lengths, order, batch_size)
    reading, training = len(lengths) * READ, len(padded) * STEP + sum(padded) * POSITION
    if num_workers == 0:
        return reading + training
    return num_workers * START + max(reading / num_workers, training)


@functools.cache
def best() -> float:
    """Seconds of the fastest plan that the rules allow."""
    lengths = hidden_lengths()
    orders = (batch_explorer.SHUFFLED, batch_explorer.BUCKETING)
    sizes = [
        (order, size)
        for order in orders
        for size in range(4, 129, 4)
        if max(positions(lengths, order, size)) <= MOST_POSITIONS
    ]
    return min(seconds(lengths, *how, workers) for how in sizes for workers in range(CORES + 1))


def _verify_plan(attempt) -> str:
    found = attempt()
    if not isinstance(found, dict) or set(found) != {"order", "batch_size", "num_workers"}:
        raise AssertionError(
            f"expected a dictionary with the keys order, batch_size and num_workers, found {found!r}"
        )
    order, size, workers = found["order"], found["batch_size"], found["num_workers"]
    if order not in batch_explorer.ORDERS:
        raise AssertionError(f"order should be one of {', '.join(batch_explorer.ORDERS)}, found {order!r}")
    if order == batch_explorer.IN_ORDER:
        raise AssertionError("the file is sorted by label, so each batch would hold one label (section 2.7)")
    if not isinstance(size, int) or size < 1 or not isinstance(workers, int) or not 0 <= workers <= CORES:
        raise AssertionError(
            f"expected at least one row per batch and 0 to {CORES} workers, found {size!r} and {workers!r}"
        )
    lengths = hidden_lengths()
    largest = max(positions(lengths, order, size))
    if largest > MOST_POSITIONS:
        raise AssertionError(
            f"one batch of the hidden comments has {largest:,} positions, {MOST_POSITIONS:,} fit; the "
            "longest texts decide, not the usual ones"
        )
    time, least = seconds(lengths, order, size, workers), best()
    if time > BAND * least:
        raise AssertionError(
            f"the epoch takes {time:.1f} s on {len(lengths):,} hidden comments, {least:.1f} s are possible; "
            f"{_advice(lengths, order, size, workers)}"
        )
    return f"The epoch takes {time:.1f} s on {len(lengths):,} hidden comments; the best plan {least:.1f} s."


def _advice(lengths: np.ndarray, order: str, size: int, workers: int) -> str:
    """What costs most time in a plan that is too slow."""
    if workers == 0:
        return "the main process waits for files while the model waits for rows"
    padded = sum(positions(lengths, order, size))
    if padded > 1.3 * lengths.sum():
        return f"{1 - lengths.sum() / padded:.0%} of the positions are padding"
    training = seconds(lengths, order, size, workers) - workers * START
    if len(lengths) * READ / workers >= training:
        return "the files are what everybody waits for"
    return "the steps, or the start of the workers, cost more than they need to"


plan = Exercise(
    verify=_verify_plan,
    hints=(
        "Three questions: what does the order of the file forbid, how many rows of the longest texts fit, "
        "and which of reading and training takes longer?",
        "`batch_explorer.explore(lengths, batch_size=..., order=...)` tells the share of padding and the "
        "number of batches; then compare rows x 4 ms / workers with the time of the steps.",
    ),
    answer=answers.plan,
    praise="Within 15% of the best plan, on lengths that you had not seen.",
)
