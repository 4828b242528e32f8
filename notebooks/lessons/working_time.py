"""How long a learner works on a chapter, by one rule for all.

Reading: 130 words a minute. Each code cell that is seen: half a minute, to read it, run it and look at what
it gives. Each exercise: 8 minutes. Sections whose heading ends in "optional" belong to everything, and so
does the glossary, where words are looked up; all else is the core path.

usage: python -m lessons.working_time     (from the folder `notebooks`)
"""

import json
import re
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


def work(path: Path) -> tuple[Work, Work]:
    """What the core path of a notebook asks for, and what its optional sections add."""
    core, optional = Work(), Work()
    now = core
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "code":
            now.cells += bool(source.strip()) and not is_hidden(cell)
            continue
        for line in outside_code(source):
            if re.match(r"##? ", line):
                now = optional if line.rstrip().endswith(("optional", "Glossary")) else core
            now.exercises += bool(re.match(r"#{2,4} Exercise \S*\d", line))
            now.words += len(line.split())
    return core, optional


def main() -> None:
    """Print the minutes of every chapter."""
    for path in sorted(FOLDER.glob("*.ipynb")):
        core, optional = work(path)
        total = core.minutes + optional.minutes
        print(f"{path.stem:32} core {core.minutes:4.0f} min, everything {total:4.0f} min")


if __name__ == "__main__":
    main()
