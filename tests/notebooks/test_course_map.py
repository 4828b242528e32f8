"""The map of the course exists twice, as Mermaid in chapter 00 and as SVG: both must say the same, and the
truth.
"""

import json
import re
import runpy
from pathlib import Path
from xml.etree import ElementTree

import pytest

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"
SVG = NOTEBOOKS / "figures" / "course_map.svg"
DRAWING = runpy.run_path(str(NOTEBOOKS / "figures" / "course_map.py"))


@pytest.fixture(scope="module")
def markdown():
    book = json.loads((NOTEBOOKS / "00_start_here.ipynb").read_text(encoding="utf-8"))
    return "\n".join("".join(cell["source"]) for cell in book["cells"] if cell["cell_type"] == "markdown")


@pytest.fixture(scope="module")
def mermaid(markdown):
    return re.search(r"```mermaid\n(.*?)\n```", markdown, re.DOTALL).group(1)


@pytest.fixture(scope="module")
def svg():
    return ElementTree.parse(SVG).getroot()


def name(element):
    return element.tag.rpartition("}")[2]


def test_node_labels_agree(mermaid, svg):
    in_mermaid = {
        node: label.replace("<br/>", " ")
        for node, label in re.findall(r'^ *(c\w+)\["(.+)"\]$', mermaid, re.MULTILINE)
    }
    groups = [g for g in svg.iter() if name(g) == "g" and g.get("class") == "node"]
    in_svg = {g.get("id"): " ".join(line.text for line in g.iter() if name(line) == "tspan") for g in groups}
    assert len(in_svg) == 15
    assert in_mermaid == in_svg


def test_edges_agree(mermaid, svg):
    in_mermaid = set(re.findall(r"^ *(c\w+) --> (c\w+)$", mermaid, re.MULTILINE))
    paths = [p for p in svg.iter() if name(p) == "path" and p.get("class") == "edge"]
    in_svg = {(p.get("data-from"), p.get("data-to")) for p in paths}
    assert len(in_svg) == len(DRAWING["EDGES"]) > 8
    assert in_mermaid == in_svg


def test_both_are_what_the_script_draws(mermaid):
    assert mermaid == DRAWING["mermaid"]()
    assert SVG.read_text(encoding="utf-8") == DRAWING["svg"](), "run `python notebooks/figures/course_map.py`"


def test_each_chapter_of_the_map_is_a_notebook():
    on_disk = {path.name.split("_")[0] for path in NOTEBOOKS.glob("*.ipynb")}
    assert on_disk == {number for number, *_ in DRAWING["CHAPTERS"]}


def test_links_of_chapter_00_lead_somewhere(markdown):
    links = re.findall(r"\]\(([^)#:]+)\)", markdown)
    assert links
    for link in links:
        assert (NOTEBOOKS / link).exists(), link
