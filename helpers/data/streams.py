"""Rows of shards as a stream of batches: shuffled, dealt out, resumable, in flat memory (chapter 12)."""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from helpers.data.datasets import SampleError
from helpers.data.loaders import TIMEOUT, default_workers, watched_loader
from helpers.data.shards import Block, Shards
from helpers.errors import InputError


class RowStream(IterableDataset):
    """Whole batches, lists of samples {"index": int, ...}; the same for any number of workers and processes.

    The order of rows is a function of (seed, epoch) alone: the blocks of the shards are permuted, and groups
    of blocks that together hold about `buffer` rows are shuffled inside. Batch k holds places kB to (k+1)B of
    this order; the last two share what is left for them. Process p takes every P-th row of each batch, worker
    w the batches w, w + W, ...: each reads the group's blocks, and parses and keeps its own rows alone.

    Args:
        shards: the rows.
        batch_size: rows per batch, all processes together.
        transform: makes of a row (a dictionary with `id`) what a sample holds beside `index`.
        shuffle: False keeps the order of the files.
        buffer: rows that are shuffled together.
        num_processes, process_index: how many processes share each batch, and which one this is.

    Raises InputError: a batch could leave a process without a row. Iterating raises SampleError, which names
        file and row: a row cannot be read or transformed.
    """

    def __init__(
        self,
        shards: Shards,
        batch_size: int,
        *,
        transform: Callable[[dict], dict],
        shuffle: bool = True,
        seed: int = 0,
        buffer: int = 10_000,
        num_processes: int = 1,
        process_index: int = 0,
    ):
        self.num_rows = len(shards)
        if batch_size < 1 or buffer < 1:
            raise InputError(f"batch_size and buffer must be at least 1, found {batch_size} and {buffer}")
        if self.num_rows < num_processes or (batch_size < 2 * num_processes and num_processes > 1):
            raise InputError(
                f"{self.num_rows} rows in batches of {batch_size} cannot be split among {num_processes} "
                "processes; use fewer processes or larger batches"
            )
        self.shards, self.batch_size, self.transform = shards, batch_size, transform
        self.shuffle, self.seed, self.buffer = shuffle, seed, buffer
        self.num_processes, self.process_index = num_processes, process_index
        self.sources = shards.files  # by their sizes `default_workers` decides
        # Shared memory, because workers that live on must see the epoch change.
        self.place = torch.zeros(2, dtype=torch.int64).share_memory_()

    @property
    def start(self) -> int:
        """The batch that an epoch begins with."""
        return int(self.place[1])

    def set_epoch(self, epoch: int, start: int = 0) -> None:
        """Choose the epoch and its first batch; blocks of which all is done are not read."""
        self.place.copy_(torch.tensor([epoch, start]))

    def __len__(self) -> int:
        """Number of batches in a whole epoch, the same for every process."""
        return -(-self.num_rows // self.batch_size)

    def __iter__(self) -> Iterator[list[dict]]:
        worker = get_worker_info()
        (epoch, start), last = self.place.tolist(), len(self) - 1
        number, count = (worker.id, worker.num_workers) if worker else (0, 1)
        batch, current = [], None
        for begin, group in self._groups(epoch):
            places = np.arange(begin, begin + len(group))
            batches, begins = places // self.batch_size, places // self.batch_size * self.batch_size
            batches[places >= self._last_begin], begins[places >= self._last_begin] = last, self._last_begin
            mine = (batches >= start) & ((batches - start) % count == number)
            mine &= (places - begins) % self.num_processes == self.process_index
            samples = self._samples(group[mine])
            for of in batches[mine].tolist():
                if batch and of != current:
                    yield batch
                    batch = []
                current = of
                batch.append(next(samples))
        if batch:
            yield batch

    @property
    def _last_begin(self) -> int:
        """Place of the last batch's first row: it has half of the rows of the last two."""
        of_two = self.num_rows - max(0, len(self) - 2) * self.batch_size
        return self.num_rows - of_two // 2 if len(self) > 1 else 0

    def _groups(self, epoch: int) -> Iterator[tuple[int, np.ndarray]]:
        """Place of its first row and rows (block, place in the block) of each group, in the epoch's order."""
        blocks = self.shards.blocks
        rng = np.random.default_rng((self.seed, epoch))
        order = np.arange(len(blocks))
        if self.shuffle:
            order = rng.permutation(order)
            if self.shards.kind == "parquet":  # a row group is decoded as a whole: its blocks come together
                keys = [(block.file, block.start) for block in blocks]
                units = np.unique(keys, axis=0, return_inverse=True)[1].reshape(-1)
                order = order[np.argsort(rng.permutation(len(blocks))[units[order]], kind="stable")]
        begin, group, size = 0, [], 0
        for position, number in enumerate(order.tolist(), 1):
            group.append(number)
            size += blocks[number].rows
            if size < self.buffer and position < len(order):
                continue
            if begin + size > min(self.start * self.batch_size, self._last_begin):
                rows = np.concatenate([_rows_of(number, blocks[number]) for number in group])
                if self.shuffle:  # by a generator of its own: groups that are done need not be drawn again
                    rows = np.random.default_rng((self.seed, epoch, begin)).permutation(rows)
                yield begin, rows
            begin, group, size = begin + size, [], 0

    def _samples(self, rows: np.ndarray) -> Iterator[dict]:
        """The samples of rows (block, place in the block), in their order; each block is read once."""
        blocks, by_block, read = self.shards.blocks, np.argsort(rows[:, 0], kind="stable"), []
        numbers, begins = np.unique(rows[by_block, 0], return_index=True)
        for number, part in zip(numbers.tolist(), np.split(by_block, begins[1:])):
            try:
                read += self.shards.read(blocks[number], rows[part, 1].tolist())
            except InputError as error:
                raise SampleError(str(error)) from error
        indices = rows[:, 1] + np.array([block.first for block in blocks])[rows[:, 0]]
        for position, index in zip(np.argsort(by_block).tolist(), indices.tolist()):
            row = read[position]
            try:
                sample = {"index": index, **self.transform(row)}
            except Exception as error:  # a transform raises whatever a field of another kind leads to
                reason = str(error) if isinstance(error, InputError) else f"{type(error).__name__}: {error}"
                raise SampleError(
                    f"{row['id']} cannot be used ({reason}); mend it, or leave it out"
                ) from error
            yield sample


def _rows_of(number: int, block: Block) -> np.ndarray:
    """(block, place in the block) of each row that is read, int64 (rows, 2)."""
    places = np.delete(np.arange(block.size), sorted(block.left_out))
    return np.column_stack([np.full(len(places), number), places])


def stream_loader(
    stream: RowStream, collate_fn: Callable, num_workers: int | None = None, timeout: float = TIMEOUT
) -> DataLoader:
    """A loader of a stream's batches, the same for any number of workers; `fit` trains from it and resumes.

    Example: `stream_loader(RowStream(shards, 32, transform=tokens_of), PadCollate(tokenizer.pad_token_id))`

    Args:
        collate_fn: makes a batch of a list of samples.
        num_workers: worker processes; 0 loads in the main process; None is `default_workers`.
        timeout: seconds after which a worker that hangs ends the epoch.
    """
    if num_workers is None:
        num_workers = default_workers(stream, stream.num_processes)
    whole = {"batch_size": None}  # the stream's items are whole batches
    return watched_loader(stream, collate_fn, num_workers, timeout, stream.seed, **whole)
