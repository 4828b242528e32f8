"""What a learner has done of the exercises: a JSON file on this machine, sent nowhere (`lessons.keeping`)."""

import json
import os
import re
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from helpers.errors import InputError
from helpers.files import ROOT

FORMAT = "exercises of the fine-tuning course, 1"
MOST_BYTES = 1_000_000
IN_NOTEBOOKS = re.compile(
    r"^(?:#+ |\*\*)Exercise ([^\n*]+)|^from lessons\.(\w+) import exercises|^ch\w+\.(\w+)\.check\(", re.M
)
Key = tuple[str, str]  # chapter ("03", "A") and the exercise's name in its module


@dataclass
class Work:
    """What was done of one exercise; dates are ISO 8601 with their zone. Raises ValueError, TypeError."""

    chapter: str
    exercise: str
    tries: int = 0  # checked attempts up to the first right one; what the notebook gives at first is none
    hints: list[int] = field(default_factory=list)  # the numbers of those that were read
    solution: str | None = None  # when it was first shown
    solved: str | None = None  # when an attempt was first right

    def __post_init__(self):
        are_names = all(re.fullmatch(r"(?a:\w){1,100}", name) for name in (self.chapter, self.exercise))
        are_numbers = all(type(number) is int and number >= 0 for number in (self.tries, *self.hints))
        dates = [datetime.fromisoformat(date) for date in (self.solution, self.solved) if date is not None]
        have_zones = all(date.tzinfo for date in dates)
        if not (are_names and are_numbers and have_zones) or (self.solved and not self.tries):
            raise ValueError(f"{self.chapter!r}, {self.exercise!r} has a value that cannot be")


def place() -> Path | None:
    """The file of the record, there or not; None where nothing is kept.

    `COURSE_PROGRESS` names another file than `progress.json` in the course's folder, or is "off". Where
    pytest (nbval) executes the course, it must name one.
    """
    chosen = os.environ.get("COURSE_PROGRESS", "").strip()
    if chosen.lower() in ("off", "no", "0", "false") or (not chosen and "PYTEST_VERSION" in os.environ):
        return None
    return (ROOT / Path(chosen or "progress.json").expanduser()).resolve()


def read(file: Path) -> dict[Key, Work]:
    """The record in a file, {} where there is none; InputError: it is no record, OSError: unreadable."""
    if not file.exists():
        return {}
    with file.open("rb") as opened:
        content = opened.read(MOST_BYTES + 1)
    try:
        if len(content) > MOST_BYTES:
            raise ValueError(f"it is larger than {MOST_BYTES:,} bytes")
        data = json.loads(content.decode("utf-8-sig"))
        if data["format"] != FORMAT:
            raise ValueError(f"its format is {data['format']!r}, not {FORMAT!r}")
        works = [Work(**row) for row in data["exercises"]]
        record = {(work.chapter, work.exercise): work for work in works}
        if len(record) < len(works):
            raise ValueError("an exercise comes twice")
        return record
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise InputError(f"{file} is no record of exercises ({error})") from error


def is_another(file: Path) -> bool:
    """Whether what is no record never was one: whole JSON, of another name, that does not say our format."""
    try:
        content = file.read_text(encoding="utf-8-sig")
        json.loads(content)
    except (OSError, ValueError, RecursionError):
        return False
    return file.name != "progress.json" and FORMAT.partition(",")[0] not in content


def chapter_of(folder: str) -> str:
    """How a notebook's name begins, by the folder of its lessons: "ch03" is "03", "appendix_a" is "A"."""
    return folder.removeprefix("ch").removeprefix("appendix_").upper()


def titles() -> dict[Key, str]:
    """The title of each exercise that the notebooks check, in their order; InputError: one is unreadable."""
    found = {}
    for file in sorted((ROOT / "notebooks").glob("*.ipynb")):
        try:
            cells = ["".join(cell["source"]) for cell in json.loads(file.read_bytes())["cells"]]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"{file} cannot be read as a notebook; `git checkout` brings it back") from error
        title, folder = "", ""
        for heading, imported, exercise in IN_NOTEBOOKS.findall("\n".join(cells)):
            title, folder = heading.strip().rstrip(".") or title, imported or folder
            if exercise:
                found.setdefault((chapter_of(folder), exercise), title)
    return found
