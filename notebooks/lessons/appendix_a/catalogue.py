"""The tools of appendix A, as `catalogue.toml` lists them, their versions on this machine, and a chooser."""

import html
import importlib.metadata
import platform
import re
import shutil
import subprocess
import tomllib
from dataclasses import dataclass
from pathlib import Path

import ipywidgets as widgets

from lessons.controls import explorer, wide
from lessons.workflows import link_to


@dataclass(frozen=True)
class Tool:
    """One tool.

    Attributes:
        name: as its makers write it.
        area: the section of appendix A: "data", "training", "debugging", "around", "hubs".
        source: "package:NAME", "command:NAME", "python" (part of Python) or "web" (nothing to install):
            how to find its version.
        what: what it is for.
        not_for: when another one is better.
        line: one line of code, of a terminal or of a notebook.
        section: number of a section that does such work, with this tool or another; empty where none does.
        docs: address of its official documentation.
    """

    name: str
    area: str
    source: str
    what: str
    not_for: str
    line: str
    section: str
    docs: str


_TABLES = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
TOOLS = tuple(Tool(**entry) for entry in _TABLES["tools"])
CHOICES = tuple(tuple(choice) for choice in _TABLES["choices"])  # what you have, what you want, the tool


PAPERS = tomllib.loads(Path(__file__).with_name("papers.toml").read_text(encoding="utf-8"))["papers"]


def tool(name: str) -> Tool:
    """The tool of this name."""
    return next(entry for entry in TOOLS if entry.name == name)


def version(name: str) -> str | None:
    """The version of a tool that this machine has, or None."""
    kind, _, where = tool(name).source.partition(":")
    if kind == "web":
        return None
    if kind == "python":
        return platform.python_version()
    if kind == "package":
        try:
            return importlib.metadata.version(where)
        except importlib.metadata.PackageNotFoundError:
            return None
    if shutil.which(where) is None:
        return None
    said = subprocess.run([where, "--version"], capture_output=True, text=True, timeout=30).stdout
    number = re.search(r"\d+(\.\d+)+", said)
    return number.group() if number else "unknown version"


def found(name: str) -> str:
    """What the tables show: the version, after the package's name where the tool itself has another."""
    number, (_, _, package) = version(name), tool(name).source.partition(":")
    if tool(name).source == "web":
        return "in the browser"
    if number is None:
        return f"not installed here: {_how_to_install(name)}"
    same = re.sub(r"\W|_", "", package).lower() == re.sub(r"\W|_", "", name).lower()
    return number if same or not tool(name).source.startswith("package:") else f"{package} {number}"


def as_table(area: str) -> str:
    """The tools of one area as an HTML table: versions found, links to documentation and course."""
    rows = []
    for entry in (t for t in TOOLS if t.area == area):
        section = "–"
        if entry.section:
            section = f'<a href="{html.escape(link_to(entry.section))}">{entry.section}</a>'
        rows.append(
            _row(
                (
                    f'<a href="{entry.docs}">{html.escape(entry.name)}</a>',
                    html.escape(found(entry.name)),
                    *map(html.escape, (entry.what, entry.not_for)),
                    f"<code>{html.escape(entry.line)}</code>",
                    section,
                )
            )
        )
    return _table(("tool", "found", "what for", "when not", "one line", "section"), rows)


def advice(have: str, want: str) -> str:
    """Which tool to take, a line of it, where the course does such work, and when not to take it."""
    name = next((choice[2] for choice in CHOICES if choice[:2] == (have, want)), None)
    if name is None:
        return f"Now choose what you want to do with {have}."
    entry = tool(name)
    place = f" In the course: section {entry.section}." if entry.section else ""
    return f"Take {name}. One line of it: `{entry.line}`.{place} Not for {entry.not_for}."


def chooser() -> widgets.VBox:
    """Two lists, "I have" and "I want", with the advice below."""
    haves = list(dict.fromkeys(have for have, *_ in CHOICES))
    have = widgets.Dropdown(options=haves, description="I have", **wide(70))
    want = widgets.Dropdown(options=_wants(haves[0]), description="I want", **wide(70))
    box = explorer({"have": have, "want": want}, lambda have, want: (None, advice(have, want)))
    have.observe(lambda change: setattr(want, "options", _wants(change["new"])), "value")
    return box


def papers_table() -> str:
    """The papers as an HTML table, each with its address and the section where it matters."""
    rows = []
    for paper in PAPERS:
        number = paper["arxiv"]
        place = f'<a href="https://arxiv.org/abs/{number}">arXiv:{number}</a>' if number else paper["venue"]
        what = f"{paper['authors']}, <i>{html.escape(paper['title'])}</i>, {place}"
        section = f'<a href="{html.escape(link_to(paper["section"]))}">{paper["section"]}</a>'
        rows.append(_row((str(paper["year"]), what, html.escape(paper["why"]), section)))
    return _table(("year", "paper", "why read it", "where"), rows)


def _row(cells: tuple[str, ...]) -> str:
    return "".join(f'<td style="text-align:left;white-space:normal">{cell}</td>' for cell in cells)


def _table(names: tuple[str, ...], rows: list[str]) -> str:
    head = "".join(f'<th style="text-align:left">{name}</th>' for name in names)
    return f"<table><tr>{head}</tr>{''.join(f'<tr>{row}</tr>' for row in rows)}</table>"


def _how_to_install(name: str) -> str:
    kind, _, where = tool(name).source.partition(":")
    return f"pip install {where}" if kind == "package" or where in ("uv", "kaggle") else "see its page"


def _wants(have: str) -> list[str]:
    return [want for owner, want, _ in CHOICES if owner == have]
