"""Tables that are no lines with separators: JSON Lines, Parquet and Excel (chapter 02)."""

import json
import struct
from collections.abc import Callable
from pathlib import Path

from helpers.errors import InputError
from helpers.own.table import Table, decoded, shortened

MISSING = ("NaTType", "NAType")  # pandas' marks of a value that is not there


Objects = tuple[str, list[tuple[int, dict]], dict[int, str]]  # "line" or "row", objects, faults by numbers


def read_json(file: Path) -> Table:
    """One object on each line, or a list of objects."""
    _, objects, faults = json_objects(file, '{"text": "...", "label": "..."}')
    columns = list(dict.fromkeys(name for _, value in objects for name in value))
    return _as_text(file, columns, [(n, [v.get(c) for c in columns]) for n, v in objects], faults)


def json_objects(file: Path, expected: str) -> Objects:
    """The objects of lines or of a list, with nested values; `expected` shows one to those who wrote none."""
    text, faults, objects, unit = decoded(file), {}, [], "line"
    if text.lstrip().startswith("["):
        try:
            found = json.loads(text, object_pairs_hook=_once)
        except (ValueError, RecursionError) as error:
            advice = "expected one list of objects, or an object on each line"
            raise InputError(f"{file.name} is no valid JSON ({_reason(error)}), {advice}") from error
        lines, unit = list(enumerate(found, 1)), "row"
    else:  # not by `splitlines`: other characters that end a line may stand in a text
        lines = [(n, line) for n, line in enumerate(text.split("\n"), 1) if line.strip()]
    for number, value in lines:
        try:
            value = json.loads(value, object_pairs_hook=_once) if isinstance(value, str) else value
        except (ValueError, RecursionError) as error:
            faults[number] = f"is no JSON object ({_reason(error)})"
            continue
        if isinstance(value, dict):
            objects.append((number, value))
        else:
            faults[number] = f"is no JSON object, expected {expected}"
    return unit, objects, faults


def _reason(error: Exception) -> str:
    """Why something is no JSON, and the characters at which it ends to be."""
    place = getattr(error, "pos", 0)
    rest = error.doc[place:] if place else ""
    at = f", at {shortened(rest)!r}" if rest.strip() else ""
    return f"{str(error) or type(error).__name__}{at}"


def _once(pairs: list[tuple]) -> dict:
    if len(dict(pairs)) < len(pairs):
        raise ValueError("it names a field twice")
    return dict(pairs)


def parquet_rows(file: Path) -> list[tuple[int, dict]]:
    """The rows of a Parquet file by their numbers, with nested values."""
    return list(enumerate(_read(lambda path: _parquet(path).to_pylist(), "pyarrow", file), 1))


def read_parquet(file: Path) -> Table:
    """A Parquet file; classes that `datasets` wrote as numbers get their names back."""
    table = _read(_parquet, "pyarrow", file)
    names, columns = class_names(table.schema.metadata), []
    for column in table.column_names:
        values = table[column].to_pylist()
        if str(table.schema.field(column).type) == "float":  # 32 bits: 0.1, not 0.10000000149011612
            values = [None if value is None else _shortest(value) for value in values]
        if column in names:  # a number below 0 is no class
            known = names[column]
            values = [known[n] if n is not None and 0 <= n < len(known) else None for n in values]
        columns.append(values)
    return _as_text(file, table.column_names, list(enumerate(zip(*columns), 1)), {})


def _parquet(file: Path):
    from pyarrow import parquet

    return parquet.read_table(file)


def class_names(metadata: dict | None) -> dict[str, list[str]]:
    """Names of the classes that `datasets` wrote as numbers, by column."""
    described = json.loads((metadata or {}).get(b"huggingface", b"{}"))
    features = described.get("info", {}).get("features", {})
    kinds = {name: kind for name, kind in features.items() if isinstance(kind, dict)}
    return {name: kind["names"] for name, kind in kinds.items() if "names" in kind}


def _shortest(value: float) -> float:
    """The shortest number that is the same in 32 bits."""
    packed = struct.pack("<f", value)
    digits = (float(f"{value:.{count}g}") for count in range(1, 10))
    return next((short for short in digits if struct.pack("<f", short) == packed), value)


def read_excel(file: Path) -> Table:
    """The one sheet with rows of an Excel or OpenDocument file; dates and numbers as Python shows them."""
    sheets = _read(_excel, "openpyxl", file)
    filled = {name: rows for name, rows in sheets.items() if any(_is_filled(row) for row in rows)}
    if len(filled) != 1:
        found = f"{len(filled)} sheets with rows ({', '.join(map(str, list(filled)[:5]))})"
        raise InputError(f"{file.name} has {found}, expected one; save the one you mean as a file of its own")
    rows = [(number, row) for number, row in enumerate(next(iter(filled.values())), 1) if _is_filled(row)]
    columns = [(field_text(name) or "").strip() for name in rows[0][1]]
    return _as_text(file, columns, rows[1:], {})


def _excel(file: Path) -> dict[str, list[list]]:
    import pandas as pd

    sheets = pd.read_excel(file, sheet_name=None, header=None, dtype=object, na_filter=False)
    return {name: sheet.to_numpy().tolist() for name, sheet in sheets.items()}


def _is_filled(row: list) -> bool:
    return any((field_text(value) or "").strip() for value in row)


def _read(reader: Callable, package: str, file: Path):
    try:
        return reader(file)
    except ImportError as error:
        needs = f"{file.name} needs a package that is not installed ({str(error).splitlines()[0]})"
        raise InputError(f"{needs}; run `pip install {package}`, or save the table as CSV") from error
    except Exception as error:  # each engine has its own classes for a damaged file, and no common one
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{file.name} cannot be read ({reason}); save it again, or as CSV") from error


def _as_text(file: Path, columns: list[str], rows, faults: dict[int, str]) -> Table:
    """Values as the text a CSV file would hold; what is no text, number or truth value is noted as such."""
    table = Table(file, columns, [], [], faults)
    for number, values in rows:
        fields = [field_text(value) for value in values]
        odd = {place: type(values[place]).__name__ for place, field in enumerate(fields) if field is None}
        if odd:
            table.odd[number] = odd
            fields = [shortened(str(v)) if field is None else field for field, v in zip(fields, values)]
        table.records.append(fields)
        table.numbers.append(number)
    return table


def field_text(value) -> str | None:
    """A value as the text a CSV file would hold, or None for what is no text, number or truth value."""
    if value is None or type(value).__name__ in MISSING or (isinstance(value, float) and value != value):
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, bytes | list | dict | tuple) or type(value).__name__ == "ndarray":
        return None
    return str(value)
