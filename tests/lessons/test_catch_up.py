"""Who begins with a later chapter is told what it builds on, and needs nothing that an earlier one wrote."""

import ast
import json
import re
import subprocess
import sys

import pytest

from helpers.errors import InputError
from helpers.files import ROOT
from lessons import catch_up, working_time
from lessons.workflows import heading_of

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
SECTION = re.compile(r"^ +(\d+) min  (\d+\.\d+) .+? \((.+)\)$")
each = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


@each
def test_every_chapter_says_what_it_builds_on(path):
    """Real sections of earlier chapters with the minutes of the rule; words that this chapter has."""
    said = catch_up.lines(path)
    rows = [row.groups() for row in map(SECTION.match, said) if row]
    assert rows or path.name[:2] in ("00", "01")
    for minutes, number, why in rows:
        earlier = catch_up.notebook(number.partition(".")[0])
        assert earlier.name < path.name
        assert int(minutes) == round(working_time.sections(earlier)[heading_of(number)].minutes)
        assert why == "it is pointed to" or all(term in catch_up.terms(earlier) for term in why.split(", "))
    assert said[-1].startswith(f"Begin at the top of notebooks/{path.name}; its core path, ")


def test_a_word_leads_to_the_section_that_explains_it_first():
    assert catch_up.needed(catch_up.notebook("5")) == [catch_up.notebook(name) for name in ("02", "03", "04")]
    assert "epoch" in catch_up.words(catch_up.notebook("07"))["2.1"]
    assert "padding" not in str(catch_up.words(catch_up.notebook("07"))), "chapter 07 explains it itself"
    assert "8.10" in catch_up.linked(catch_up.notebook("12"))
    assert catch_up.is_used("batch", "Two batches.")
    assert not catch_up.is_used("RAM", "a ram")
    assert not catch_up.is_used("key", "a monkey")


@pytest.mark.parametrize("chapter", ["13", "", "0*", "7.1", "C", "-1"])
def test_a_chapter_that_does_not_exist_is_refused_with_those_that_do(chapter):
    with pytest.raises(InputError, match=r"the chapters are 00, 01, .*, 12, A, B$"):
        catch_up.notebook(chapter)


def code_of(path) -> str:
    """The code cells of a notebook as one program, without the lines that only IPython reads."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    sources = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    lines = "\n".join(sources).splitlines()
    return "\n".join(line for line in lines if not line.lstrip().startswith(("%", "!")))


def course_paths(source: str) -> list[str]:
    """What a program reads below the course's folder: "data/large_models.csv" for ROOT / "data" / ..."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
            left, parts = node, []
            while isinstance(left, ast.BinOp) and isinstance(left.right, ast.Constant):
                parts.insert(0, str(left.right.value))
                left = left.left
            if isinstance(left, ast.Name) and left.id in ("ROOT", "RESULTS"):
                found.append("/".join((["benchmarks/results"] if left.id == "RESULTS" else []) + parts))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found += [node.value] * bool(re.search(r"\bruns/|^\.\./", node.value))
    return found


@pytest.fixture(scope="module")
def tracked() -> set[str]:
    """All committed files of the course, and their folders."""
    files = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return {"/".join(line.split("/")[:n]) for line in files.splitlines() for n in range(1, 9)}


@each
def test_no_chapter_reads_a_run_or_a_file_that_another_one_could_have_written(path, tracked):
    """All that a chapter and its lessons name below the course's folder is committed, none of it a run."""
    folder = "ch" + path.name[:2] if path.name[0].isdigit() else f"appendix_{path.name[0].lower()}"
    lessons = sorted((ROOT / "notebooks" / "lessons" / folder).rglob("*.py"))
    sources = [code_of(path), *(file.read_text(encoding="utf-8") for file in lessons)]
    named = sorted({name for source in sources for name in course_paths(source)})
    assert [name for name in named if name.rstrip("/") not in tracked] == []


def test_the_search_sees_a_run_of_another_chapter():
    source = 'a = ROOT / "runs" / "chat"; b = open("../runs/x.csv"); c = stored["runs"]'
    assert course_paths(source) == ["runs/chat", "runs", "../runs/x.csv"]
    assert course_paths('pd.read_csv(ROOT / "data" / "a.csv")') == ["data/a.csv", "data"]


def command(*arguments) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "helpers", "catch-up", *arguments], cwd=ROOT, capture_output=True, text=True
    )


def test_the_command_looks_at_the_machine_and_says_what_the_chapter_builds_on():
    done = command("07")
    assert done.returncode == 0, done.stderr
    assert "no other chapter has to be run first" in done.stdout
    assert done.stdout.endswith("\n".join(catch_up.lines(catch_up.notebook("07"))) + "\n")


def test_the_command_refuses_a_chapter_in_one_sentence_before_it_looks_at_anything():
    done = command("13")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: there is no chapter '13'; the chapters are 00, ")
    assert done.stderr.count("\n") == 1
