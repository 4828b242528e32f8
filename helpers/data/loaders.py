"""Datasets as loaders that give the same batches on every run with the same seed (chapter 02)."""

from collections.abc import Callable

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from helpers.data.samplers import BucketBatchSampler
from helpers.errors import InputError


def make_loader(
    dataset: Dataset,
    batch_size: int,
    collate_fn: Callable,
    *,
    shuffle: bool = False,
    seed: int = 0,
    num_workers: int = 0,
    **sharding: int,
) -> DataLoader:
    """A loader whose batches depend on the seed and the epoch alone.

    Example: `make_loader(dataset, 32, PadCollate(tokenizer.pad_token_id), shuffle=True)`

    Args:
        dataset: map-style; its `lengths` (N,), where it has them, bring rows of similar length together.
        batch_size: rows per batch, all processes together.
        collate_fn: `PadCollate(...)`, `collate_images` or another function from samples to a batch.
        shuffle: True for training; evaluation keeps one fixed order, sorted by length.
        num_workers: worker processes; 0 loads in the main process, the fastest for samples in memory.
        sharding: `num_processes` and `process_index` of `BucketBatchSampler`, for distributed training.
    """
    lengths = getattr(dataset, "lengths", np.ones(len(dataset)))
    return DataLoader(
        dataset,
        batch_sampler=BucketBatchSampler(lengths, batch_size, shuffle=shuffle, seed=seed, **sharding),
        collate_fn=collate_fn,
        num_workers=num_workers,
        persistent_workers=num_workers > 0,
        pin_memory=torch.cuda.is_available(),
        generator=torch.Generator().manual_seed(seed),  # workers seed torch, NumPy and `random` from it
    )


def set_epoch(loader, epoch: int, start: int = 0, place: dict | None = None) -> None:
    """Tell whatever in a loader draws by epoch which one comes next (from 0), and with which batch it begins.

    Args:
        start: the batch to begin with; a sampler that can skips the others without loading them.
        place: what the loader's own `state_dict` gave there, where it has one.

    Raises InputError: a loader that can only begin at its beginning.
    """
    sampler = getattr(loader, "batch_sampler", None)
    for part in (sampler, getattr(loader, "sampler", None), getattr(loader, "dataset", None)):
        if hasattr(part, "set_epoch"):
            part.set_epoch(epoch)
    if place is not None:
        loader.load_state_dict(place)
    elif isinstance(sampler, BucketBatchSampler):
        sampler.set_epoch(epoch, start)
    elif start:
        raise InputError(
            f"this loader cannot begin at batch {start} of an epoch; build it with make_loader, "
            "or use one with a state_dict, such as torchdata's StatefulDataLoader"
        )
