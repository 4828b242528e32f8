"""A folder of shards: JSON Lines, CSV or Parquet files whose rows no memory need hold (chapter 12).

One pass notes where every block of about 1,000 rows begins; from then on any block is read alone.
"""

import bisect
import csv
import functools
import itertools
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from helpers.errors import DataError, InputError, Problem

KINDS = {".jsonl": "lines", ".ndjson": "lines", ".csv": "csv", ".parquet": "parquet"}
COMPRESSED = (".gz", ".bz2", ".xz", ".zst", ".zip", ".lz4", ".7z", ".tar", ".tgz")
EXPECTED = "expected a folder of .jsonl, .csv or .parquet files"
BLOCK = 1000  # rows
HELD_BYTES = 128_000_000  # a larger row group of Parquet is not held, but begun anew for each of its blocks
MOST_LINES = 10_000  # of one CSV record; more are a quotation mark that nobody closed
MOST_PROBLEMS = 1000  # that are kept; all are counted


@dataclass(frozen=True, slots=True)
class Block:
    """Rows that stand together in one file and are read together."""

    file: int  # number of the file
    number: int  # of the first line (JSON Lines) or row (CSV: the header is row 1; Parquet: from 1)
    first: int  # index of the first row among those of all files
    size: int  # rows
    start: int  # byte where it begins; of Parquet the row group
    stop: int  # byte where it ends; of Parquet the first row in its group
    left_out: frozenset[int] = frozenset()  # places of rows that are not read, from 0

    @property
    def rows(self) -> int:
        """Rows that are read."""
        return self.size - len(self.left_out)


class Shards:
    """The index of a folder of shards; it grows with the blocks, not with the rows. `len` counts rows.

    Example: `shards = Shards("reviews"); rows = shards.read(shards.blocks[0])`

    Attributes: `files` in order of their names, `sizes` in bytes, `columns` (None of JSON Lines), `blocks`,
    `ignored` (how many hidden files), `problems` and `num_bad` (see `checked`).

    Raises InputError: no folder, no rows, files of several kinds or compressed ones, other columns in one.
    """

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)
        self.files, self.ignored = _listed(self.folder)
        self.names, self.kind = [file.name for file in self.files], KINDS[self.files[0].suffix.lower()]
        self.sizes = [file.stat().st_size for file in self.files]
        self.columns: list[str] | None = None
        self.blocks: list[Block] = []
        self.problems, self.num_bad = [], 0
        for number, file in enumerate(self.files):
            columns, blocks = _indexed(file, self.kind)
            self.columns = columns if self.columns is None else self.columns
            if columns not in (None, self.columns):
                differ = ", ".join(sorted(set(columns) ^ set(self.columns))) or "another order"
                what = f"{file} has other columns than {self.names[0]} ({differ})"
                raise InputError(f"{what}; give all files the same columns in the same order")
            for start, stop, row, size in blocks:
                first = self.blocks[-1].first + self.blocks[-1].size if self.blocks else 0
                self.blocks.append(Block(number, row, first, size, start, stop))
        if not self.blocks:
            raise InputError(f"the {len(self.files)} files of {self.folder} hold no row; expected some")

    def __len__(self) -> int:
        return sum(block.rows for block in self.blocks)

    def __getitem__(self, index: int) -> str:
        """Where the row with this `index` of a stream's sample stands: "file:row"."""
        block = self.blocks[bisect.bisect([block.first for block in self.blocks], index) - 1]
        return self.read(block, [index - block.first])[0]["id"]

    def read(self, block: Block, places=None) -> list[dict]:
        """The rows of a block as dictionaries; `id` is "file:row", whatever a field of that name may hold.

        Args:
            places: only these rows, from 0, in their order; None reads all that are not left out.

        Raises InputError: a row that is none, or a file that has changed since it was counted.
        """
        if places is None:
            places = [place for place in range(block.size) if place not in block.left_out]
        return [self._row(block, *record) for record in self._records(block, places)]

    def checked(self, visit: Callable[[dict], bool], on_bad: str = "stop") -> "Shards":
        """The same folder without the rows for which `visit(row)` is False, after one pass over all rows.

        What is left out is noted in the blocks: every process that reads them gets the same rows.

        Args:
            visit: called once with every row; raises InputError for a bad one.
            on_bad: "stop" raises a DataError that lists the bad rows, "skip" leaves them out and lists them
                in `problems` (the first 1,000; `num_bad` counts all).
        """
        made = object.__new__(Shards)
        made.__dict__.update(self.__dict__ | {"blocks": [], "problems": [], "num_bad": 0})
        for block in self.blocks:
            places = [place for place in range(block.size) if place not in block.left_out]
            gone = set(block.left_out)
            for place, record in zip(places, self._records(block, places)):
                try:
                    keep = visit(self._row(block, *record))
                except InputError as error:
                    keep, made.num_bad = False, made.num_bad + 1
                    where = self._name(block, record[0])
                    if made.num_bad <= MOST_PROBLEMS:
                        made.problems.append(Problem(where, str(error).removeprefix(f"{where}: ")))
                if not keep:
                    gone.add(place)
            made.blocks.append(replace(block, left_out=frozenset(gone)))
        if made.num_bad and on_bad == "stop":
            advice = f"{made.num_bad:,} in all: mend them in {self.folder}, or pass --on-bad skip"
            raise DataError(made.problems, advice)
        return made

    def _records(self, block: Block, places: list[int]) -> list[tuple]:
        """Number and raw record of rows of a block."""
        file, known = self.files[block.file], self.sizes[block.file]
        found = file.stat().st_size if file.is_file() else 0
        if found != known:
            what = f"{file} has changed since its rows were counted"
            raise InputError(f"{what} (from {known:,} to {found:,} bytes); put it back, or start anew")
        if self.kind == "parquet":
            rows = _parquet_rows(file, block).take(places).to_pylist()
            return [(block.number + place, row) for place, row in zip(places, rows)]
        records = list(_records(file, self.kind, block.start, block.stop, block.number))
        return [records[place][:2] for place in places]

    def _row(self, block: Block, number: int, raw) -> dict:
        where = self._name(block, number)
        if self.kind == "lines":
            raw = _parsed(where, raw)
        elif self.kind == "csv":
            if len(raw) != len(self.columns):
                found = f"expected {len(self.columns)} fields, found {len(raw)}"
                raise InputError(f"{where}: {found}; quote fields that hold the separator")
            if any("\udc80" <= sign <= "\udcff" for sign in "".join(raw)):
                raise InputError(f"{where}: is not valid UTF-8; save the file as UTF-8")
            raw = dict(zip(self.columns, raw))
        return {**raw, "id": where}

    def _name(self, block: Block, number: int) -> str:
        return f"{self.names[block.file]}:{number}"


