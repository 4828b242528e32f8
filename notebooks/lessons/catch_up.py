"""What somebody who begins with chapter NN should know of the chapters before it, read from the notebooks.

usage: python -m lessons.catch_up NN     (from the folder `notebooks`)

`python -m helpers catch-up NN` says it after a look at the machine.
"""

import json
import re
import sys
from pathlib import Path

from helpers.errors import InputError
from lessons import glossary, working_time
from lessons.workflows import NOTEBOOKS, heading_of, notebook_of, title_of

NEED = re.compile(r"^(?:\* )?\*\*You need:\*\* (.*)$", flags=re.MULTILINE)
SECTION = re.compile(r"(?:section |\d\d_\w+\.ipynb#)(\d+\.\d+)")  # in the first cell, or a link
CORE = re.compile(r"^\| \*\*core path\*\* \| (\d+) \| (.*?) \|$", flags=re.MULTILINE)


def notebook(chapter: str) -> Path:
    """The notebook of a chapter ("07", "7", "A"); InputError: there is none."""
    notebooks = {path.name.partition("_")[0]: path for path in sorted(NOTEBOOKS.glob("*_*.ipynb"))}
    name = chapter.strip().upper()
    name = name.zfill(2) if name.isdecimal() else name
    if name not in notebooks:
        raise InputError(f"there is no chapter {chapter!r}; the chapters are {', '.join(notebooks)}")
    return notebooks[name]


def prose(path: Path) -> dict[str, str]:
    """The Markdown of a notebook by its sections: "2.1 A dataset ... · core", the title's first."""
    found, heading = {}, ""
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] == "markdown":
            for line in "".join(cell["source"]).splitlines():
                if re.match(r"##? ", line):
                    heading = line.lstrip("#").strip()
                found[heading] = found.get(heading, "") + line + "\n"
    return found


def need(path: Path) -> str:
    """The sentence "You need" of a chapter's first cell, without links."""
    first = next(iter(prose(path).values()))
    return re.sub(r"\[([^]]+)\]\([^)]*\)", r"\1", NEED.search(first)[1])


def needed(path: Path) -> list[Path]:
    """The chapters before it that a chapter says it needs."""
    names = sorted(set(re.findall(r"(?<![\d.])\d\d(?![\d.])", need(path))))
    return [notebook(name) for name in names]


def is_used(term: str, text: str) -> bool:
    """Whether a text has a glossary's term as a word, as written or in the plural."""
    word = re.sub(r" \([^)]*\)", "", term)
    same = 0 if re.search("[A-Z]", word[1:]) else re.IGNORECASE
    return bool(re.search(rf"(?<!\w){re.escape(word)}(?:e?s)?(?!\w)", text, flags=same))


def words(path: Path) -> dict[str, list[str]]:
    """Terms of needed chapters that a chapter uses and does not explain itself, by where they are explained.

    A key is the number of a section ("2.1"), or a notebook's name where only its glossary has the term.
    """
    text = "\n".join(prose(path).values())
    known = set(map(glossary.key, terms(path)))
    found = {}
    for earlier in needed(path):
        for term in terms(earlier):
            if glossary.key(term) not in known and is_used(term, text):
                known.add(glossary.key(term))
                found.setdefault(explained(term, earlier), []).append(term)
    return found


def terms(path: Path) -> list[str]:
    """The terms of a chapter's glossary."""
    return [term for entry in glossary.entries(path) for term, _ in glossary.definitions(entry)]


def explained(term: str, path: Path) -> str:
    """The number of the first section that has a term in bold, or the notebook's name."""
    for heading, text in prose(path).items():
        number = re.match(r"\d+\.\d+ ", heading)
        if number and is_used(term, " | ".join(re.findall(r"\*\*([^*]+)\*\*", text))):
            return number[0].strip()
    return path.name


def linked(path: Path) -> list[str]:
    """The numbers of sections of earlier chapters that a chapter asks for or links to."""
    text = f"{need(path)}\n{' '.join(prose(path).values())}"
    return [number for number in SECTION.findall(text) if notebook_of(number) < path.name]


def minutes(number: str) -> float:
    """Minutes of a section by the course's rule."""
    return working_time.sections(NOTEBOOKS / notebook_of(number))[heading_of(number)].minutes


def lines(path: Path) -> list[str]:
    """What the command prints of a chapter."""
    of_section = words(path)
    in_glossary = [term for name in list(of_section) if "_" in name for term in of_section.pop(name)]
    for number in linked(path):
        of_section.setdefault(number, [])
    title = next(iter(prose(path)))
    said = [f"{title} needs: {need(path)}", ""]
    if of_section:
        took = sum(map(minutes, of_section))
        said.append(f"Sections of earlier chapters that explain its words, {took:.0f} minutes in all:")
    for number in sorted(of_section, key=lambda number: [int(part) for part in number.split(".")]):
        why = ", ".join(of_section[number]) or "it is pointed to"
        said.append(f"  {minutes(number):3.0f} min  {title_of(number).replace('`', '')} ({why})")
    if in_glossary:
        said.append(f"Words to look up in docs/glossary.md: {', '.join(in_glossary)}")
    core, which = CORE.search("\n".join(prose(path).values())).groups()
    said.append(f"Begin at the top of notebooks/{path.name}; its core path, {which}, takes {core} minutes.")
    return said


def main(arguments: list[str]) -> int:
    """Print the lines of a chapter; exit status 2 for one that does not exist."""
    try:
        print(*lines(notebook(" ".join(arguments))), sep="\n")
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
