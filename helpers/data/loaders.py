"""Datasets as loaders that give the same batches on every run with the same seed (chapter 02)."""

from collections.abc import Callable

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from helpers.data.samplers import BucketBatchSampler


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

    Args:
        dataset: map-style; its `lengths` (N,), where it has them, bring rows of similar length together.
        batch_size: rows per batch, all processes together.
        collate_fn: samples -> batch, e.g. `PadCollate(...)` or `collate_images`.
        shuffle: True for training. Evaluation keeps one fixed order, sorted by length.
        seed: of the order and of the workers.
        num_workers: worker processes; 0 loads in the main process, the fastest for samples that are already
            in memory.
        num_processes, process_index: for distributed training, see `BucketBatchSampler`.
    """
    lengths = getattr(dataset, "lengths", np.ones(len(dataset)))
    sampler = BucketBatchSampler(
        lengths,
        batch_size,
        shuffle=shuffle,
        seed=seed,
        num_processes=num_processes,
        process_index=process_index,
    )
    return DataLoader(
        dataset,
        batch_sampler=sampler,
        collate_fn=collate_fn,
        num_workers=num_workers,
        persistent_workers=num_workers > 0,
        pin_memory=torch.cuda.is_available(),
        generator=torch.Generator().manual_seed(
            seed
        ),  # workers derive their seeds from it: PyTorch's, NumPy's and `random`'s
    )


def set_epoch(loader: DataLoader, epoch: int, start: int = 0) -> None:
    """Tell the sampler and the dataset which epoch comes next, and with which batch it begins."""
    loader.batch_sampler.set_epoch(epoch, start)
    if hasattr(loader.dataset, "set_epoch"):
        loader.dataset.set_epoch(epoch)
