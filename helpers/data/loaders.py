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
    num_processes: int = 1,
    process_index: int = 0,
) -> DataLoader:
    """A loader whose batches depend on the seed and the epoch alone.

    Example: `make_loader(dataset, 32, PadCollate(tokenizer.pad_token_id), shuffle=True)`

    Args:
        dataset: map-style; its `lengths` (N,), where it has them, bring rows of similar length together.
        batch_size: rows per batch, all processes together.
        collate_fn: samples -> batch, e.g. `PadCollate(...)` or `collate_images`.
        shuffle: True for training. Evaluation keeps one fixed order, sorted by length.
        seed: seed of the order and of the workers.
        num_workers: worker processes; 0 loads in the main process, the fastest for samples that are already
            in memory.
        num_processes, process_index: for distributed training, see `BucketBatchSampler`.
    """
    lengths = getattr(dataset, "lengths", np.ones(len(dataset)))
    sharding = {"num_processes": num_processes, "process_index": process_index}
    return DataLoader(
        dataset,
        batch_sampler=BucketBatchSampler(lengths, batch_size, shuffle=shuffle, seed=seed, **sharding),
        collate_fn=collate_fn,
        num_workers=num_workers,
        persistent_workers=num_workers > 0,
        pin_memory=torch.cuda.is_available(),
        # Workers derive their seeds from it: PyTorch's, NumPy's and `random`'s.
        generator=torch.Generator().manual_seed(seed),
    )


def set_epoch(loader, epoch: int, start: int = 0, place: dict | None = None) -> None:
    """Tell whatever in a loader draws by epoch which one comes next, and with which batch it begins.

    Args:
        loader: of `make_loader`, or any other one.
        epoch: the epoch, from 0.
        start: the batch to begin with; a sampler that can skips the others without loading them.
        place: what the loader's own `state_dict` gave there, where it has one.

    Raises:
        InputError: a loader that can only begin at its beginning.
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
