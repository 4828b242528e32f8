"""Datasets as loaders that give the same batches on every run with the same seed (chapter 02)."""

import os
import shutil
from collections.abc import Callable

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from helpers.data.samplers import BucketBatchSampler
from helpers.errors import InputError
from helpers.safety.workers import WatchedLoader, start_worker

MOST_WORKERS = 4  # by default: more rarely pay, and each of them takes memory
PAYING_BYTES, PAYING_FILES = 20 * 10**6, 2000  # of which an epoch takes about a second to decode
SHARED_MEMORY = 10**9  # bytes in which workers hand batches over; containers often have 64 MB
TIMEOUT = 300.0  # seconds without a batch after which a worker counts as hanging


def make_loader(
    dataset: Dataset,
    batch_size: int,
    collate_fn: Callable,
    *,
    shuffle: bool = False,
    seed: int = 0,
    num_workers: int | None = None,
    timeout: float = TIMEOUT,
    **sharding: int,
) -> DataLoader:
    """A loader whose batches depend on the seed and the epoch alone.

    Example: `make_loader(dataset, 32, PadCollate(tokenizer.pad_token_id), shuffle=True)`

    Args:
        dataset: map-style; its `lengths` (N,), where it has them, bring rows of similar length together.
        batch_size: rows per batch, all processes together.
        collate_fn: `PadCollate(...)`, `collate_images` or another function from samples to a batch.
        shuffle: True for training; evaluation keeps one fixed order, sorted by length.
        num_workers: worker processes; 0 loads in the main process, the fastest for samples in memory; None
            is `default_workers`.
        timeout: seconds after which a worker that hangs ends the epoch.
        sharding: `num_processes` and `process_index` of `BucketBatchSampler`, for distributed training.

    An epoch raises InputError: a worker hangs or dies; the sentence names the samples it was at.
    """
    lengths = getattr(dataset, "lengths", np.ones(len(dataset)))
    if num_workers is None:
        num_workers = default_workers(dataset, sharding.get("num_processes", 1))
    batches = BucketBatchSampler(lengths, batch_size, shuffle=shuffle, seed=seed, **sharding)
    return watched_loader(dataset, collate_fn, num_workers, timeout, seed, batch_sampler=batches)


def watched_loader(
    dataset: Dataset, collate_fn: Callable, num_workers: int, timeout: float, seed: int, **batches
) -> DataLoader:
    """What all loaders of the course have in common; `batches` says which rows form one."""
    return WatchedLoader(
        dataset,
        **batches,
        collate_fn=collate_fn,
        num_workers=num_workers,
        persistent_workers=num_workers > 0,
        timeout=timeout if num_workers else 0,
        worker_init_fn=start_worker,
        pin_memory=torch.cuda.is_available(),
        generator=torch.Generator().manual_seed(seed),  # workers seed torch, NumPy and `random` from it
    )


def default_workers(dataset: Dataset, num_processes: int = 1) -> int:
    """How many worker processes pay: 0 for rows in memory and little work, else one per core, up to 4.

    Args:
        dataset: its `sources`, where it has them, are files if they are paths.
        num_processes: of a distributed training, which share the cores of this machine.
    """
    files = [source for source in getattr(dataset, "sources", ()) if isinstance(source, str | os.PathLike)]
    if not files:
        return 0
    sizes = [os.path.getsize(file) for file in files[:: max(1, len(files) // 50)] if os.path.isfile(file)]
    if len(files) < PAYING_FILES and len(files) * float(np.mean(sizes or [0])) < PAYING_BYTES:
        return 0
    if os.path.isdir("/dev/shm") and shutil.disk_usage("/dev/shm").free < SHARED_MEMORY:
        return 0
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    workers = min(cores // num_processes, MOST_WORKERS)
    return workers if workers > 1 else 0


def set_epoch(loader, epoch: int, start: int = 0, place: dict | None = None) -> None:
    """Tell whatever in a loader draws by epoch which one comes next (from 0), and with which batch it begins.

    Args:
        start: the batch to begin with; a sampler that can skips the others without loading them.
        place: what the loader's own `state_dict` gave there, where it has one.

    Raises InputError: a loader that can only begin at its beginning.
    """
    parts = [getattr(loader, name, None) for name in ("batch_sampler", "sampler", "dataset")]
    for part in parts:
        if hasattr(part, "set_epoch"):
            part.set_epoch(epoch)
    skipping = [part for part in parts if hasattr(part, "start")]  # our sampler, or a `RowStream`
    if place is not None:
        loader.load_state_dict(place)
    elif skipping:
        skipping[0].set_epoch(epoch, start)
    elif start:
        raise InputError(
            f"this loader cannot begin at batch {start} of an epoch; build it with make_loader or "
            "stream_loader, or use one with a state_dict, such as torchdata's StatefulDataLoader"
        )
