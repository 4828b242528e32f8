"""What a learner does is kept, once for all notebooks, and no trouble with its file stops a lesson."""

import ast
import json
import os
import re
import subprocess
import sys

import pytest

from helpers import progress
from helpers.files import ROOT
from lessons import keeping
from lessons.ch00 import exercises as ch00
from lessons.exercise import is_untouched

PATHS = os.pathsep.join((str(ROOT), str(ROOT / "notebooks")))


@pytest.fixture
def file(tmp_path, monkeypatch):
    file = tmp_path / "own" / "progress.json"
    monkeypatch.setenv("COURSE_PROGRESS", str(file))
    keeping._say_once.cache_clear()
    return file


def test_tries_hints_solution_and_day_are_kept(file):
    ch00.limit.check(lambda: 3)
    ch00.limit.hint(2)
    ch00.limit.hint(2)
    ch00.limit.hint()
    ch00.limit.check(ch00.limit.answer)
    kept = progress.read(file)["00", "limit"]
    assert (kept.tries, kept.hints, kept.solution) == (2, [1, 2], None)
    assert kept.solved.endswith("+00:00")
    ch00.limit.check(lambda: 3)  # to play with it afterwards costs nothing
    ch00.limit.check(ch00.limit.answer)
    assert progress.read(file)["00", "limit"] == kept
    ch00.answers.solution()
    assert set(progress.read(file)) == {("00", "limit"), ("00", "answers")}
    assert progress.read(file)["00", "answers"].solution
    assert [entry.name for entry in file.parent.iterdir()] == ["progress.json"]


def test_what_the_notebook_gives_is_no_try(file):
    """All cells run from top to bottom leave no trace."""

    def limit(): ...

    ch00.limit.check(limit)
    assert not file.exists()


class Stub(dict): ...


class Begun(dict):
    def __len__(self):
        return 3


@pytest.mark.parametrize(
    ("attempt", "untouched"),
    [
        (Stub, True),
        (Begun, False),
        (lambda rows: None, True),
        (lambda rows: rows, False),
        (lambda: 0.6, False),
        (lambda: {"a": 1}, False),
        (lambda: {"a": ..., "b": ...}, True),
        (lambda rows: sorted(rows)[...], False),
        (len, False),
        (None, False),
    ],
)
def test_an_untouched_attempt_is_known(attempt, untouched):
    assert is_untouched(attempt) is untouched


@pytest.mark.parametrize("path", sorted((ROOT / "notebooks").glob("*.ipynb")), ids=lambda path: path.stem)
def test_a_notebook_gives_no_try(path):
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    sources = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    given = [source for source in sources if re.search(r"^ch\w+\.\w+\.check\(", source, re.M)]
    assert given
    for source in given:
        definition, names = ast.parse(source).body[0], {}
        definition.bases = []  # of a class; a function has none
        exec(compile(ast.Module([definition], []), path.name, "exec"), names)
        begun = definition.name == "choose"  # chapter 01 gives a first plan to improve, which is a try
        assert is_untouched(names[definition.name]) is not begun, source


NOTEBOOK = """
import sys
from lessons.appendix_b import exercises as ch_b
for number in range(40):
    ch_b.watch.check(lambda: 3)
    ch_b.next_step.hint(1 if sys.argv[1] == "a" else 2)
"""


def notebook(code, *arguments, **environment):
    environment = os.environ | {"PYTHONPATH": PATHS} | environment
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@pytest.mark.skipif(os.name != "posix", reason="no lock to wait for")
def test_two_notebooks_at_once_lose_nothing(file):
    both = [notebook(NOTEBOOK, name) for name in "ab"]
    for process in both:
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
        assert "kept" not in out
    record = progress.read(file)
    assert record["B", "watch"].tries == 80
    assert record["B", "next_step"].hints == [1, 2]
    assert [entry.name for entry in file.parent.iterdir()] == ["progress.json"]


def row(**changed):
    return {
        "chapter": "00",
        "exercise": "limit",
        "tries": 1,
        "hints": [],
        "solution": None,
        "solved": None,
    } | changed


def record_of(*rows):
    return json.dumps({"format": progress.FORMAT, "exercises": rows}).encode()


