"""A folder of shards: JSON Lines, CSV or Parquet files whose rows no memory need hold (chapter 12).

One pass notes where every block of about 1,000 rows begins; from then on any block is read alone.
"""

import csv
import functools
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from helpers.errors import DataError, InputError, Problem

KINDS = {".jsonl": "lines", ".ndjson": "lines", ".csv": "csv", ".parquet": "parquet"}
COMPRESSED = (".gz", ".bz2", ".xz", ".zst", ".zip", ".lz4", ".7z", ".tar", ".tgz")
BLOCK = 1000  # rows
HELD_BYTES = (
    128_000_000  # a larger row group of a Parquet file is not held, but read anew for each of its blocks
)
BOM = b"\xef\xbb\xbf"
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
    """The index of a folder of shards; what it holds does not grow with the rows, but with the blocks.

    Example: `shards = Shards("reviews"); rows = shards.read(shards.blocks[0])`

    Attributes: `files` in order of their names, `rows_per_file`, `blocks`, `columns` (None of JSON Lines),
    `ignored` (how many hidden files), `problems` and `num_bad` (see `checked`). `len(shards)` counts rows.

    Raises InputError: no folder, no rows, files of several kinds or compressed ones, other columns in one.
    """

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)
        self.files, self.ignored = _listed(self.folder)
        self.kind = KINDS[self.files[0].suffix.lower()]
        self.sizes = [file.stat().st_size for file in self.files]
        self.columns: list[str] | None = None
        self.blocks: list[Block] = []
        self.problems: list[Problem] = []
        self.num_bad = 0
        for number, file in enumerate(self.files):
            self._check_columns(file)
            for start, stop, row, size in _blocks_of(file, self.kind):
                first = self.blocks[-1].first + self.blocks[-1].size if self.blocks else 0
                self.blocks.append(Block(number, row, first, size, start, stop))
        if not self.blocks:
            raise InputError(f"{self.folder} holds {len(self.files)} files without a row; expected some rows")

    def __len__(self) -> int:
        """Rows that are read."""
        return sum(block.rows for block in self.blocks)

    @property
    def rows_per_file(self) -> list[int]:
        """Rows of each file that are read."""
        counts = [0] * len(self.files)
        for block in self.blocks:
            counts[block.file] += block.rows
        return counts

    @property
    def units(self) -> list[int]:
        """For each block a number that it shares with those that are decoded together (of one row group)."""
        numbers: dict = {}
        keys = [(b.file, b.start) for b in self.blocks]
        return [numbers.setdefault(key, len(numbers)) for key in keys]

    def read(self, block: Block, places=None) -> list[dict]:
        """The rows of a block as dictionaries; `id` is "file:row", whatever a field of that name may hold.

        Args:
            places: only these rows of the block, from 0, in their order; None reads all that are not left out.

        Raises InputError: a row that is none, or a file that has changed since it was counted.
        """
        records = self._records(block)
        if places is None:
            places = [place for place in range(block.size) if place not in block.left_out]
        return [self._row(block, *records[place]) for place in places]

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
            left_out = set(block.left_out)
            for place, record in enumerate(self._records(block)):
                if place in block.left_out:
                    continue
                try:
                    keep = visit(self._row(block, *record))
                except InputError as error:
                    keep, made.num_bad = False, made.num_bad + 1
                    if len(made.problems) < MOST_PROBLEMS:
                        where = f"{self.files[block.file].name}:{record[0]}"
                        made.problems.append(Problem(where, str(error).removeprefix(f"{where}: ")))
                if not keep:
                    left_out.add(place)
            made.blocks.append(replace(block, left_out=frozenset(left_out)))
        if made.num_bad and on_bad == "stop":
            more = f" ({made.num_bad:,} in all)" if made.num_bad > len(made.problems) else ""
            advice = f"mend them in {self.folder}, or pass --on-bad skip to go on without them"
            raise DataError(made.problems, advice + more)
        return made

    def _records(self, block: Block) -> list[tuple]:
        """(number, raw row) of each row of a block."""
        file = self.files[block.file]
        if not file.is_file() or file.stat().st_size != self.sizes[block.file]:
            found = f"{file.stat().st_size:,}" if file.is_file() else "no file"
            what = f"{file} has changed since its rows were counted"
            known = f"expected {self.sizes[block.file]:,} bytes, found {found}"
            raise InputError(f"{what} ({known}); put it back, or start anew")
        if self.kind == "parquet":
            rows = _parquet_rows(file, block).to_pylist()
            return list(enumerate(rows, block.number))
        reader = _json_lines if self.kind == "lines" else _csv_records
        return [(number, raw) for number, raw, _ in reader(file, block.start, block.stop, block.number)]

    def _row(self, block: Block, number: int, raw) -> dict:
        where = f"{self.files[block.file].name}:{number}"
        if self.kind == "lines":
            raw = _parsed(where, raw)
        elif self.kind == "csv":
            if len(raw) != len(self.columns):
                found = f"expected {len(self.columns)} fields, found {len(raw)}"
                raise InputError(f"{where}: {found}; quote fields that hold the separator")
            raw = dict(zip(self.columns, raw))
        return {**raw, "id": where}

    def _check_columns(self, file: Path) -> None:
        """Every file has the columns of the first one, in their order."""
        columns = _columns_of(file, self.kind)
        if self.columns is None:
            self.columns = columns
        if columns is not None and columns != self.columns:
            differ = sorted(set(columns) ^ set(self.columns)) or columns
            what = f"{file.name} has other columns than {self.files[0].name} ({', '.join(differ)})"
            raise InputError(f"{what}; give all files of {self.folder} the same columns in the same order")


