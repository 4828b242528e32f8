"""Every relative link of the pages in docs/ and of the README leads to a file, and to a heading in it."""

import re
from urllib.parse import unquote

import pytest

from helpers.files import ROOT
from lessons.workflows import NOTEBOOKS, anchor, headings

PAGES = [*sorted((ROOT / "docs").glob("*.md")), ROOT / "README.md"]
KIT = ["instructor_guide.md", "exercises_for_instructors.md", "classroom.md", "glossary.md", "errors.md"]
KIT += ["cheat_sheet.md", "cheat_sheet.pdf"]


def links_of(markdown: str) -> list[str]:
    """The targets of the links of a page that lead to files or headings, without those in code."""
    prose = re.sub(r"^```.*?^```|`[^`\n]*`", "", markdown, flags=re.DOTALL | re.MULTILINE)
    found = re.findall(r"\]\(((?:[^()\s]|\([^()\s]*\))+)\)", prose)
    return [link for link in found if not re.match(r"[a-z]+:", link)]


def slugs(markdown: str) -> set[str]:
    """The fragments of a Markdown page's headings on GitHub: letters, figures and hyphens, in lower case."""
    prose = re.sub(r"^```.*?^```", "", markdown, flags=re.DOTALL | re.MULTILINE)
    found = re.findall(r"^#+ (.+)$", prose, flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in found}


def fault(link: str, page) -> str:
    """What is wrong with a link of a page, or an empty text."""
    path, _, fragment = link.partition("#")
    file = (page.parent / unquote(path)).resolve() if path else page
    if not file.exists():
        return "the file does not exist"
    if not fragment:
        return ""
    if file.parent == NOTEBOOKS:
        return "" if fragment in map(anchor, headings(file.name)) else "the notebook has no such heading"
    return "" if fragment in slugs(file.read_text(encoding="utf-8")) else "the page has no such heading"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    links = links_of(page.read_text(encoding="utf-8"))
    assert not {link: what for link in links if (what := fault(link, page))}


def test_the_readme_leads_to_the_kit():
    section = (ROOT / "README.md").read_text(encoding="utf-8").partition("## For instructors\n")[2]
    assert [link for link in links_of(section.partition("\n## ")[0])] == [f"docs/{name}" for name in KIT]


@pytest.mark.parametrize(
    "link",
    [
        "../notebooks/99_none.ipynb",
        "../notebooks/00_start_here.ipynb#0.1-A-taste",
        "../README.md#no-such-heading",
        "#nowhere",
    ],
)
def test_the_check_sees_bad_links(link):
    assert fault(link, ROOT / "docs" / "errors.md")


def test_links_are_found_but_not_those_in_code():
    text = "[a](b.md#c(d)) `[e](f)`\n```\n[g](h)\n```\n[i](https://j.org) [k](#l)"
    assert links_of(text) == ["b.md#c(d)", "#l"]
