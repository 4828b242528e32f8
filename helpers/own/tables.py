"""Your own rows from a table, or one sentence for each that cannot be used (chapters 02, 05).

Every value is read as text, as it stands in the file: nothing becomes a number, a date or a missing value.
"""

import re
from collections.abc import Callable
from pathlib import Path

from helpers.data.cleaning import is_invisible
from helpers.errors import DataError, InputError, Problem
from helpers.own.delimited import read_delimited, refuse_swallowed_rows
from helpers.own.formats import read_excel, read_json, read_parquet
from helpers.own.labels import alike
from helpers.own.table import KINDS, Table

LARGE_GROUP = 0.2  # share of the rows
NOT_UTF8 = "is not valid UTF-8; save the file as UTF-8"
BYTES = re.compile("[\udc80-\udcff]")  # where they could not be decoded
SURROGATES = re.compile("[\ud800-\udfff]")
READERS = {
    **dict.fromkeys((".jsonl", ".ndjson", ".json"), read_json),
    **dict.fromkeys((".xlsx", ".xlsm", ".xls", ".ods"), read_excel),
    ".parquet": read_parquet,
}


def read_table(file: str | Path) -> Table:
    """All records of a CSV, TSV, JSON Lines, Parquet or Excel file, the kind told by the name's ending.

    Raises InputError: the file is missing, empty, of another kind or damaged, or its quotation marks are.
    """
    file = existing(file)
    table = READERS.get(file.suffix.lower(), read_delimited)(file)
    if not table.columns or not (table.records or table.faults):
        first = f" (first: {table.problems(table.faults)[0]})" if table.faults else ""
        raise InputError(f"{file.name} holds no usable row{first}; expected some below the column names")
    return table


def existing(file: str | Path) -> Path:
    """The path of a table. Raises InputError: it is missing, or a folder."""
    file = Path(file)
    if file.is_dir():
        raise InputError(f"{file} is a folder, expected a file; give a table ({KINDS})")
    if not file.is_file():
        raise InputError(f"the file {file} does not exist; give the path of a table ({KINDS})")
    return file


def read_rows(
    file: Path | Table, columns: dict[str, str], on_bad: str, check: Callable = lambda row: None
) -> tuple[list[dict], list[Problem]]:
    """The good records of a table or its file as {"id": row number, role: field}; `columns` is {role: name}.

    `check(row)` says what else is wrong with a row, or None. A row with a blank group is a group of its own.
    """
    table = file if isinstance(file, Table) else read_table(file)
    places = table.places(columns)
    refuse_swallowed_rows(table, places.get("label"))
    rows, faults = [], dict(table.faults)
    for number, record in zip(table.numbers, table.records):
        row = {"id": str(number)} | {role: record[place].strip() for role, place in places.items()}
        what = table.odd_field(number, places.values()) or row_problem(row) or check(row)
        if what:
            faults[number] = what
            continue
        if row.get("group") == "":
            row["group"] = f"row {number} alone"
        rows.append(row)
    problems = table.problems(faults)
    judge(rows, problems, table.file, on_bad)
    return rows, problems


def noticed_groups(frame, column: str) -> list[str]:
    """Sentences on the groups of `read_rows` rows: blank ones, one that is large, some that look alike."""
    alone = int((frame["group"] == "row " + frame["id"] + " alone").sum())
    found = [f"{alone:,} of {len(frame):,} rows have no {column!r}: each stands alone"] if alone else []
    sizes = frame["group"].value_counts()
    if sizes.iloc[0] > max(LARGE_GROUP * len(frame), 2):
        what = f"one {column!r}, {sizes.index[0]!r}, holds {sizes.iloc[0]:,} of {len(frame):,} rows"
        found.append(f"{what}: is it a missing value?")
    for names in alike(sizes.index)[:3]:
        found.append(f"{column!r} {' and '.join(map(repr, names))} look alike: are they one group?")
    return found


def row_problem(row: dict[str, str]) -> str | None:
    """What is wrong with one of a row's fields, or None."""
    for role, field in row.items():
        if BYTES.search(field):
            return NOT_UTF8
        if SURROGATES.search(field):
            return f"the {role} holds half of a character (a lone surrogate); write it whole"
        if role not in ("id", "group") and is_invisible(field):
            return f"the {role} is empty"
    return None


def judge(good: list, problems: list[Problem], source: Path, on_bad: str) -> None:
    """Raise unless the caller may go on with what is good."""
    if on_bad not in ("stop", "skip"):
        raise InputError(f"on_bad must be stop or skip, found {on_bad!r}")
    if problems and on_bad == "stop":
        raise DataError(problems, f"mend them in {source}, or pass --on-bad skip to go on without them")
    if not good:
        kind = "image" if source.is_dir() else "row"
        bad = f"; {len(problems)} were bad (first: {problems[0]})" if problems else ""
        raise InputError(f"{source} holds no usable {kind}{bad}")
