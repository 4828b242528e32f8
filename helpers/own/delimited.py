"""Tables of lines with separators, CSV and TSV; quotation marks that do not fit are named (chapter 02)."""

import csv
import io
import itertools
import re
from collections.abc import Iterator
from pathlib import Path

from helpers.errors import InputError
from helpers.own.table import KINDS, Table, decoded

SEPARATORS = ",;\t"
LOOKED_AT = 20  # records by which the separator is found
csv.field_size_limit(2**31 - 1)  # a long text is no fault; by default the module stops at 131,072 characters


def read_delimited(file: Path) -> Table:
    """A table of lines with separators. Between tabs a quotation mark may be just a character."""
    if file.suffix.lower() not in (".csv", ".tsv", ".tab", ".txt", ""):
        with file.open("rb") as content:
            if content.read(4) in (b"PK\x03\x04", b"PAR1", b"\xd0\xcf\x11\xe0"):
                raise InputError(f"{file.name} has the ending of another kind of file, expected {KINDS}")
    text = decoded(file)
    mark, skipped = separator(text), 0
    own = re.match('"?sep=([,;\t])"?(\r\n|\r|\n)', text, re.IGNORECASE)  # the line that Excel puts first
    if own:
        mark, skipped, text = own[1], 1, text[own.end() :]
    tabs = mark == "\t"
    table = _quoted_records(file, text, mark, skipped, stop=not tabs)
    if tabs and (table is None or table.faults or next(swallowed_rows(table, None), None)):
        plain = _plain_records(file, text, skipped)
        if table is None or len(plain.faults) < len(table.faults) or not table.faults:
            return plain
    return table


def separator(text: str) -> str:
    """Comma, semicolon or tab: the one that cuts the first lines of a table alike, and into most parts."""
    return max(SEPARATORS, key=lambda mark: _fit(text.lstrip("\r\n \ufeff"), mark))


def _fit(text: str, mark: str) -> tuple[bool, int]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=mark, skipinitialspace=True)
    widths = [len(record) for record in itertools.islice(reader, LOOKED_AT) if any(record)]
    return len(set(widths)) == 1 and len(widths) > 1 and widths[0] > 1, widths[0] if widths else 0


def refuse_swallowed_rows(table: Table, label_place: int | None) -> None:
    """Refuse a table with a field that seems to hold other rows, because a quotation mark was lost.

    Raises InputError: it names the row in which the quotation mark opens.
    """
    row = next(swallowed_rows(table, label_place), None)
    if row is not None:
        what = f"row {row} of {table.file.name} has a quoted field with line breaks that look like other rows"
        advice = "close the quotation mark where it belongs, or write it twice"
        raise InputError(f"{what}; {advice}")


def noticed_swallowing(table: Table) -> list[str]:
    """A sentence where a field may hold other rows and nothing can tell: there are no labels to look at."""
    rows = list(swallowed_rows(table, None))
    if not rows:
        return []
    what = f"row {rows[0]} of {table.file.name} has a field with line breaks that look like other rows"
    return [f"{what} ({len(rows)} such rows): is a quotation mark missing?"]


def swallowed_rows(table: Table, label_place: int | None) -> Iterator[int]:
    """Numbers of the records that hold a field whose lines could be records: as many parts, a known label."""
    width = len(table.columns)
    if not table.separator or width < 2:
        return
    labels = set()
    if label_place is not None:
        labels = {record[label_place] for record in table.records if "\n" not in record[label_place]}
    for number, record in zip(table.numbers, table.records):
        for place, field in enumerate(record):
            pieces = field.splitlines() if "\n" in field or "\r" in field else []
            if len(pieces) < 2:
                continue
            rows = [piece.split(table.separator) for piece in pieces[1:-1]]
            # The first piece tells something only where columns follow, the last where some come before.
            if place < width - 1:
                rows.append([*record[:place], *pieces[0].split(table.separator)])
            if place > 0:
                rows.append([*pieces[-1].split(table.separator), *record[place + 1 :]])
            # A blank behind a comma is prose; programs write none.
            like = [len(parts) == width and not any(p.startswith(" ") for p in parts[1:]) for parts in rows]
            known = [not labels or parts[label_place] in labels for parts, fits in zip(rows, like) if fits]
            if all(like) and all(known):
                yield number


def _quoted_records(file: Path, text: str, mark: str, skipped: int, *, stop: bool) -> Table | None:
    """Records whose fields may be quoted; a fault in the quotation marks is an error, or None without `stop`.

    Every later row would depend on where a lost quotation mark is thought to be: nothing can be skipped.
    """
    # A blank behind the separator is layout: "text, label".
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=mark, strict=True, skipinitialspace=True)
    records, row, line = [], skipped + 1, 1
    try:
        for record in reader:
            records.append((row, record))
            row, line = row + 1, reader.line_num + 1
    except csv.Error as error:
        if not stop:
            return None
        fault = f"row {row} of {file.name} (line {line + skipped}) has a quotation mark that does not fit"
        advice = 'close it, and write a quotation mark inside a quoted field twice ("")'
        raise InputError(
            f"{fault} ({error}), so the rows behind it cannot be told apart; {advice}"
        ) from error
    return _table(file, records, mark)


def _plain_records(file: Path, text: str, skipped: int) -> Table:
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return _table(file, [(row, line.split("\t")) for row, line in enumerate(lines, skipped + 1)], "\t")


def _table(file: Path, records: list[tuple[int, list[str]]], mark: str) -> Table:
    """Header and records; blank lines are no records, and one of another length is a problem."""
    filled = [(row, record) for row, record in records if any(field.strip() for field in record)]
    columns = [name.strip() for name in filled[0][1]]
    table = Table(file, columns, [], [], {}, mark)
    for row, record in filled[1:]:
        if len(record) == len(columns):
            table.records.append(record)
            table.numbers.append(row)
            continue
        found = f"expected {len(columns)} fields, found {len(record)}"
        table.faults[row] = f"{found}; quote fields that hold the separator"
    return table
