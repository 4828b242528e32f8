"""A table as its file holds it, whatever its kind: columns, records, row numbers; all values are text."""

from dataclasses import dataclass, field
from pathlib import Path

from helpers.errors import InputError, Problem

KINDS = "CSV, TSV, JSON Lines, Parquet or Excel"
# Other programs' names of these columns: the package `datasets` exports files as "file_name".
ALIASES = {"text": ("sentence",), "label": ("labels",), "file": ("file_name",)}


@dataclass
class Inputs:
    """What is to be labelled, in order.

    Attributes:
        values: texts, paths of pictures, or prompts, each a list of messages.
        numbers: of the rows or lines, or from 1.
        columns, records: what stood beside them, to be written beside the answers.
        noticed: what else a person should know, in sentences.
    """

    values: list
    numbers: list[int]
    columns: list[str]
    records: list[list[str]]
    noticed: list[str] = field(default_factory=list)


@dataclass
class Table:
    """A file's columns and its records with their row numbers, as a spreadsheet shows them; all is text."""

    file: Path
    columns: list[str]
    records: list[list[str]]
    numbers: list[int]  # of the records; the header is row 1, and blank lines count
    faults: dict[int, str]  # what is wrong with the rows that are no records, by their numbers
    separator: str = ""
    odd: dict[int, dict[int, str]] = field(default_factory=dict)  # {row: {place: kind}} of what is no text

    def odd_field(self, number: int, places) -> str | None:
        """What is wrong with a row of which a field that is needed holds no text."""
        for place in places:
            if place in self.odd.get(number, {}):
                return f"column {self.columns[place]!r} holds {self.odd[number][place]}, expected text"
        return None

    def problems(self, faults: dict[int, str]) -> list[Problem]:
        """What is wrong with rows, in their order."""
        return [Problem(f"row {number} of {self.file.name}", faults[number]) for number in sorted(faults)]

    def places(self, columns: dict[str, str]) -> dict[str, int]:
        """The number of each column; `columns` is {role: name}. Raises InputError: see `place`."""
        return {role: self.place(role, name) for role, name in columns.items()}

    def place(self, role: str, name: str) -> int:
        """The number of the column called `name`, or as others call what plays this role.

        Raises InputError: there is none, or two.
        """
        aliases = ALIASES.get(role, ()) if name == role else ()
        found = next((known for known in (name, *aliases) if known in self.columns), None)
        if found is None:
            names = ", ".join(repr(shortened(column)) for column in self.columns[:12])
            if len(self.columns) == 1 and self.separator:
                names = "only one; are the fields separated by comma, semicolon or tab?"
            advice = f"name yours with --{role}-column"
            raise InputError(f"{self.file.name} has no column {name!r}, found {names}; {advice}")
        if self.columns.count(found) > 1:
            what = f"the column {found!r} stands {self.columns.count(found)} times in {self.file.name}"
            raise InputError(f"{what}; rename all but one")
        return self.columns.index(found)


def shortened(name: str, most: int = 40) -> str:
    """A name for a sentence."""
    return name if len(name) <= most else f"{name[: most - 1]}…"


def decoded(file: Path) -> str:
    """The text of a file in UTF-8; undecodable bytes stay visible, so that only their rows are refused.

    Raises InputError: it is in UTF-16, holds no text, or nothing at all.
    """
    content = file.read_bytes()
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise InputError(f"{file.name} is UTF-16, expected UTF-8; save it so (in Excel as 'CSV UTF-8')")
    if b"\0" in content:
        raise InputError(f"{file.name} is no text file, expected {KINDS}; give it the ending of its kind")
    text = content.decode("utf-8-sig", errors="surrogateescape")
    if not text.strip():
        raise InputError(f"{file.name} is empty, expected rows (a table's below a header line)")
    return text
