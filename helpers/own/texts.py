"""Your own texts from a table, and texts to be labelled from a table or a .txt file (chapters 00, 07)."""

from pathlib import Path

import pandas as pd

from helpers.errors import Problem
from helpers.own.tables import NOT_UTF8, decoded, field_problem, judge, read_rows

Rows = tuple[pd.DataFrame, list[Problem]]  # labelled rows with the columns that `sources` names
Inputs = tuple[list[str], list[Problem]]  # texts to be labelled


def from_table(
    file: str | Path,
    *,
    text_column: str = "text",
    label_column: str | None = "label",
    group_column: str | None = None,
    on_bad: str = "stop",
) -> Rows:
    """Your own texts: a CSV file with a header, separated by comma, semicolon or tab, in UTF-8.

    Args:
        label_column: name of the column with the labels; None reads texts without labels.
        group_column: rows with the same value stay on one side of a split (one author, one article).
        on_bad: "stop" raises when any row is bad, "skip" leaves bad rows out and returns what was wrong.

    Returns:
        The good rows (`id` is the row number as a spreadsheet shows it: the header is row 1), the problems.

    Raises:
        DataError: some rows are bad and `on_bad` is "stop".
        InputError: the file is missing, empty, lacks a column, or holds no good row.
    """
    named = {"text": text_column, "label": label_column, "group": group_column}
    columns = {role: name for role, name in named.items() if name is not None}
    rows, problems = read_rows(Path(file), columns, on_bad)
    frame = pd.DataFrame(rows)
    if group_column is None:
        frame["group"] = frame["id"]
    return frame, problems


def texts_from(source: Path | list[str], text_column: str, *, on_bad: str = "stop") -> Inputs:
    """Texts to be labelled: a list, a .txt file in UTF-8 with one on each line, or a column of a CSV file."""
    where, texts = "input {}", source
    if isinstance(source, Path):
        if source.suffix.lower() != ".txt":
            frame, problems = from_table(source, text_column=text_column, label_column=None, on_bad=on_bad)
            return frame["text"].tolist(), problems
        content = decoded(source, "a .txt file with one text per line").replace("\r\n", "\n")
        where, texts = f"line {{}} of {source.name}", content.rstrip("\n").split("\n")
    good, problems = [], []
    for number, text in enumerate(texts, start=1):
        # U+FFFD stands where another program could not decode the text.
        what = NOT_UTF8 if "\ufffd" in text else field_problem("text", text)
        if what:
            problems.append(Problem(where.format(number), what))
        else:
            good.append(text)
    judge(good, problems, Path("the input"), on_bad)
    return good, problems
