"""How long a learner works on a chapter, by one rule for all.

Reading: 130 words a minute. Each code cell that is seen: half a minute, to read it, run it and look at what
it gives. Each exercise: 8 minutes. Sections whose heading ends in "optional" belong to everything, and so
does the glossary, where words are looked up; all else is the core path.

usage: python -m lessons.working_time [--sections]     (from the folder `notebooks`)
"""

import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path

WORDS_PER_MINUTE, MINUTES_PER_CELL, MINUTES_PER_EXERCISE = 130, 0.5, 8
FOLDER = Path(__file__).resolve().parents[1]
HIDDEN = {"hide-input", "remove-input"}


@dataclass
class Work:
    """Words, visible code cells and exercises of one path through a chapter."""

    words: int = 0
    cells: int = 0
    exercises: int = 0

    @property
    def minutes(self) -> float:
        reading = self.words / WORDS_PER_MINUTE
        return reading + self.cells * MINUTES_PER_CELL + self.exercises * MINUTES_PER_EXERCISE


def is_hidden(cell: dict) -> bool:
    """Whether the source of a code cell is folded away."""
    metadata = cell["metadata"]
    return bool(metadata.get("jupyter", {}).get("source_hidden") or HIDDEN & set(metadata.get("tags", [])))


def outside_code(markdown: str) -> list[str]:
    """The lines of a Markdown cell that are no example of code."""
    parts = re.split(r"^```.*$", markdown, flags=re.MULTILINE)
    return [line for part in parts[::2] for line in part.splitlines()]


def sections(path: Path) -> dict[str, Work]:
    """What each section of a notebook asks for, by its heading ("2.1 A dataset ... · core"), in their order.

    The first one is the first cell, under the chapter's title; what stands under "###" belongs to the section
    above it.
    """
    found, heading = {}, ""
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "code":
            found.setdefault(heading, Work()).cells += bool(source.strip()) and not is_hidden(cell)
            continue
        for line in outside_code(source):
            if re.match(r"##? ", line):
                heading = line.lstrip("#").strip()
            now = found.setdefault(heading, Work())
            now.exercises += bool(re.match(r"#{2,4} Exercise \S*\d", line))
            now.words += len(line.split())
    return found


def is_core(heading: str) -> bool:
    """Whether a section is on the core path, by its heading."""
    return not heading.endswith(("optional", "Glossary"))


def work(path: Path) -> tuple[Work, Work]:
    """What the core path of a notebook asks for, and what its optional sections add."""
    core, optional = Work(), Work()
    for heading, section in sections(path).items():
        path_of = core if is_core(heading) else optional
        path_of.words += section.words
        path_of.cells += section.cells
        path_of.exercises += section.exercises
    return core, optional


def main(arguments: list[str]) -> None:
    """Print the minutes of every chapter, and of every section if `arguments` holds "--sections"."""
    for path in sorted(FOLDER.glob("*.ipynb")):
        core, optional = work(path)
        total = core.minutes + optional.minutes
        print(f"{path.stem:32} core {core.minutes:4.0f} min, everything {total:4.0f} min")
        if "--sections" in arguments:
            for heading, section in sections(path).items():
                print(f"    {section.minutes:4.0f} min  {heading}")


if __name__ == "__main__":
    main(sys.argv[1:])
