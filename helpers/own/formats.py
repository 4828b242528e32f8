"""Tables that are no lines with separators: JSON Lines, Parquet, Excel, these two by pandas (chapter 02)."""

import json
import math
from pathlib import Path

from helpers.errors import InputError
from helpers.own.table import Table, decoded


def read_json(file: Path) -> Table:
    """One object on each line, or a list of objects."""
    text, faults, objects = decoded(file), {}, []
    if text.lstrip().startswith("["):
        try:
            found = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise InputError(f"{file.name} is no valid JSON ({error}); mend it") from error
        lines = list(enumerate(found, 1))
    else:
        lines = [(n, line) for n, line in enumerate(text.splitlines(keepends=False), 1) if line.strip()]
    for number, value in lines:
        try:
            value = json.loads(value) if isinstance(value, str) else value
        except (ValueError, RecursionError):
            value = None
        if isinstance(value, dict):
            objects.append((number, value))
        else:
            faults[number] = 'is no JSON object, expected {"text": "...", "label": "..."}'
    columns = list(dict.fromkeys(name for _, value in objects for name in value))
    return _as_text(file, columns, [(n, [v.get(c) for c in columns]) for n, v in objects], faults)


def read_parquet(file: Path) -> Table:
    """A Parquet file; classes that `datasets` wrote as numbers get their names back."""
    frame = _with_pandas("read_parquet", "pyarrow", file)
    for column, names in _class_names(file).items():  # numbers that `datasets` knows by name
        if column in frame:
            frame[column] = [names[int(n)] if 0 <= n < len(names) else n for n in frame[column].fillna(-1)]
    values = zip(*(frame[column].tolist() for column in frame.columns))
    return _as_text(file, list(map(str, frame.columns)), list(enumerate(values, 1)), {})


def _class_names(file: Path) -> dict[str, list[str]]:
    from pyarrow import parquet

    described = json.loads((parquet.read_schema(file).metadata or {}).get(b"huggingface", b"{}"))
    features = described.get("info", {}).get("features", {})
    return {
        name: kind["names"] for name, kind in features.items() if isinstance(kind, dict) and "names" in kind
    }


def read_excel(file: Path) -> Table:
    """The one sheet with rows of an Excel or OpenDocument file; dates and numbers as Python shows them."""
    options = {"sheet_name": None, "header": None, "dtype": object, "na_filter": False}
    sheets = _with_pandas("read_excel", "openpyxl", file, **options)
    filled = [name for name, sheet in sheets.items() if len(sheet)]
    if len(filled) != 1:
        found = f"{len(filled)} sheets with rows ({', '.join(map(str, filled[:5]))})"
        raise InputError(f"{file.name} has {found}, expected one; save the one you mean as a file of its own")
    values = [list(row) for row in sheets[filled[0]].itertuples(index=False)]
    start = next(row for row, record in enumerate(values) if any(map(_text, record)))
    columns = [(_text(name) or "").strip() for name in values[start]]
    rows = [
        (row, record) for row, record in enumerate(values[start + 1 :], start + 2) if any(map(_text, record))
    ]
    return _as_text(file, columns, rows, {})


def _with_pandas(reader: str, package: str, file: Path, **options):
    import pandas as pd

    try:
        return getattr(pd, reader)(file, **options)
    except ImportError as error:
        needs = f"{file.name} needs a package that is not installed ({str(error).splitlines()[0]})"
        raise InputError(f"{needs}; run `pip install {package}`, or save the table as CSV") from error
    except Exception as error:  # each engine has its own classes for a damaged file, and no common one
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{file.name} cannot be read ({reason}); save it again, or as CSV") from error


def _as_text(file: Path, columns: list[str], rows, faults: dict[int, str]) -> Table:
    """Values as the text a CSV file would hold; what is no text, number or truth value is a problem."""
    table = Table(file, columns, [], [], faults)
    for number, values in rows:
        fields = [_text(value) for value in values]
        if None in fields:
            column = columns[fields.index(None)]
            kind = type(values[fields.index(None)]).__name__
            faults[number] = f"column {column!r} holds {kind}, expected text"
            continue
        table.records.append(fields)
        table.numbers.append(number)
    return table


def _text(value) -> str | None:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, bytes | list | dict | tuple) or type(value).__name__ == "ndarray":
        return None
    return str(value)