def _listed(folder: Path) -> tuple[list[Path], int]:
    """The files of one kind in a folder by their names, and how many hidden ones are ignored."""
    expected = "expected a folder of .jsonl, .csv or .parquet files"
    if not folder.is_dir():
        raise InputError(f"{folder} is no folder; {expected}")
    found = sorted(folder.iterdir())
    files = [path for path in found if not path.name.startswith((".", "_"))]  # _SUCCESS, .part-0.crc
    for path in files:
        if path.suffix.lower() in COMPRESSED:
            raise InputError(f"{path} is compressed, so no part of it can be read alone; unpack it")
        if not path.is_file() or path.suffix.lower() not in KINDS:
            raise InputError(f"{path} is no shard; {expected} and nothing else: take it out")
    if not files:
        raise InputError(f"{folder} holds no shard; {expected}")
    other = next((f for f in files if KINDS[f.suffix.lower()] != KINDS[files[0].suffix.lower()]), None)
    if other is not None:
        what = f"{folder} mixes kinds of files ({files[0].name}, {other.name})"
        raise InputError(f"{what}; give one folder for each kind")
    return files, len(found) - len(files)


def _blocks_of(file: Path, kind: str) -> Iterator[tuple[int, int, int, int]]:
    """start, stop, number of the first row and size of each block of a file, see `Block`."""
    if kind == "parquet":
        number = 1
        with _opened(file) as parquet:
            for group in range(parquet.metadata.num_row_groups):
                size = parquet.metadata.row_group(group).num_rows
                for begin in range(0, size, BLOCK):
                    yield group, begin, number + begin, min(BLOCK, size - begin)
                number += size
        return
    reader, start, number, first, size = _json_lines, 0, 1, 0, 0
    if kind == "csv":
        reader = _csv_records
        header = next(reader(file), (0, [], 0))
        start, number = header[2], header[0] + 1
    stop = start
    for row, _, end in reader(file, start, None, number):
        first, size, stop = first if size else row, size + 1, end
        if size == BLOCK:
            yield start, stop, first, size
            start, size = stop, 0
    if size:
        yield start, stop, first, size


def _columns_of(file: Path, kind: str) -> list[str] | None:
    if kind == "lines":
        return None
    if kind == "parquet":
        with _opened(file) as parquet:
            names = parquet.schema_arrow.names
    else:
        names = next((raw for _, raw, _ in _csv_records(file)), None)
        if names is None:
            return None  # an empty file has no header
        names = [name.strip() for name in names]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise InputError(f"the column {twice!r} stands twice in {file.name}; rename one of them")
    return names