def _listed(folder: Path) -> tuple[list[Path], int]:
    """The files of one kind in a folder by their names, and how many hidden ones are ignored."""
    if not folder.is_dir():
        raise InputError(f"{folder} is no folder; {EXPECTED}")
    found = sorted(folder.iterdir())
    files = [path for path in found if not path.name.startswith((".", "_"))]  # _SUCCESS, .part-0.crc
    if not files:
        raise InputError(f"{folder} holds no shard; {EXPECTED}")
    for path in files:
        if path.suffix.lower() in COMPRESSED:
            raise InputError(f"{path} is compressed, so no part of it can be read alone; unpack it")
        kind = KINDS.get(path.suffix.lower())
        if not path.is_file() or kind is None:
            raise InputError(f"{path} is no shard; {EXPECTED} and nothing else: take it out")
        if kind != KINDS[files[0].suffix.lower()]:
            what = f"{folder} mixes kinds of files ({files[0].name}, {path.name})"
            raise InputError(f"{what}; give one folder for each kind")
    return files, len(found) - len(files)


def _indexed(file: Path, kind: str) -> tuple[list[str] | None, list[tuple[int, int, int, int]]]:
    """The columns of a file; start, stop, number of the first row and size of its blocks, see `Block`."""
    columns, blocks, number, start = None, [], 1, 0
    if kind == "parquet":
        with _opened(file) as parquet:
            columns = parquet.schema_arrow.names
            for group in range(parquet.metadata.num_row_groups):
                size = parquet.metadata.row_group(group).num_rows
                for begin in range(0, size, BLOCK):
                    blocks.append((group, begin, number + begin, min(BLOCK, size - begin)))
                number += size
    if kind == "csv":
        header = next(_records(file, kind), None)
        if header is None:
            return None, []
        columns, number, start = [name.strip() for name in header[1]], header[0] + 1, header[2]
    if len(set(columns or ())) < len(columns or ()):
        raise InputError(f"a column stands twice in {file} ({', '.join(columns)}); rename one of them")
    rows = _records(file, kind, start, None, number) if kind != "parquet" else iter(())
    while part := list(itertools.islice(((row, end) for row, _, end in rows), BLOCK)):
        blocks.append((start, part[-1][1], part[0][0], len(part)))
        start = part[-1][1]
    return columns, blocks


