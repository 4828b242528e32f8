"""The error guide has a row for each mistake that the chapters show: a cause, and a cure of one sentence."""

import re

import pytest

from helpers.files import ROOT
from lessons.workflows import NOTEBOOKS, anchor, headings

GUIDE = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")
ROWS = re.findall(
    r"^\| (?!what you see)(.+?) \| (.+?) \| (.+?) \| \[(.+)\]\((.+)\) \|$", GUIDE, flags=re.MULTILINE
)
SHOWN = [
    (path.name, heading)
    for path in sorted(NOTEBOOKS.glob("*.ipynb"))
    for heading in headings(path.name)
    if "What went wrong" in heading
]


def test_there_are_mistakes_to_look_for():
    assert len(SHOWN) > 80
    assert {name.partition("_")[0] for name, _ in SHOWN} >= {f"{number:02}" for number in range(13)} | {"A"}


@pytest.mark.parametrize(("notebook", "heading"), SHOWN)
def test_each_mistake_has_one_row(notebook, heading):
    title = heading.partition("What went wrong: ")[2].partition(" · ")[0]
    found = [row for row in ROWS if row[4] == f"../notebooks/{notebook}#{anchor(heading)}"]
    assert len(found) == 1, f"docs/errors.md must have one row for {heading} of {notebook}"
    section, _, words = found[0][3].partition(" ")
    assert words == title
    chapter = notebook.partition("_")[0].lstrip("0") or "0"
    assert section.partition(".")[0] == chapter


def test_every_row_has_a_cause_and_a_cure_of_one_sentence():
    tables = re.findall(r"^\| (?!what you see|---)", GUIDE, flags=re.MULTILINE)
    assert len(ROWS) == len(tables) >= len(SHOWN)
    for symptom, cause, cure, *_ in ROWS:
        prose = re.sub(r"`[^`]*`", "code", cure)
        assert re.fullmatch(r"[A-Z][^.!?]*\.", prose), cure
        assert not cause.endswith("."), cause
        assert min(len(symptom), len(cause), len(cure)) > 15


def test_the_same_is_not_said_twice():
    symptoms = [row[0] for row in ROWS]
    assert len(set(symptoms)) == len(symptoms)