def _lines(file: Path, start: int, stop: int | None) -> Iterator[tuple[bytes, int]]:
    """The lines of a file from a byte on, each with the byte behind it."""
    with file.open("rb") as content:
        content.seek(start)
        for line in content:
            start += len(line)
            yield line if start > len(line) else line.removeprefix(BOM), start
            if stop is not None and start >= stop:
                return


def _json_lines(
    file: Path, start: int = 0, stop: int | None = None, number: int = 1
) -> Iterator[tuple[int, bytes, int]]:
    """Number, text and end of every line that is not blank."""
    for row, (line, end) in enumerate(_lines(file, start, stop), number):
        if row == 1 and line.lstrip().startswith(b"["):
            raise InputError(f"{file.name} holds a list, expected one object on each line; write it so")
        if line.strip():
            yield row, line, end


def _csv_records(
    file: Path, start: int = 0, stop: int | None = None, number: int = 1
) -> Iterator[tuple[int, list[str], int]]:
    """Number, fields and end of every record that is not blank; a field in quotes may hold line breaks."""
    end = since = start

    def lines() -> Iterator[str]:
        nonlocal end, since
        for line, end in _lines(file, start, stop):
            since += 1
            if since > MOST_LINES:
                raise csv.Error(f"the record has more than {MOST_LINES:,} lines")
            yield line.decode("utf-8", errors="surrogateescape")

    since, row = 0, number
    reader = csv.reader(lines(), delimiter=_separator(file), strict=True, skipinitialspace=True)
    try:
        for row, record in enumerate(reader, number):  # noqa: B007  (the number stands in the sentence)
            since = 0
            if any(map(str.strip, record)):
                yield row, record, end
    except csv.Error as error:
        advice = 'close it, and write a quotation mark inside a quoted field twice ("")'
        what = f"{file.name}: behind row {row} stands a quotation mark that does not fit ({error})"
        raise InputError(f"{what}; {advice}") from error


@functools.lru_cache(maxsize=1000)
def _separator(file: Path) -> str:
    """Comma, semicolon or tab: what stands most often in the line of column names."""
    header = next((line for line, _ in _lines(file, 0, None) if line.strip()), b"").decode(errors="replace")
    return max(",;\t", key=header.count)


def _parsed(where: str, line: bytes) -> dict:
    try:
        row = json.loads(line, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where}: is no JSON object ({error})") from error
    if not isinstance(row, dict):
        raise InputError(f"{where}: is no JSON object, but {type(row).__name__}")
    return row


def _once(pairs: list[tuple[str, object]]) -> dict:
    """An object; a name that stands twice would hide a value."""
    row = dict(pairs)
    if len(row) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the name {next(n for n in names if names.count(n) > 1)!r} stands twice")
    return row


def _opened(file: Path):
    from pyarrow import ArrowException
    from pyarrow.parquet import ParquetFile

    try:
        return ParquetFile(file)
    except (ArrowException, OSError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{file} is no readable Parquet file ({reason}); write it again") from error


def _parquet_rows(file: Path, block: Block):
    """The rows of a block as an Arrow table, without the rest of its row group where that is large."""
    from pyarrow import Table

    with _opened(file) as parquet:
        is_large = parquet.metadata.row_group(block.start).total_byte_size > HELD_BYTES
        if not is_large:
            return _row_group(file, block.start).slice(block.stop, block.size)
        row, parts = 0, []
        for batch in parquet.iter_batches(BLOCK, row_groups=[block.start], use_threads=False):
            part = batch.slice(
                max(0, block.stop - row), max(0, block.stop + block.size - max(row, block.stop))
            )
            parts, row = [*parts, part], row + len(batch)
            if row >= block.stop + block.size:
                break
        return Table.from_batches([part for part in parts if len(part)])


@functools.lru_cache(maxsize=1)
def _row_group(file: Path, group: int):
    """The row group that was read last stays: its blocks follow each other."""
    with _opened(file) as parquet:
        return parquet.read_row_group(group, use_threads=False)
