"""Batches that the memory cannot hold at once are computed in parts, with the same sums (chapter 03)."""

import math
from collections.abc import Callable

import torch

from helpers.errors import OutOfMemory

ADVICE = "lower --max-length or use a smaller model"


def num_rows(batch: dict[str, torch.Tensor]) -> int:
    """Rows of a batch: the length of its tensors."""
    return len(next(iter(batch.values())))


def in_rows(batches: list[dict], most: int | None) -> list[dict]:
    """The batches cut into parts of at most so many rows; None leaves them as they are."""
    if most is None:
        return batches
    return [
        {name: tensor[start : start + most] for name, tensor in batch.items()}
        for batch in batches
        for start in range(0, num_rows(batch), most)
    ]


def fewer_rows(size: int, runtime) -> int:
    """How many rows to try at once after `size` did not fit into the memory; the tensors of the try are gone.

    Raises OutOfMemory: a single row does not fit, or one of several processes has too little: the others wait
    for its part of the exchange, so they cannot try again without it.
    """
    runtime.free_memory()
    if runtime.num_processes > 1:
        where = f"of process {runtime.process_index} is too small for its {size} rows of a batch"
        raise OutOfMemory(f"the memory {where}; lower --batch-size or use fewer processes")
    if size == 1:
        raise OutOfMemory(f"the memory is too small for a single row; {ADVICE}")
    return math.ceil(size / 2)


def by_halves(compute: Callable, batch: dict[str, torch.Tensor], runtime) -> list[torch.Tensor]:
    """`compute(batch)`, or what it gives for the batch's parts, in order, if the whole does not fit.

    Raises OutOfMemory: see `fewer_rows`.
    """
    try:
        return [compute(batch)]
    except (RuntimeError, MemoryError) as error:
        if not runtime.is_out_of_memory(error):
            raise
    parts = in_rows([batch], fewer_rows(num_rows(batch), runtime))
    return [result for part in parts for result in by_halves(compute, part, runtime)]
