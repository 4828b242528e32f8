"""One glossary of the whole course, made from the section "Glossary" of every notebook.

usage: python -m lessons.glossary     (from the folder `notebooks`; writes docs/glossary.md)
"""

import json
import re
from itertools import groupby
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[1]
PAGE = FOLDER.parent / "docs" / "glossary.md"
BOLD = r"\*\*[^*]+\*\*(?: \([^)]*\))?"
HEAD = re.compile(rf"({BOLD}(?:(?:, | and ){BOLD})*):")  # **a**, **b** (c):
# What points back to the definition before it.
LEANS = re.compile(
    r"\b(its?|them|their|they|the same)\b|\b(ones?|far)$|"
    r"^(of|over|among|for|in|with|by|without|at|to|then|when) "
)
# Where a last word belongs to all of the terms before it.
WHOLE = {"training, validation, test rows": "training rows, validation rows, test rows"}


def entries(path: Path) -> list[str]:
    """The list entries of a notebook's glossary, as Markdown without the star in front."""
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        found = re.search(
            r"^## Glossary\n(.*?)(?=^## |\Z)", "".join(cell["source"]), flags=re.DOTALL | re.MULTILINE
        )
        if cell["cell_type"] == "markdown" and found:
            return re.findall(r"^\* (.*)$", found[1], flags=re.MULTILINE)
    return []


def tidy(definition: str) -> str:
    """A definition without the marks that ended it, and without half of a pair of brackets."""
    definition = definition.strip().rstrip(".;").rstrip(" (")
    if definition.count(")") > definition.count("("):
        definition = definition.rstrip(")")
    return definition


def terms_of(head: str) -> list[str]:
    """The terms in front of a colon: "**a, b** and **c** (d)" holds "a", "b" and "c (d)"."""
    found = []
    for bold, aside in re.findall(r"\*\*([^*]+)\*\*( \([^)]*\))?", head):
        parts = re.split(r", (?![^()]*\))", WHOLE.get(bold, bold))
        found += [*parts[:-1], parts[-1] + aside]
    return found


def leans(definition: str) -> bool:
    """Whether a definition says too little without what stands before it: "its rise", "over one token"."""
    return bool(LEANS.search(definition))


def together(terms: list[str], text: str) -> str:
    """The definition that several terms share, with these terms in front."""
    return f"(*{', '.join(terms)}*) {text}"


def definitions(entry: str) -> list[tuple[str, str]]:
    """(term, definition) of each term of an entry.

    "**a**, **b**: one; two." gives each term its own definition. All terms get the whole of it, which then
    names them, where the numbers differ or a part says too little alone.
    """
    parts = HEAD.split(entry)[1:]
    heads, texts = [terms_of(head) for head in parts[::2]], [tidy(text) for text in parts[1::2]]
    found = []
    for number, (terms, text) in enumerate(zip(heads, texts, strict=True)):
        own = text.split("; ")
        if len(terms) == 1 and number > 0 and leans(text):
            everything = re.sub(r"\*\*", "", tidy(entry.partition(":")[2]))
            found.append((terms[0], together([term for head in heads for term in head], everything)))
        elif len(terms) == 1:
            found.append((terms[0], text))
        elif len(own) != len(terms):
            found += [(term, together(terms, text)) for term in terms]
        else:
            for term, part in zip(terms, own, strict=True):
                alone = not leans(part) and len(part.split()) > 3
                found.append((term, part if alone else together(terms, text)))
    return found


def key(term: str) -> str:
    """What a term is sorted by: its letters and figures."""
    return re.sub(r"[^\w ]", "", re.sub(r" \([^)]*\)", "", term)).casefold()


def letter(term: str) -> str:
    """The heading that a term stands under."""
    first = key(term)[:1].upper()
    return first if first.isalpha() else "Figures and signs"


def page() -> str:
    """The glossary of the course in Markdown."""
    found = {}  # the term as it is sorted -> (the term as it is written, its definitions)
    for path in sorted(FOLDER.glob("*.ipynb")):
        chapter = f"[{path.stem.partition('_')[0]}](../notebooks/{path.name}#Glossary)"
        for entry in entries(path):
            for term, definition in definitions(entry):
                moved = re.sub(r"\]\((?=[\w.]+\.ipynb)", "](../notebooks/", definition)
                found.setdefault(key(term), (term, []))[1].append(f"{moved} ({chapter})")
    lines = [
        "# Glossary",
        "",
        "Every word that a chapter explains, with the chapter behind it. Words in brackets share an entry, "
        "whose parts follow their order. `python -m lessons.glossary`, called in the folder `notebooks`, "
        "makes this page from the glossaries of the chapters: change a word there.",
    ]
    in_order = [found[name] for name in sorted(found)]
    for heading, group in groupby(in_order, key=lambda pair: letter(pair[0])):
        lines += ["", f"## {heading}", ""]
        lines += [f"* **{term}**: {'; '.join(said)}" for term, said in group]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Write the page."""
    PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
