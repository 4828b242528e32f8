"""Your own tables: the rows of a file, or one sentence for each that cannot be used (chapters 02, 05)."""

import csv
import io
from collections.abc import Callable
from pathlib import Path

from helpers.errors import DataError, InputError, Problem

NOT_UTF8 = "is not valid UTF-8; save the file as UTF-8"


def read_rows(
    file: Path, columns: dict[str, str], on_bad: str, check: Callable = lambda row: None
) -> tuple[list[dict], list[Problem]]:
    """The good records of a table as {"id": row number, role: field, ...}; `columns` is {role: name}.

    `check(row)` says what else is wrong with a row, or None.
    """
    text = decoded(file, "the path of a CSV file")
    if text.startswith(("\udcff\udcfe", "\udcfe\udcff")):  # a mark that no UTF-8 begins with
        raise InputError(f"{file.name} is UTF-16, expected UTF-8; save it as 'CSV UTF-8' and try again")
    if not text.strip():
        raise InputError(f"{file.name} is empty, expected a header line and rows below it")
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator(text))
    header = [name.strip() for name in next(reader)]
    for name in columns.values():
        if name not in header:
            found = f"found {', '.join(map(repr, header))}; name yours with --text-column and --label-column"
            raise InputError(f"{file.name} has no column {name!r}, {found}")
    places = {role: header.index(name) for role, name in columns.items()}
    rows, problems = [], []
    for number, record in enumerate(reader, start=2):
        fields = [field.strip() for field in record]
        if not any(fields):
            continue  # a blank line is no row
        if len(record) != len(header):
            what = f"expected {len(header)} fields, found {len(record)}; quote fields that hold the separator"
        else:
            row = {"id": str(number)} | {role: fields[place] for role, place in places.items()}
            what = next(filter(None, map(field_problem, row, row.values())), None) or check(row)
        if what:
            problems.append(Problem(f"row {number} of {file.name}", what))
        else:
            rows.append(row)
    judge(rows, problems, file, on_bad)
    return rows, problems


def separator(text: str) -> str:
    """The separator of a table: the one of comma, semicolon and tab that its first line has most of."""
    first_line = text.lstrip().splitlines()[0]
    return max(",;\t", key=first_line.count)


def decoded(file: Path, wanted: str) -> str:
    """The text of a file in UTF-8."""
    if not file.is_file():
        raise InputError(f"the file {file} does not exist; give {wanted}")
    # surrogateescape keeps undecodable bytes visible, so that only the rows that hold them are refused.
    return file.read_bytes().decode("utf-8-sig", errors="surrogateescape")


def field_problem(role: str, field: str) -> str | None:
    """What is wrong with a field, or None."""
    if any("\udc80" <= character <= "\udcff" for character in field):
        return NOT_UTF8
    if role != "group" and not field.strip():
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
        raise InputError(f"{source} holds no usable {kind}; {len(problems)} were bad")
