"""The batches of one epoch, as the loop takes them: in lists of one optimizer step, each with its place
(chapter 03); and whether a loader is split among the processes (chapter 12).
"""

import itertools
import warnings
import zlib
from collections.abc import Iterator

import torch
from torch.utils.data import IterableDataset

from helpers.errors import InputError
from helpers.training.runtime import Runtime


def in_groups(loader, size: int) -> Iterator[list[dict]]:
    """Batches in lists of `size`; the last list of an epoch may be shorter."""
    batches = iter(loader)
    while group := list(itertools.islice(batches, size)):
        yield group


def with_place(loader, size: int, runtime: Runtime) -> Iterator[tuple[list[dict], dict | None, bool]]:
    """The lists of `in_groups`, each with the loader's own state after it, if any; is it the last one?

    A stream only tells its end when it is asked for more, so one list is always fetched ahead. Where nobody
    can say how a stream is split among processes, they compare what they get: the epoch ends for all when one
    has no more.

    Raises InputError: two processes get the same rows.
    """
    unsure = runtime.num_processes > 1 and _split_among(loader) is None
    groups = in_groups(loader, size)
    group = next(groups, None)
    if unsure:
        group = None if runtime.total(int(group is None)) else group
        _check_differ(group, runtime)
    while group:
        place = loader.state_dict() if hasattr(loader, "state_dict") else None
        following = next(groups, None)
        ends = following is None
        if unsure:
            ends = runtime.total(int(ends)) > 0
        if ends and following is not None:
            warnings.warn("another process has no more batches: the epoch ends here, too", stacklevel=3)
        yield group, place, ends
        group = None if ends else following


def check_loader(loader, runtime: Runtime) -> None:
    """Refuse a loader that gives every process the same rows: training would be slow and silently different.

    Raises InputError: the loader is not split among this run's processes.
    """
    found = _split_among(loader)
    if found is not None and found != runtime.num_processes:
        raise InputError(
            f"the loader must be split among {runtime.num_processes} processes, found {found}; build it with "
            "make_loader(..., **runtime.sharding)"
        )


def _split_among(loader) -> int | None:
    """How many processes a loader is split among, as far as it says; None for a stream, which may not say."""
    parts = [getattr(loader, name, None) for name in ("batch_sampler", "sampler", "dataset")]
    names = ("num_processes", "num_replicas")
    counts = [getattr(part, name) for part in parts for name in names if hasattr(part, name)]
    if not counts and isinstance(parts[-1], IterableDataset):
        return None
    return counts[0] if counts else 1


def _check_differ(batches: list[dict] | None, runtime: Runtime) -> None:
    """Refuse a stream of which two processes get the same first batch."""
    content = [(name, tensor.tolist()) for batch in batches or () for name, tensor in sorted(batch.items())]
    found = runtime.gather(torch.tensor([zlib.crc32(repr(content).encode())], device=runtime.device))
    if batches and len(found.unique()) < len(found):
        raise InputError(
            "the stream gives several processes the same rows; split it, as by split_dataset_by_node of "
            "`datasets` or RowStream(..., **runtime.sharding)"
        )
