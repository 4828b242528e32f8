"""How fast a training step is, and how many bytes it keeps for the backward pass (chapter 06 derives it)."""

import contextlib
import os
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import nn

from helpers.errors import InputError
from lessons.kept_tensors import kept_bytes
from lessons.one_step import take_step


@dataclass(frozen=True)
class Timing:
    """How long one call took: median, fastest and slowest of the repeats (seconds), and its items."""

    seconds: float
    fastest: float
    slowest: float
    items: int

    @property
    def items_per_second(self) -> float:
        """Items divided by the median time."""
        return self.items / self.seconds


def time_calls(
    call: Callable[[], object],
    *,
    items: int,
    repeats: int = 5,
    warmup: int = 1,
    clock: Callable[[], float] = time.perf_counter,
) -> Timing:
    """Time `call` several times; the median ignores the odd slow one.

    The first calls, which set things up, are left out.

    Args:
        call: what is timed, e.g. one training step.
        items: rows that one call works on.
        repeats: timed calls.
        warmup: calls before them that are not timed.
        clock: `time.perf_counter` for what a person waits, `time.process_time` for the work of the processor.

    Raises:
        InputError: nothing to time.
    """
    if repeats < 1 or items < 1:
        raise InputError(f"time_calls needs at least 1 repeat and 1 item, found {repeats} and {items}")
    for _ in range(warmup):
        call()
    seconds = []
    for _ in range(repeats):
        finish()
        start = clock()
        call()
        finish()
        seconds.append(clock() - start)
    return Timing(statistics.median(seconds), min(seconds), max(seconds), items)


def finish() -> None:
    """Wait for a GPU to finish what it was given: Python goes on, and a clock would stop too early."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    elif torch.backends.mps.is_available():
        torch.mps.synchronize()


def training_step(
    model: nn.Module,
    images: torch.Tensor,
    labels: torch.Tensor,
    *,
    learning_rate: float = 1e-4,
    bf16: bool = False,
) -> Callable[[], torch.Tensor]:
    """A function that makes one AdamW step on the same batch each time it is called, and returns its loss ().

    Args:
        model: images (B, 3, H, W) -> logits (B, C); weights that are frozen stay.
        images, labels: the batch, on the model's device; labels (B,) int64.
        learning_rate: rate of the step; low, so that a timing does not ruin the model.
        bf16: compute the forward pass under autocast.
    """
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=learning_rate)

    def step() -> torch.Tensor:
        with torch.autocast(images.device.type, dtype=torch.bfloat16, enabled=bf16):
            logits = model(images)
        return take_step(nn.functional.cross_entropy(logits.float(), labels), optimizer)

    return step


def saved_bytes(model: nn.Module, images: torch.Tensor) -> int:
    """Bytes that autograd keeps for the backward pass of `model(images)`, weights and buffers not counted."""
    return kept_bytes(lambda: model(images), [*model.parameters(), *model.buffers()])


@contextlib.contextmanager
def quiet_stderr() -> Iterator[None]:
    """Silence what C++ code writes to standard error: the profiler reports missing GPUs there."""
    kept = os.dup(2)
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
