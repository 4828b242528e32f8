"""Every link of every notebook leads somewhere: the file exists, the fragment belongs to a heading, web
addresses are plain.
"""

import json
import re
from urllib.parse import unquote, urlsplit

import pytest
from nbconvert.filters.markdown_mistune import markdown2html_mistune

from helpers.files import ROOT
from lessons.appendix_a.catalogue import PAPERS, TOOLS
from lessons.workflows import anchor, headings, link_to

FOLDER = ROOT / "notebooks"
NOTEBOOKS = sorted(path.name for path in FOLDER.glob("[!.]*.ipynb"))
REDIRECTORS = {"bit.ly", "t.co", "goo.gl", "tinyurl.com", "lnkd.in"}


def links_of(markdown: str) -> list[str]:
    """The targets of Markdown links and images and of HTML attributes, without those in code."""
    prose = re.sub(r"^```.*?^```|`[^`\n]*`", "", markdown, flags=re.DOTALL | re.MULTILINE)
    inline = re.findall(r"\]\(<?((?:[^()\s<>]|\([^()\s]*\))+)>?(?: +\"[^\"]*\")?\)", prose)
    return inline + re.findall(r"""(?:href|src)=["']([^"']+)["']""", prose)


def fault(link: str, notebook: str) -> str:
    """What is wrong with a link of a notebook, or an empty text."""
    parts = urlsplit(link)
    if parts.scheme or parts.netloc:
        plain = (
            parts.scheme == "https"
            and "." in parts.netloc
            and not re.search(r"[@:%]", parts.netloc)
            and "//" not in parts.path
        )
        hides_another = re.search(r"https?[:%]", parts.path + parts.query, flags=re.IGNORECASE)
        return (
            ""
            if plain and not hides_another and parts.netloc not in REDIRECTORS
            else "must be a plain https address"
        )
    path = unquote(parts.path) or notebook
    if not (FOLDER / path).exists():
        return "the file does not exist"
    fragment = link.partition("#")[2]  # urlsplit would cut a "?" off
    if not fragment:
        return ""
    if not path.endswith(".ipynb"):
        return "a fragment of something that is no notebook"
    return "" if fragment in map(anchor, headings(path)) else "no heading has this fragment"


@pytest.mark.parametrize("notebook", NOTEBOOKS)
def test_links_lead_somewhere(notebook):
    book = json.loads((FOLDER / notebook).read_text(encoding="utf-8"))
    links = [
        link
        for cell in book["cells"]
        if cell["cell_type"] == "markdown"
        for link in links_of("".join(cell["source"]))
    ]
    assert not {link: what for link in links if (what := fault(link, notebook))}


@pytest.mark.parametrize("notebook", NOTEBOOKS)
def test_links_of_stored_tables_and_pictures_lead_somewhere(notebook):
    book = json.loads((FOLDER / notebook).read_text(encoding="utf-8"))
    pages = [
        output.get("data", {}).get("text/html", "")
        for cell in book["cells"]
        for output in cell.get("outputs", [])
    ]
    links = [
        link.replace("&amp;", "&")
        for page in pages
        for link in re.findall(r'<a [^>]*href="([^"]+)"', "".join(page))
    ]
    assert not {link: what for link in links if (what := fault(link, notebook))}


def test_links_of_the_tools_and_papers_lead_somewhere():
    links = [tool.docs for tool in TOOLS] + [link_to(tool.section) for tool in TOOLS if tool.section]
    links += [link_to(paper["section"]) for paper in PAPERS]
    assert len(links) > len(TOOLS) + 15
    assert not {link: what for link in links if (what := fault(link, "A_tools_and_resources.ipynb"))}


def test_headings_of_one_notebook_have_different_fragments():
    for notebook in NOTEBOOKS:
        linked = [heading for heading in headings(notebook) if re.match(r"\d|[AB]\.", heading)]
        assert len(set(map(anchor, linked))) == len(linked), notebook


@pytest.mark.parametrize(
    "link",
    [
        "99_no_chapter.ipynb",
        "02_datasets_and_dataloaders.ipynb#2.1-a-dataset-answers-two-questions",
        "#2.9",
        "02_datasets_and_dataloaders.ipynb#",
        "http://pytorch.org/",
        "https://user@pytorch.org/",
        "https://bit.ly/3abc",
        "https://pytorch.org/?to=https://example.org",
        "//pytorch.org/",
        "figures/course_map.svg#map-title",
    ],
)
def test_the_check_sees_bad_links(link):
    wanted = link != "02_datasets_and_dataloaders.ipynb#"  # an empty fragment is the top of the page
    assert bool(fault(link, "02_datasets_and_dataloaders.ipynb")) == wanted


def test_links_are_found_but_not_those_in_code():
    text = (
        "[a](b.ipynb#1.1-x(y)) ![c](figures/d.svg) <a "
        "href='e'>f</a>\n`[g](h)`\n```\n[i](j)\n```\n[k](https://l.org/m_(n))"
    )
    assert links_of(text) == ["b.ipynb#1.1-x(y)", "figures/d.svg", "https://l.org/m_(n)", "e"]


@pytest.mark.parametrize("notebook", NOTEBOOKS)
def test_anchors_are_those_that_nbconvert_makes(notebook):
    """JupyterLab takes the heading's text with hyphens for spaces (createHeaderId in its rendermime package),
    and so does nbconvert.
    """
    for heading in headings(notebook):
        made = re.search(r'id="([^"]*)"', markdown2html_mistune(f"## {heading}")).group(1)
        assert made.replace("&amp;", "&").replace("&#x27;", "'") == anchor(heading)
