"""Appendix B's charts exist three times, as Mermaid, as SVG and as a table: all must say the same, and lead
somewhere.
"""

import json
import re
from xml.etree import ElementTree

import flowcharts
import pytest

from helpers.files import ROOT
from lessons.workflows import CHARTS, anchor, headings

NOTEBOOKS = ROOT / "notebooks"
SYLLABUS = {
    "development": "Collect Clean Augment Preprocess Design Train Evaluate Deploy",
    "fine-tuning": "Choose Adapt Preprocess Tune Evaluate Optimise Deploy",
    "application": "Scenario Data Model Train Evaluate Deploy",
}


@pytest.fixture(scope="module")
def markdown():
    book = json.loads((NOTEBOOKS / "B_flowcharts.ipynb").read_text(encoding="utf-8"))
    return "\n".join("".join(cell["source"]) for cell in book["cells"] if cell["cell_type"] == "markdown")


@pytest.fixture(scope="module")
def mermaid(markdown):
    """{name of the chart: its Mermaid text in the notebook}"""
    blocks = re.findall(r"```mermaid\n(.*?)\n```", markdown, re.DOTALL)
    assert len(blocks) == len(CHARTS)
    return dict(zip((chart.name for chart in CHARTS), blocks))


def name(element):
    return element.tag.rpartition("}")[2]


def drawn(chart):
    return ElementTree.parse(flowcharts.file(chart)).getroot()


@pytest.mark.parametrize("chart", CHARTS, ids=lambda chart: chart.name)
class TestChart:
    def test_boxes_agree_in_text_shape_and_link(self, chart, mermaid):
        shapes = re.findall(r'^ *(n\d+)([\[{])"(.+)"[\]}]$', mermaid[chart.name], re.MULTILINE)
        links = dict(re.findall(r'^ *click (n\d+) href "([^"]+)"', mermaid[chart.name], re.MULTILINE))
        in_mermaid = {node: (text, bracket == "{", links[node]) for node, bracket, text in shapes}
        in_svg = {}
        for box in (a for a in drawn(chart).iter() if name(a) == "a"):
            label = next(text for text in box.iter() if name(text) == "text" and text.get("class") == "label")
            question = any(name(part) == "polygon" for part in box.iter())
            in_svg[box.get("id")] = " ".join(label.itertext()), question, box.get("href").removeprefix("../")
        assert len(in_svg) == len(chart.nodes) > 8
        assert in_mermaid == in_svg

    def test_arrows_agree_in_ends_direction_and_answer(self, chart, mermaid):
        found = re.findall(
            r"^ *(n\d+) (--|-\.)(?: (\w+) )?(?:-->|\.->|>) ?(n\d+)$", mermaid[chart.name], re.MULTILINE
        )
        in_mermaid = {(start, end, line == "-.") for start, line, _, end in found}
        edges = [e for e in drawn(chart).iter() if name(e) == "path" and e.get("class") == "edge"]
        in_svg = {(e.get("data-from"), e.get("data-to"), "stroke-dasharray" in e.attrib) for e in edges}
        assert len(in_svg) == len(flowcharts.edges(chart))
        assert in_mermaid == in_svg
        answers = [e.text for e in drawn(chart).iter() if e.get("class") == "answer"]
        assert sorted(answers) == sorted(answer for _, _, answer, _ in found if answer)

    def test_all_three_are_what_the_script_makes(self, chart, mermaid, markdown):
        assert mermaid[chart.name] == flowcharts.mermaid(chart)
        assert flowcharts.file(chart).read_text(encoding="utf-8") == flowcharts.svg(chart), (
            "run `python notebooks/figures/flowcharts.py`"
        )
        assert flowcharts.table(chart) in markdown

    def test_every_box_leads_to_a_heading(self, chart):
        for node in chart.nodes:
            assert node.link.partition("#")[2] in map(anchor, headings(node.notebook)), node.text

    def test_the_page_lays_one_link_over_each_box_inside_the_picture(self, chart):
        page = flowcharts.page(chart)
        assert re.findall(r'<a href="([^"]+)"', page) == [
            node.link.replace("&", "&amp;") for node in chart.nodes
        ]
        boxes = [
            [float(value) for value in box]
            for box in re.findall(r"left:([\d.]+)%;top:([\d.]+)%;width:([\d.]+)%;height:([\d.]+)%", page)
        ]
        assert len(boxes) == len(chart.nodes)
        for (left, top, width, height), (*_, following, _, _) in zip(boxes, [*boxes[1:], (0, 100, 0, 0)]):
            assert 0 <= left < left + width <= 100
            assert 0 <= top < top + height <= following

    def test_steps_are_those_of_the_syllabus_in_their_order(self, chart):
        steps = iter(" ".join(chart.steps).split())
        assert all(step in steps for step in SYLLABUS[chart.name].split())

    def test_ways_back_lead_to_earlier_steps(self, chart):
        for number, node in enumerate(chart.nodes):
            for answer, step in node.back:
                assert step in [earlier.text for earlier in chart.nodes[:number]]
                assert answer != node.onward

    def test_the_test_rows_are_opened_after_the_last_way_back(self, chart):
        texts = [node.text for node in chart.nodes]
        asked_later = [node.text for node in chart.nodes[texts.index("Test once") :] if node.back]
        assert asked_later == (["Have the inputs drifted?"] if chart.name == "application" else [])


def test_no_two_lanes_run_over_each_other():
    for chart in CHARTS:
        back = [
            p.get("d")
            for p in drawn(chart).iter()
            if p.get("class") == "edge" and "stroke-dasharray" in p.attrib
        ]
        spans = [
            tuple(map(float, re.fullmatch(r"M[\d.]+,([\d.]+) H([\d.]+) V([\d.]+) H[\d.]+", path).groups()))
            for path in back
        ]
        for one, (low, lane, high) in enumerate(spans):
            for low2, lane2, high2 in spans[one + 1 :]:
                assert (
                    lane != lane2 or max(low, high) < min(low2, high2) or max(low2, high2) < min(low, high)
                ), (chart.name, lane)
