"""Your own texts from a table, and texts to be labelled from a table or a .txt file (chapters 00, 07)."""

from pathlib import Path

import pandas as pd

from helpers.data.cleaning import clean_text
from helpers.errors import InputError, Problem
from helpers.own.delimited import noticed_swallowing
from helpers.own.table import Inputs, Table, decoded
from helpers.own.tables import judge, noticed_groups, read_rows, read_table, row_problem

Rows = tuple[pd.DataFrame, list[Problem]]  # labelled rows with the columns that `sources` names


def from_table(
    file: str | Path,
    *,
    text_column: str = "text",
    label_column: str | None = "label",
    group_column: str | None = None,
    on_bad: str = "stop",
) -> Rows:
    """Your own texts: a table with column names; CSV or TSV in UTF-8, JSON Lines, Parquet or Excel.

    Example: `frame, problems = from_table("reviews.csv", text_column="comment", label_column="stars")`

    Args:
        label_column: name of the column with the labels; None reads texts without labels.
        group_column: rows with the same value stay on one side of a split (one author, one article); a blank
            stands alone.
        on_bad: "stop" raises when any row is bad, "skip" leaves bad rows out and returns what was wrong.

    Returns:
        The good rows (`id` is the row number as a spreadsheet shows it: the header is row 1), the problems.

    Raises:
        DataError: some rows are bad and `on_bad` is "stop".
        InputError: the file is missing, empty, damaged, lacks a column, or holds no good row.
    """
    named = {"text": text_column, "label": label_column, "group": group_column}
    columns = {role: name for role, name in named.items() if name is not None}
    rows, problems = read_rows(Path(file), columns, on_bad)
    frame = pd.DataFrame(rows)
    if group_column is None:
        frame["group"] = frame["id"]
    else:
        frame.attrs["noticed"] = noticed_groups(frame, group_column)
    return frame, problems


def texts_from(
    source: Path | list[str], text_column: str = "text", *, on_bad: str = "stop"
) -> tuple[Inputs, list[Problem]]:
    """Texts to be labelled: a list, a .txt file in UTF-8 with one on each line, or a column of a table."""
    if isinstance(source, Path) and source.suffix.lower() != ".txt":
        table = read_table(source)
        where, place = f"row {{}} of {source.name}", table.place("text", text_column)
    else:
        where, lines = "input {}", source
        if isinstance(source, Path):
            where, lines = f"line {{}} of {source.name}", text_lines(source)
        records = [[line] for line in lines]
        table, place = Table(Path("the input"), ["input"], records, list(range(1, len(records) + 1)), {}), 0
    good, faults = Inputs([], [], table.columns, [], noticed_swallowing(table)), dict(table.faults)
    for number, record in zip(table.numbers, table.records):
        # As in training: what is nothing after cleaning is no text.
        texts = [{"text": record[place]}, {"text": clean_text(record[place])}]
        what = table.odd_field(number, [place]) or row_problem(texts[0]) or row_problem(texts[1])
        if what:
            faults[number] = what
            continue
        good.values.append(record[place].strip())
        good.numbers.append(number)
        good.records.append(record)
    problems = [Problem(where.format(number), faults[number]) for number in sorted(faults)]
    judge(good.values, problems, source if isinstance(source, Path) else table.file, on_bad)
    return good, problems


def text_lines(file: Path) -> list[str]:
    """The lines of a .txt file, whatever ends them. Raises InputError: it is missing, empty or no text."""
    if not file.is_file():
        raise InputError(f"the file {file} does not exist; give a .txt file with one text per line")
    return decoded(file).replace("\r\n", "\n").replace("\r", "\n").rstrip("\n").split("\n")
