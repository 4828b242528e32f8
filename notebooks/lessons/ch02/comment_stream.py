"""A stream of rows, for files that do not fit in memory (chapter 02)."""

import csv
from collections.abc import Iterator
from pathlib import Path

from torch.utils.data import IterableDataset, get_worker_info


class CommentStream(IterableDataset):
    """Rows of a CSV file, read as they are needed: for files that do not fit in memory.

    An iterable dataset has no index, so every worker would read every row and each comment would arrive once
    per worker. Worker w of W therefore keeps only the rows w, w + W, w + 2W, ...

    Samples: the row as a dictionary of strings.

    Args:
        file: a CSV file with a header, UTF-8.
        shard: False shows the duplicate-data trap on purpose (chapter 02).
    """

    def __init__(self, file: str | Path, *, shard: bool = True):
        self.file, self.shard = Path(file), shard

    def __iter__(self) -> Iterator[dict[str, str]]:
        worker = get_worker_info() if self.shard else None
        number, workers = (worker.id, worker.num_workers) if worker else (0, 1)
        with self.file.open(encoding="utf-8-sig", newline="") as lines:
            for position, row in enumerate(csv.DictReader(lines)):
                if position % workers == number:
                    yield row