class _Lines:
    """The lines of a file from a byte on; `end` is the byte behind the last one."""

    def __init__(self, file: Path, start: int, stop: int | None):
        self.file, self.end, self.stop, self.since = file, start, stop, 0

    def __iter__(self) -> Iterator[bytes]:
        with self.file.open("rb") as content:
            content.seek(self.end)
            for line in content:
                self.end, self.since = self.end + len(line), self.since + 1
                if self.since > MOST_LINES:
                    raise csv.Error(f"a record has more than {MOST_LINES:,} lines")
                yield line.removeprefix(b"\xef\xbb\xbf") if self.end == len(line) else line
                if self.end == self.stop:
                    return


def _records(
    file: Path, kind: str, start: int = 0, stop: int | None = None, number: int = 1
) -> Iterator[tuple]:
    """Number, raw record and end of each that is not blank; a CSV field in quotes may hold line breaks."""
    row, lines = number - 1, _Lines(file, start, stop)
    records = lines
    if kind == "csv":
        texts = (line.decode("utf-8", "surrogateescape") for line in lines)
        records = csv.reader(texts, delimiter=_separator(file), strict=True, skipinitialspace=True)
    try:
        for row, record in enumerate(records, number):
            lines.since = 0
            if record.strip() if kind == "lines" else any(map(str.strip, record)):
                yield row, record, lines.end
    except csv.Error as error:
        what = f"{file.name}:{row + 1}: a quotation mark does not fit ({error})"
        advice = 'close it, and write a quotation mark inside a quoted field twice ("")'
        raise InputError(f"{what}, so the rows behind it cannot be told apart; {advice}") from error


@functools.lru_cache(maxsize=1000)
def _separator(file: Path) -> str:
    """Comma, semicolon or tab: what stands most often in the line of column names."""
    header = next((line for line in _Lines(file, 0, None) if line.strip()), b"").decode(errors="replace")
    return max(",;\t", key=header.count)


def _parsed(where: str, line: bytes) -> dict:
    try:
        row = DECODER.decode(line.decode())
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where}: is no JSON object ({error})") from error
    if isinstance(row, dict):
        return row
    raise InputError(f"{where}: is no JSON object, but {type(row).__name__}")


def _once(pairs: list[tuple[str, object]]) -> dict:
    """An object; a name that stands twice would hide a value."""
    row = dict(pairs)
    if len(row) == len(pairs):
        return row
    raise ValueError(f"a name stands twice in {', '.join(name for name, _ in pairs)}")


DECODER = json.JSONDecoder(object_pairs_hook=_once)  # made once: it costs as much as a short row


def _opened(file: Path):
    from pyarrow import ArrowException
    from pyarrow.parquet import ParquetFile

    try:
        return ParquetFile(file)
    except (ArrowException, OSError) as error:
        raise InputError(f"{file} is no readable Parquet file; write it again") from error


def _parquet_rows(file: Path, block: Block):
    """The rows of a block, as Arrow holds them."""
    group = _row_group(file, block.start)
    if group is not None:
        return group.slice(block.stop, block.size)
    with _opened(file) as parquet:
        parts = parquet.iter_batches(BLOCK, row_groups=[block.start], use_threads=False)
        return next(itertools.islice(parts, block.stop // BLOCK, None))


@functools.lru_cache(maxsize=1)
def _row_group(file: Path, group: int):
    """The row group that was read last stays, as its blocks follow each other; None if it is too large."""
    with _opened(file) as parquet:
        if parquet.metadata.row_group(group).total_byte_size > HELD_BYTES:
            return None
        return parquet.read_row_group(group, use_threads=False)
