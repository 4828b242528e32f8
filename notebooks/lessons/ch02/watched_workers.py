"""Small datasets that chapter 02 sends to worker processes.

A worker receives a pickled copy, so their classes must be importable.

They show what cannot be seen from outside: which process made a sample, when, and with which random numbers.
"""

import os
import time

import numpy as np
from torch.utils.data import Dataset, get_worker_info


class Observed(Dataset):
    """Wrap a map-style dataset; each sample is a note on who made it and when, instead of the sample itself.

    Samples: {"index": int, "process": its id, "worker": number of the worker or None in the main process,
    "begin", "end": seconds on a clock that all processes share}.

    Args:
        dataset: its samples are made, timed and thrown away.
    """

    def __init__(self, dataset: Dataset):
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> dict:
        begin = time.time()
        self.dataset[index]
        worker = get_worker_info()
        return {
            "index": index,
            "process": os.getpid(),
            "worker": worker and worker.id,
            "begin": begin,
            "end": time.time(),
        }


class SlowFiles(Dataset):
    """Samples that arrive after a while, as from a network drive: the process waits and computes nothing.

    Args:
        size: number of samples.
        wait: seconds for each.
    """

    def __init__(self, size: int, wait: float):
        self.size, self.wait = size, wait

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> int:
        time.sleep(self.wait)
        return index


class Noise(Dataset):
    """Random numbers in 0..1 from a NumPy generator that the dataset owns, as many augmentations do.

    Args:
        size: number of samples.
        seed: seed of the generator; None draws from NumPy's global one instead.
    """

    def __init__(self, size: int, seed: int | None = 0):
        self.size = size
        self.rng = None if seed is None else np.random.default_rng(seed)

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> float:
        return np.random.random() if self.rng is None else self.rng.random()  # noqa: NPY002  (the global one is the point)


def reseed_noise(worker_id: int) -> None:
    """A `worker_init_fn` for `Noise`: give this worker's copy a generator of its own.

    PyTorch draws `seed` anew for every epoch and adds the number of the worker, so no two of them are equal.
    """
    worker = get_worker_info()
    worker.dataset.rng = np.random.default_rng(worker.seed)
