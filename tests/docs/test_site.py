"""What `make site` builds from: every page in its contents, links that find their headings, charts, widgets.

Sphinx stands in an environment of its own, so the build itself is not run here.
"""

import ast
import fnmatch
import json
import re

import pytest

from helpers.files import ROOT
from lessons.workflows import NOTEBOOKS, anchor, headings

SITE = ROOT / "docs" / "site"


@pytest.fixture
def pages(monkeypatch):
    monkeypatch.syspath_prepend(str(SITE))
    import pages

    return pages


@pytest.fixture(scope="module")
def settings() -> dict:
    """The plain values that conf.py sets."""
    tree = ast.parse((SITE / "conf.py").read_text(encoding="utf-8"))
    found = {}
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant | ast.List | ast.Dict):
            found[node.targets[0].id] = ast.literal_eval(node.value)
    return found


def test_every_notebook_and_page_is_in_the_contents_and_is_read(pages, settings):
    listed = re.findall(r"^(?!:|```)(\S+)$", pages.contents(), flags=re.MULTILINE)
    wanted = [*NOTEBOOKS.glob("*.ipynb"), *(ROOT / "docs").glob("*.md")]
    files = {f"{name}{'.ipynb' if name.startswith('notebooks/') else '.md'}" for name in listed}
    assert {path.relative_to(ROOT).as_posix() for path in wanted} <= files
    assert all((ROOT / file).is_file() for file in files)
    for file in [*files, "README.md"]:
        assert any(fnmatch.fnmatch(file, pattern) for pattern in settings["include_patterns"]), file


def test_nothing_is_executed_and_nothing_comes_from_a_network(settings):
    assert settings["nb_execution_mode"] == "off"
    assert settings["nb_ipywidgets_js"] == {}
    assert settings["html_math_renderer"] == "mathml"
    assert "http" not in (SITE / "conf.py").read_text(encoding="utf-8")


@pytest.mark.parametrize("notebook", sorted(path.name for path in NOTEBOOKS.glob("*.ipynb")))
def test_links_to_headings_are_those_of_the_site(pages, notebook):
    """Headings that two forms of a fragment name: JupyterLab's in the notebooks, GitHub's on the site."""
    for heading in headings(notebook):
        plain = re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")
        text = f"see [it]({notebook}#{anchor(heading)}), and [that](x.md)"
        assert pages.prepared("docs/errors", text) == f"see [it]({notebook}#{plain}), and [that](x.md)"


def test_widgets_become_a_sentence_bars_go_and_pictures_keep_their_words(pages):
    def output(text, **more):
        return {
            "output_type": "display_data",
            "data": {"text/plain": text, **more},
            "metadata": {},
        }

    widget, bar, picture = (
        output("VBox()", **{pages.WIDGET: {}}),
        output("50%|##", **{pages.WIDGET: {}}),
        output("A"),
    )
    cell = {
        "cell_type": "code",
        "metadata": {},
        "source": "environment.set_up()",
        "outputs": [widget, bar, picture],
    }
    book = {"cells": [cell], "metadata": {"widgets": {"state": 1}}}
    found = json.loads(pages.prepared("notebooks/00_start_here", json.dumps(book)))
    said, kept = found["cells"][0]["outputs"]
    assert said["data"] == {"text/plain": "A widget: open the notebook in JupyterLab to use it."}
    assert kept == picture
    assert found["metadata"] == {}
    assert found["cells"][0]["metadata"]["tags"] == ["hide-input"]


def test_the_chart_of_the_architecture_is_drawn_with_all_its_boxes(pages):
    source = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    drawn = pages.prepared("docs/architecture", source)
    assert "```mermaid" not in drawn
    svg = re.search(r"<svg.*?</svg>", drawn, flags=re.DOTALL)[0]
    chart = pages.MERMAID.search(source)[1]
    assert {one for one in re.findall(r'\["([^"]+)"\]', chart)} <= set(re.findall(r">([^<>]+)</text>", svg))
    assert svg.count("marker-end") == chart.count("-->")


def test_the_map_of_chapter_00_stands_there_once(pages):
    name = "00_start_here"
    text = pages.prepared(f"notebooks/{name}", (NOTEBOOKS / f"{name}.ipynb").read_text(encoding="utf-8"))
    assert "mermaid" not in text
    assert text.count('alt=\\"Map of the course') == 1


def test_a_chart_that_is_not_understood_is_an_error(pages):
    with pytest.raises(ValueError, match="pie title"):
        pages.mermaid.figure("pie title Pets")


def test_the_lock_pins_what_the_site_needs_with_hashes():
    lock = (SITE / "requirements.lock").read_text(encoding="utf-8")
    wanted = re.findall(
        r"^([a-z0-9-]+)>=", (SITE / "requirements.in").read_text(encoding="utf-8"), flags=re.MULTILINE
    )
    assert len(wanted) == 4
    assert all(
        re.search(rf"^{name}==\S+.*\\\n    --hash=sha256:", lock, flags=re.MULTILINE) for name in wanted
    )
    assert "http" not in lock
