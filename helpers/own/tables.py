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
from helpers.own.table import KINDS, Table

NOT_UTF8 = "is not valid UTF-8; save the file as UTF-8"
SURROGATES = re.compile("[\ud800-\udfff]")  # where bytes could not be decoded
READERS = {
    **dict.fromkeys((".jsonl", ".ndjson", ".json"), read_json),
    **dict.fromkeys((".xlsx", ".xlsm", ".xls", ".ods"), read_excel),
    ".parquet": read_parquet,
}


def read_table(file: str | Path) -> Table:
    """All records of a CSV, TSV, JSON Lines, Parquet or Excel file, the kind told by the name's ending.

    Raises InputError: the file is missing, empty, of another kind or damaged, or its quotation marks are.
    """
    file = Path(file)
    if file.is_dir():
        raise InputError(f"{file} is a folder, expected a file; give a table ({KINDS})")
    if not file.is_file():
        raise InputError(f"the file {file} does not exist; give the path of a table ({KINDS})")
    table = READERS.get(file.suffix.lower(), read_delimited)(file)
    if not table.columns or not (table.records or table.faults):
        raise InputError(f"{file.name} holds no usable row, expected some below its column names")
    return table


def read_rows(
    file: Path, columns: dict[str, str], on_bad: str, check: Callable = lambda row: None
) -> tuple[list[dict], list[Problem]]:
    """The good records of a table as {"id": row number, role: field, ...}; `columns` is {role: name}.

    `check(row)` says what else is wrong with a row, or None. A row with a blank group is a group of its own.
    """
    table = read_table(file)
    places = table.places(columns)
    refuse_swallowed_rows(table, places.get("label"))
    rows, faults = [], dict(table.faults)
    for number, record in zip(table.numbers, table.records):
        row = {"id": str(number)} | {role: record[place].strip() for role, place in places.items()}
        what = row_problem(row) or check(row)
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
    """A sentence on the rows of `read_rows` without a group, if there are any."""
    alone = int((frame["group"] == "row " + frame["id"] + " alone").sum())
    return [f"{alone:,} of {len(frame):,} rows have no {column!r}: each stands alone"] if alone else []


def row_problem(row: dict[str, str]) -> str | None:
    """What is wrong with one of a row's fields, or None."""
    for role, field in row.items():
        if SURROGATES.search(field):
            return NOT_UTF8
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
