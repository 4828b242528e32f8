"""Links to sections are found by the section's number, whatever its title says today."""

import json

import pytest

from helpers.errors import InputError
from lessons import workflows


@pytest.fixture
def course(tmp_path, monkeypatch):
    """A course of one chapter and one appendix in an empty folder."""
    monkeypatch.setattr(workflows, "NOTEBOOKS", tmp_path)
    workflows.headings.cache_clear()
    for name, text in {
        "05_data.ipynb": "## 5.1 Collect · core\n```\n## 5.2 in code\n```\n## 5.11 Split `rows`, once",
        "A_tools.ipynb": "## A.2 What to take: a list · optional",
    }.items():
        cells = [{"cell_type": "markdown", "source": text}, {"cell_type": "code", "source": "# 5.3 no"}]
        (tmp_path / name).write_text(json.dumps({"cells": cells}), encoding="utf-8")
    yield
    workflows.headings.cache_clear()


def test_a_number_finds_the_heading_with_its_mark(course):
    assert workflows.link_to("5.1") == "05_data.ipynb#5.1-Collect-%C2%B7-core"
    assert workflows.link_to("5.11") == "05_data.ipynb#5.11-Split-rows,-once"
    assert workflows.link_to("A.2") == "A_tools.ipynb#A.2-What-to-take:-a-list-%C2%B7-optional"


def test_the_title_is_told_without_the_mark(course):
    assert workflows.title_of("5.1") == "5.1 Collect"
    assert workflows.title_of("A.2") == "A.2 What to take: a list"


@pytest.mark.parametrize("section", ["5.2", "5.3", "5.9", "6.1", "C.1", "", "A"])
def test_a_number_that_is_no_heading_is_refused(course, section):
    with pytest.raises(InputError, match="section"):
        workflows.link_to(section)
