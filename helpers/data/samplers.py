"""Which rows form a batch: similar lengths together, the same for all processes (chapter 02)."""

import math
from collections.abc import Iterator

import numpy as np
from torch.utils.data import Sampler

from helpers.errors import InputError

POOL = 50  # batches whose rows are sorted together: enough to save padding, few enough to stay random


class BucketBatchSampler(Sampler[list[int]]):
    """Batches of row numbers in which rows of similar length meet, so that little padding is needed.

    An epoch is one random permutation of the rows, cut into pools of 50 batches; each pool is sorted by
    length and cut into batches, and the batches are shuffled. The order depends on (seed, epoch) alone, so a
    resumed run sees the same batches.

    The rows are dealt out evenly: 100 rows in batches of at most 32 make 4 batches of 25, not 3 of 32 and a
    last one of 4 that would move the weights as far as a full one. Several processes split each batch: its
    size, and so the number of optimizer steps, stays the same, and each row is read by exactly one of them.

    Args:
        lengths: length of every row (N,), e.g. its tokens; with equal ones this is an ordinary batch sampler.
        batch_size: largest batch, all processes together.
        shuffle: False keeps the order of lengths and never changes it: for evaluation.
        num_processes, process_index: how many processes share each batch, and which one this is.

    Raises InputError: there is no row, or a batch could leave a process without one.
    """

    def __init__(
        self,
        lengths,
        batch_size: int,
        *,
        shuffle: bool = True,
        seed: int = 0,
        num_processes: int = 1,
        process_index: int = 0,
    ):
        self.lengths = np.asarray(lengths)
        if batch_size < 1:
            raise InputError(f"batch_size must be at least 1, found {batch_size}")
        if not len(self.lengths):
            raise InputError("the dataset has no rows, so there is no batch to form")
        if len(self.lengths) < num_processes or (batch_size < 2 * num_processes and num_processes > 1):
            raise InputError(
                f"{len(self.lengths)} rows in batches of {batch_size} cannot be split among {num_processes} "
                "processes; use fewer processes or larger batches"
            )
        self.batch_size, self.shuffle, self.seed = batch_size, shuffle, seed
        self.num_processes, self.process_index = num_processes, process_index
        self.epoch, self.start = 0, 0

    def __len__(self) -> int:
        """Number of batches in a whole epoch."""
        return math.ceil(len(self.lengths) / self.batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        for batch in self.batches()[self.start :]:
            yield batch[self.process_index :: self.num_processes].tolist()

    def batches(self) -> list[np.ndarray]:
        """All batches of this epoch, of all processes, in order."""
        if not self.shuffle:
            return np.array_split(np.argsort(self.lengths, kind="stable"), len(self))
        rng = np.random.default_rng((self.seed, self.epoch))
        pools = np.array_split(rng.permutation(len(self.lengths)), max(1, len(self) // POOL))
        rows = np.concatenate([pool[np.argsort(self.lengths[pool], kind="stable")] for pool in pools])
        batches = np.array_split(rows, len(self))
        return [batches[i] for i in rng.permutation(len(batches))]

    def set_epoch(self, epoch: int, start: int = 0) -> None:
        """Choose the epoch and its first batch (a resumed run skips what it has done without loading it)."""
        self.epoch, self.start = epoch, start
