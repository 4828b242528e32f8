"""docs/glossary.md is what the chapters' glossaries make of it today, and loses no word of them."""

import json
import re

import pytest

from lessons import glossary

NOTEBOOKS = sorted(glossary.FOLDER.glob("*.ipynb"))


def test_the_page_is_what_the_command_makes_today():
    made = glossary.PAGE.read_text(encoding="utf-8") == glossary.page()
    assert made, "a glossary has changed: run `python -m lessons.glossary` in the folder notebooks"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_no_word_of_a_chapter_is_lost(path):
    entries = glossary.entries(path)
    assert len(entries) >= 8
    page = glossary.page()
    known = {glossary.key(term) for term in re.findall(r"^\* \*\*(.+?)\*\*: ", page, flags=re.MULTILINE)}
    for entry in entries:
        found = glossary.definitions(entry)
        assert found, f"no term before a colon: {entry}"
        for term, definition in found:
            assert glossary.key(term) in known
            assert definition.split("](")[0] in page
            assert len(definition.split()) >= 2, (term, definition)
            assert definition.count("(") == definition.count(")"), (term, definition)


def test_the_terms_stand_in_their_order_once():
    terms = re.findall(r"^\* \*\*(.+?)\*\*: ", glossary.page(), flags=re.MULTILINE)
    keys = [glossary.key(term) for term in terms]
    assert len(keys) > 300
    assert keys == sorted(set(keys))


@pytest.mark.parametrize(
    ("entry", "wanted"),
    [
        ("**a**: one thing; another thing.", [("a", "one thing; another thing")]),
        (
            "**a**, **b**: one thing of four; two things of four.",
            [("a", "one thing of four"), ("b", "two things of four")],
        ),
        (
            "**a, b**: one thing of four; what enters it here.",
            [("a", "one thing of four"), ("b", "(*a, b*) one thing of four; what enters it here")],
        ),
        (
            "**a**, **b**: what the two do together.",
            [("a", "(*a, b*) what the two do together"), ("b", "(*a, b*) what the two do together")],
        ),
        (
            "**a** (w): one, with more (**b**: numbers alone). **c**: a third.",
            [("a (w)", "one, with more"), ("b", "numbers alone"), ("c", "a third")],
        ),
        (
            "**a**: share of all things. **b**: among the first.",
            [("a", "share of all things"), ("b", "(*a, b*) share of all things. b: among the first")],
        ),
    ],
)
def test_an_entry_is_taken_apart(entry, wanted):
    assert glossary.definitions(entry) == wanted


def test_links_of_a_definition_lead_on_from_the_page(tmp_path, monkeypatch):
    cell = {"cell_type": "markdown", "source": "## Glossary\n\n* **b**: see [02](02_x.ipynb#2.1).\n\n## Next"}
    (tmp_path / "01_a.ipynb").write_text(json.dumps({"cells": [cell]}), encoding="utf-8")
    monkeypatch.setattr(glossary, "FOLDER", tmp_path)
    line = "* **b**: see [02](../notebooks/02_x.ipynb#2.1) ([01](../notebooks/01_a.ipynb#Glossary))\n"
    assert glossary.page().endswith(f"## B\n\n{line}")
