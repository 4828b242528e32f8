"""Each chapter says how long it takes, by the rule of `lessons.working_time`.

The core paths of 00 to 08 are one day.
"""

import json
import re

import pytest

from lessons import working_time

NOTEBOOKS = sorted(working_time.FOLDER.glob("[01]*.ipynb"))
ROUNDED = 5  # minutes, to which a chapter rounds
DAY = 6.5 * 60
README = (working_time.FOLDER.parent / "README.md").read_text(encoding="utf-8")


def said(path) -> tuple[int, int]:
    """The minutes in the table of a chapter's first cell: core path, everything."""
    first = "".join(json.loads(path.read_text(encoding="utf-8"))["cells"][0]["source"])
    rows = dict(re.findall(r"^\| \*\*(core path|everything)\*\* \| (\d+)", first, flags=re.MULTILINE))
    return int(rows["core path"]), int(rows["everything"])


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_chapter_says_its_minutes(path):
    core, optional = working_time.work(path)
    assert core.cells > 0
    assert optional.minutes > 0
    for minutes, stated in zip((core.minutes, core.minutes + optional.minutes), said(path), strict=True):
        assert abs(stated - minutes) <= ROUNDED, f"{path.name} says {stated} minutes, the rule {minutes:.0f}"


def test_the_core_paths_of_the_first_nine_are_one_day():
    assert sum(working_time.work(path)[0].minutes for path in NOTEBOOKS[:9]) <= DAY


def test_the_rule_counts_what_is_read(tmp_path):
    words = {
        "cell_type": "markdown",
        "source": "## 1.1 A b · core\n" + "word " * 125 + "\n```\nno prose\n```",
    }
    extra = {"cell_type": "markdown", "source": ["## 1.2 More · optional\n", "### Exercise 1.1 (build): x"]}
    seen = {"cell_type": "code", "source": "x = 1", "metadata": {}}
    folded = {"cell_type": "code", "source": "x = 1", "metadata": {"jupyter": {"source_hidden": True}}}
    looked_up = {"cell_type": "markdown", "source": "## Glossary\nten"}
    file = tmp_path / "a.ipynb"
    file.write_text(json.dumps({"cells": [words, seen, folded, extra, seen, looked_up]}))
    core, optional = working_time.work(file)
    assert (core.words, core.cells, core.exercises, core.minutes) == (131, 1, 0, 131 / 130 + 0.5)
    assert (optional.words, optional.cells, optional.exercises) == (5 + 5 + 3, 1, 1)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_readme_says_the_same_minutes(path):
    core, everything = said(path)
    line = re.search(rf"^\| \[[^]]+\]\(notebooks/{path.name}\).*$", README, flags=re.MULTILINE).group()
    assert f"| {core} / {everything} |" in line


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_sections_of_a_chapter_add_up_to_it(path):
    sections = working_time.sections(path)
    core, optional = working_time.work(path)
    total = sum(section.minutes for section in sections.values())
    assert total == pytest.approx(core.minutes + optional.minutes)
    assert sum(section.exercises for section in sections.values()) == core.exercises + optional.exercises
    assert len(sections) > 10


def test_a_section_holds_what_stands_below_it(tmp_path):
    title = {"cell_type": "markdown", "source": "# 01 A title\none two"}
    first = {"cell_type": "markdown", "source": "## 1.1 A · core\nthree\n### Exercise 1.1 (build): b"}
    code = {"cell_type": "code", "source": "x = 1", "metadata": {}}
    last = {"cell_type": "markdown", "source": "## Recap\nfour"}
    file = tmp_path / "a.ipynb"
    file.write_text(json.dumps({"cells": [title, first, code, last]}), encoding="utf-8")
    found = working_time.sections(file)
    assert list(found) == ["01 A title", "1.1 A · core", "Recap"]
    assert [section.words for section in found.values()] == [6, 5 + 1 + 5, 3]
    assert [section.cells for section in found.values()] == [0, 1, 0]
    assert [section.exercises for section in found.values()] == [0, 1, 0]
