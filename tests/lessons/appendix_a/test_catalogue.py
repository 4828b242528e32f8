"""Appendix A's tools: versions are found or missing, lines stand in the notebook, choices lead somewhere."""

import ast
import html
import importlib.metadata
import json
import re

import pytest

from helpers.files import ROOT
from lessons.appendix_a import catalogue

NOTEBOOK = ROOT / "notebooks" / "A_tools_and_resources.ipynb"


def normal(code: str) -> str:
    return ast.unparse(ast.parse(code))


def test_versions_are_those_of_the_packages():
    assert catalogue.version("PyTorch") == importlib.metadata.version("torch")
    assert catalogue.version("pdb").startswith("3.")


def test_a_version_of_another_name_says_whose_it_is(monkeypatch):
    assert catalogue.found("pandas") == importlib.metadata.version("pandas")
    assert catalogue.found("torch hub") == f"torch {importlib.metadata.version('torch')}"
    assert catalogue.found("OpenML") == f"scikit-learn {importlib.metadata.version('scikit-learn')}"
    monkeypatch.setattr(catalogue.shutil, "which", lambda name: None)
    assert catalogue.found("Docker") == "not installed here: see its page"
    assert catalogue.found("uv") == "not installed here: pip install uv"
    assert catalogue.found("Colab") == "in the browser"


def test_a_missing_package_is_told_with_its_cure(monkeypatch):
    def missing(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(catalogue.importlib.metadata, "version", missing)
    assert catalogue.version("MLflow") is None
    assert catalogue.found("Label Studio") == "not installed here: pip install label-studio"


def test_a_command_says_its_version(monkeypatch, tmp_path):
    program = tmp_path / "code"
    program.write_text("#!/bin/sh\necho 1.102.3\necho abcdef\n", encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    assert catalogue.version("VS Code") == "1.102.3"


def test_each_line_of_python_stands_in_the_notebook():
    book = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    code = "\n".join(normal("".join(cell["source"])) for cell in book["cells"] if cell["cell_type"] == "code")
    # Not part of the set-up, or they need a network or a person, or another chapter runs them.
    not_run = {
        "Hugging Face Hub",
        "torch hub",
        "OpenML",
        "pdb",
        "TensorFlow",
        "torch.profiler",
        "ONNX Runtime",
    }
    not_run |= {"Weights & Biases", "MLflow", "trackio", "Gradio", "Label Studio", "Colab"}
    for tool in catalogue.TOOLS:
        if not tool.source.startswith("command:") and tool.name not in not_run:
            assert normal(tool.line) in code, f"{tool.name}: {tool.line}"


def test_what_people_look_up_is_there_with_its_line():
    page = "".join(catalogue.as_table(area) for area in ("training", "debugging", "around", "hubs"))
    for name in (
        *("Colab", "TensorBoard", "Weights &amp; Biases", "MLflow", "trackio", "datasets", "Gradio"),
        *("Label Studio", "uv", "Docker", "VS Code", "TensorFlow", "Kaggle"),
    ):
        assert f">{name}</a>" in page
    assert page.count("<code>") == page.count("<tr>") - 4  # one line per tool, none in the heads


def test_papers_have_an_address_or_a_venue_and_the_year_of_their_number():
    assert len(catalogue.PAPERS) > 25
    for paper in catalogue.PAPERS:
        assert bool(paper["arxiv"]) != bool(paper["venue"])
        if paper["arxiv"]:
            assert re.fullmatch(r"\d{4}\.\d{4,5}", paper["arxiv"])
            assert paper["year"] == 2000 + int(paper["arxiv"][:2])
    years = [paper["year"] for paper in catalogue.PAPERS]
    assert years == sorted(years)
    assert catalogue.papers_table().count("<tr>") == len(years) + 1


def test_tools_are_named_once_and_each_can_be_chosen():
    names = [tool.name for tool in catalogue.TOOLS]
    assert len(set(names)) == len(names) > 20
    chosen = {name for *_, name in catalogue.CHOICES}
    assert chosen <= set(names)
    assert set(names) - chosen == {"TensorFlow"}


def test_tables_hold_every_tool_of_their_area():
    for area in ("data", "training", "debugging", "around", "hubs"):
        page = catalogue.as_table(area)
        for tool in catalogue.TOOLS:
            assert (f">{html.escape(tool.name)}</a>" in page) == (tool.area == area)
        assert page.count('<td style="text-align:left;white-space:normal">–</td>') == sum(
            tool.area == area and not tool.section for tool in catalogue.TOOLS
        )


@pytest.mark.parametrize(("have", "want", "name"), catalogue.CHOICES)
def test_the_widget_reaches_every_choice(have, want, name):
    first, second, output = catalogue.chooser().children
    first.value = have
    assert want in second.options
    second.value = want
    assert html.unescape(output.value).startswith(f'<p role="status">Take {name}.')
    assert f"`{catalogue.tool(name).line}`" in html.unescape(output.value)
    section = catalogue.tool(name).section
    assert (f"section {section}." in output.value) if section else ("In the course" not in output.value)
