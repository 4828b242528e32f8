"""How long each section computes is measured where the chapters run; a chapter that leaves a file fails."""

import json
import os
import re
import subprocess
import sys

import pytest

from helpers.files import ROOT
from lessons import chapter_runs, working_time

NOTEBOOKS = sorted(working_time.FOLDER.glob("*.ipynb"))
DURATIONS = json.loads((ROOT / "benchmarks" / "results" / "durations.json").read_text(encoding="utf-8"))
CHAPTERS = {path.name.partition("_")[0]: path for path in NOTEBOOKS}


def book(*cells) -> str:
    """A notebook: a text is a Markdown cell, ("x = 1",) a code cell."""
    found = []
    for cell in cells:
        if isinstance(cell, str):
            found.append({"cell_type": "markdown", "metadata": {}, "source": cell})
        else:
            code = {"cell_type": "code", "metadata": {}, "outputs": [], "execution_count": None}
            found.append(code | {"source": cell[0]})
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    return json.dumps({"cells": found, "metadata": kernel, "nbformat": 4, "nbformat_minor": 4})


@pytest.fixture
def course(tmp_path):
    """A course of two notebooks."""
    (tmp_path / "notebooks").mkdir()
    cells = ("# 00 One", ("import time",), "## 0.1 A · core", ("time.sleep(1.2)",), "## 0.2 B · optional")
    one = book(*cells, "## Recap", ("time.sleep(0.6)",))
    (tmp_path / "notebooks" / "00_one.ipynb").write_text(one, encoding="utf-8")
    write_second(tmp_path, "x = 1")
    return tmp_path


def write_second(course, code: str) -> None:
    content = book("# 01 Two", "## 1.1 C · core", (code,))
    (course / "notebooks" / "01_two.ipynb").write_text(content, encoding="utf-8")


def run(course, *arguments):
    """Run notebooks of `course` by nbval with the plugin."""
    how = f"-p lessons.chapter_runs --rootdir {course} --nbval-lax --nbval-current-env"
    surroundings = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'notebooks'}"}
    surroundings["COURSE_DURATIONS"] = str(course / "durations.json")
    command = [sys.executable, "-m", "pytest", *how.split(), *arguments]
    return subprocess.run(command, cwd=course, env=surroundings, capture_output=True, text=True)


def test_the_seconds_of_each_section_are_kept_and_those_of_other_chapters_stay(course):
    done = run(course, "-n", "2", "--dist", "loadfile", "notebooks")  # as `make test` does
    assert done.returncode == 0, done.stdout + done.stderr
    kept = json.loads((course / "durations.json").read_text())["chapters"]
    assert list(kept) == ["00", "01"]
    one = kept["00"]["sections"]
    assert list(one) == ["opening and recap", "0.1", "0.2"]
    assert one["0.1"] >= 1.2
    assert one["opening and recap"] >= 0.6
    assert one["0.2"] == 0
    assert kept["00"]["seconds"] == pytest.approx(sum(one.values()), abs=0.01)
    write_second(course, "1 / 0")
    done = run(course, "notebooks/01_two.ipynb")
    assert done.returncode == 1
    assert "01_two.ipynb: a cell has not run or has failed, so its seconds are not kept" in done.stdout
    assert json.loads((course / "durations.json").read_text())["chapters"] == kept


@pytest.mark.parametrize("place", ["kept.csv", "../runs/mine/model.bin"])
def test_a_chapter_that_leaves_a_file_fails(course, place):
    write_second(
        course,
        f"import pathlib; file = pathlib.Path({place!r})\nfile.parent.mkdir(parents=True, "
        "exist_ok=True); file.touch()",
    )
    done = run(course, "notebooks/01_two.ipynb")
    assert done.returncode == 1
    name = "runs/mine/model.bin" if "runs" in place else "notebooks/kept.csv"
    assert f"error: files were left in the course's folder while its chapters ran: {name}" in done.stdout


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_the_stored_seconds_are_those_of_every_section_of_today(chapter):
    stored = DURATIONS["chapters"][chapter]
    wanted = chapter_runs.sections(CHAPTERS[chapter])
    assert list(stored["sections"]) == wanted, "sections have come or gone: make durations"
    assert stored["seconds"] == pytest.approx(sum(stored["sections"].values()), abs=0.1)
    assert stored["seconds"] > 0


def test_all_chapters_are_stored():
    assert set(DURATIONS["chapters"]) == set(CHAPTERS)
    assert DURATIONS["machine"]["versions"]["torch"]


def test_the_guide_has_todays_table():
    guide = chapter_runs.GUIDE.read_text(encoding="utf-8")
    assert chapter_runs.table(DURATIONS) in guide
    assert guide == chapter_runs.with_table(guide, DURATIONS)
    other = {"chapters": {"00": {"seconds": 5.0, "sections": {"opening and recap": 1.0, "0.1": 4.0}}}}
    assert "| 00 | 5 | 0.1: 4 s |" in chapter_runs.with_table(guide, other)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_code_cell_belongs_to_a_section(path):
    """And no number of a section is lost: as many headings begin with one."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    assert len(chapter_runs.sections_of_code(path)) == sum(cell["cell_type"] == "code" for cell in cells)
    headings = re.findall(r"^## (\S+\.\d+) ", "\n".join("".join(cell["source"]) for cell in cells), re.M)
    assert chapter_runs.sections(path)[1:] == headings