BROKEN = {
    "empty": b"",
    "half": record_of(row())[:-9],
    "binary": b"\xff\x00\xfe",
    "a list": b"[]",
    "another program's": b'{"format": "notes", "exercises": []}',
    "of a later course": record_of().replace(b"course, 1", b"course, 2"),
    "without exercises": json.dumps({"format": progress.FORMAT}).encode(),
    "an unknown field": record_of(row(mark=1)),
    "a missing name": record_of({"chapter": "00"}),
    "negative": record_of(row(tries=-1)),
    "a word for a number": record_of(row(tries="2")),
    "true for a number": record_of(row(tries=True)),
    "no day": record_of(row(solved="yesterday")),
    "no zone": record_of(row(solved="2026-01-01T00:00:00")),
    "solved without a try": record_of(row(tries=0, solved="2026-01-01T00:00:00+00:00")),
    "a name with a control sign": record_of(row(exercise="li\x1bmit")),
    "twice": record_of(row(), row()),
    "deep": b"[" * 100_000,
    "large": record_of() + b" " * progress.MOST_BYTES,
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_file_that_is_no_record_is_set_aside(kind, file, capsys):
    file.parent.mkdir()
    for number in (1, 2):
        file.write_bytes(BROKEN[kind])
        ch00.limit.check(lambda: 3)
        assert (file.parent / f"progress-set-aside-{number}.json").read_bytes() == BROKEN[kind]
        out = capsys.readouterr().out.splitlines()
        assert out[0].startswith("Not yet: ")
        assert "is no record of exercises" in out[1]
        assert f"set aside as progress-set-aside-{number}.json" in out[1]
        assert len(out) == 2
        assert progress.read(file)["00", "limit"].tries == 1


def test_a_record_saved_by_an_editor_of_windows_is_read(file):
    file.parent.mkdir()
    file.write_bytes(b"\xef\xbb\xbf" + record_of(row()))
    ch00.limit.check(lambda: 3)
    assert progress.read(file)["00", "limit"].tries == 2


@pytest.mark.parametrize("kind", ["a folder", "below a file"])
def test_what_cannot_be_kept_is_said_once_and_the_lesson_goes_on(kind, tmp_path, monkeypatch, capsys):
    (tmp_path / "notes").write_text("mine")
    (tmp_path / "folder").mkdir()
    monkeypatch.setenv(
        "COURSE_PROGRESS", str(tmp_path / ("folder" if kind == "a folder" else "notes/x.json"))
    )
    keeping._say_once.cache_clear()
    for _ in range(3):
        ch00.limit.check(ch00.limit.answer)
    out = capsys.readouterr().out.splitlines()
    assert sum(line.startswith("Right. ") for line in out) == 3
    (said,) = (line for line in out if "cannot be kept in" in line)
    assert said.endswith("The lesson goes on.)")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["folder", "notes"]


LOOK = "from helpers import progress; print(progress.place())"


@pytest.mark.parametrize(
    ("environment", "kept"),
    [
        ({"COURSE_PROGRESS": ""}, ROOT / "progress.json"),
        ({"COURSE_PROGRESS": "mine/p.json"}, ROOT / "mine" / "p.json"),
        ({"COURSE_PROGRESS": "off"}, None),
        ({"COURSE_PROGRESS": "", "PYTEST_VERSION": "9"}, None),
        ({"COURSE_PROGRESS": "p.json", "PYTEST_VERSION": "9"}, ROOT / "p.json"),
    ],
)
def test_where_it_is_kept(environment, kept, monkeypatch):
    monkeypatch.delenv("PYTEST_VERSION")
    out, err = notebook(LOOK, **environment).communicate(timeout=60)
    assert out.strip() == str(kept), err


def test_nbval_keeps_nothing(tmp_path):
    """Its kernels know that pytest has started them."""
    assert "PYTEST_VERSION" in os.environ
    cell = {"cell_type": "code", "execution_count": 1, "metadata": {}, "outputs": []}
    look = f"import os, pathlib; said = pathlib.Path({str(tmp_path / 'said')!r})"
    cell["source"] = f"{look}\n_ = said.write_text(str('PYTEST_VERSION' in os.environ))"
    book = {"cells": [cell], "metadata": {}, "nbformat": 4, "nbformat_minor": 4}
    (tmp_path / "one.ipynb").write_text(json.dumps(book))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    command = [sys.executable, "-m", "pytest", "--nbval-lax", "--nbval-current-env", "one.ipynb"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert (tmp_path / "said").read_text() == "True"


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="no git here")
def test_git_ignores_it():
    names = ["progress.json", "progress-set-aside-1.json", ".progress.json-0123abcd"]
    done = subprocess.run(["git", "check-ignore", *names], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.splitlines() == names
