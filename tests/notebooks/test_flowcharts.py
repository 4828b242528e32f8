"""Appendix B's charts exist as SVG and as a table: both must say what the list says, and lead somewhere."""

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
    "application": "Scenario Data Model Train Evaluate Deploy Monitor Measure",
}


@pytest.fixture(scope="module")
def stored():
    """The HTML pages that appendix B stores."""
    book = json.loads((NOTEBOOKS / "B_flowcharts.ipynb").read_text(encoding="utf-8"))
    outputs = [output for cell in book["cells"] for output in cell.get("outputs", [])]
    return ["".join(output.get("data", {}).get("text/html", "")) for output in outputs]


def name(element):
    return element.tag.rpartition("}")[2]


def drawn(chart):
    return ElementTree.parse(flowcharts.file(chart)).getroot()


@pytest.mark.parametrize("chart", CHARTS, ids=lambda chart: chart.name)
class TestChart:
    def test_boxes_and_answers_of_the_drawing_are_those_of_the_list(self, chart):
        drawn_boxes = [box for box in drawn(chart).iter() if box.get("class") == "node"]
        found = [
            (
                " ".join(next(text for text in box.iter() if text.get("class") == "label").itertext()),
                any(name(part) == "polygon" for part in box.iter()),
            )
            for box in drawn_boxes
        ]
        assert len(found) > 8
        assert found == [(label, bool(node.back)) for label, node in zip(chart.labels(), chart.nodes)]
        answers = [e.text for e in drawn(chart).iter() if e.get("class") == "answer"]
        given = [node.onward for node in chart.nodes if node.onward]
        assert sorted(answers) == sorted(given + [answer for node in chart.nodes for answer, _ in node.back])

    def test_arrows_of_the_drawing_are_those_of_the_list(self, chart):
        found = [e for e in drawn(chart).iter() if name(e) == "path" and e.get("class") == "edge"]
        ends = {(e.get("data-from"), e.get("data-to"), "stroke-dasharray" in e.attrib) for e in found}
        assert len(found) == len(ends)
        assert ends == {(f"n{start}", f"n{end}", end <= start) for start, end, _ in flowcharts.edges(chart)}

    def test_the_drawing_is_what_the_script_makes(self, chart):
        assert flowcharts.file(chart).read_text(encoding="utf-8") == flowcharts.svg(chart), (
            "run `python notebooks/figures/flowcharts.py`"
        )

    def test_the_appendix_stores_picture_links_and_table_of_today(self, chart, stored):
        assert flowcharts.page(chart) + flowcharts.table(chart) in stored, "run appendix B again"

    def test_the_table_says_what_follows_each_box(self, chart):
        table = flowcharts.table(chart)
        rows = table.split("<tr>")[2:]
        assert len(rows) == len(chart.nodes)
        for row, node in zip(rows, chart.nodes):
            assert node.text in row
            assert all(f"{answer}: back to {step}" in row for answer, step in node.back)

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
        in_use = ["Worse than before? Then roll back", "Inputs drifted, or labels due?"]
        in_use += ["Still the success you wrote down?"]
        assert asked_later == (in_use if chart.name == "application" else [])


def test_what_follows_a_drift_is_measuring_and_only_then_new_data():
    texts = [node.text for node in CHARTS[-1].nodes]
    drift = texts.index("Inputs drifted, or labels due?")
    assert texts[drift + 1] == "Measure on new labels"
    assert dict(CHARTS[-1].nodes[drift].back) == {"no": "Monitor"}
    assert dict(CHARTS[-1].nodes[-1].back) == {"yes": "Monitor", "no": "Data"}
    roll_back = CHARTS[-1].nodes[texts.index("Deploy") + 1]
    assert "roll back" in roll_back.text
    assert dict(roll_back.back) == {"yes": "Deploy"}


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
