"""The command `progress`: one's own table, a page to print, the records of a class."""

import importlib
import json
import os
import re
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from html.parser import HTMLParser

import pytest

from helpers import progress
from helpers.cli import main
from helpers.files import ROOT
from helpers.progress import Work

DAY = "2026-11-26T10:00:00+00:00"
LATER = "2026-11-27T10:00:00+00:00"
DONE = (
    Work("00", "limit", tries=2, hints=[1, 2], solved=DAY),
    Work("00", "answers", tries=1, solution=DAY, solved=LATER),
    Work("03", "five_logs", tries=4, solution=DAY),
    Work("11", "audit", tries=1, solution=LATER, solved=DAY),
)


def write(file, *works):
    file.parent.mkdir(parents=True, exist_ok=True)
    record = {"format": progress.FORMAT, "exercises": [vars(work) for work in works]}
    file.write_text(json.dumps(record), encoding="utf-8")
    return file


@pytest.fixture
def own(tmp_path, monkeypatch):
    file = write(tmp_path / "progress.json", *DONE)
    monkeypatch.setenv("COURSE_PROGRESS", str(file))
    return file


def rows(out):
    return [line.split() for line in out.splitlines()]


def test_titles_are_those_of_the_notebooks():
    titles = progress.titles()
    assert titles["00", "limit"] == "0.2 (choose and defend): when a person should answer"
    assert titles["08", "choose_model"] == "8.2 (choose and defend): a phone, a watch and a server"
    assert titles["A", "tools"].startswith("A.3 ")
    assert len(set(titles)) == len(set((key[0], title) for key, title in titles.items()))


def test_a_process_prints_the_table(own):
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-m", "helpers", "progress"], env=environment, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    table = rows(done.stdout)
    assert ["00", "2", "/", "3", "3", "2", "1"] in table
    assert ["03", "0", "/", "3", "4", "0", "1"] in table
    assert ["all", "3", "/", str(len(progress.titles())), "8", "2", "3"] in table
    assert done.stdout.splitlines()[-1].startswith(f"kept in {own} and sent nowhere")


def test_nothing_done_is_a_table_of_zeros(own, capsys):
    own.unlink()
    assert main(["progress"]) == 0
    assert ["all", "0", "/", str(len(progress.titles())), "0", "0", "0"] in rows(capsys.readouterr().out)
    assert not own.exists()


def test_an_exercise_that_the_notebooks_no_longer_have_is_counted(own, capsys):
    write(own, *DONE, Work("00", "given_up", tries=1, solved=DAY))
    assert main(["progress"]) == 0
    assert ["00", "3", "/", "4", "4", "2", "1"] in rows(capsys.readouterr().out)


def refused(arguments, sentence, capsys):
    assert main(["progress", *map(str, arguments)]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("error: ")
    assert sentence in said.err.splitlines()[-1]


def test_a_broken_record_is_a_sentence_and_stays(own, capsys):
    own.write_text("{")
    refused([], "is no record of exercises", capsys)
    assert own.read_text() == "{"


def test_a_folder_in_its_place_is_a_sentence(own, capsys):
    own.unlink()
    own.mkdir()
    refused([], "cannot be read", capsys)


def test_where_nothing_is_kept_it_says_so(monkeypatch, capsys):
    monkeypatch.setenv("COURSE_PROGRESS", "off")
    refused([], "nothing is kept here", capsys)


class Page(HTMLParser):
    """The texts of each element, and all attributes."""

    def __init__(self, text):
        super().__init__()
        self.texts, self.attributes, self.open = {}, [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.attributes += attributes
        if tag != "meta":
            self.open.append(tag)
            self.texts.setdefault(tag, []).append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open:
            self.texts[self.open[-1]][-1] += data


def test_the_page_lists_what_was_solved(own, tmp_path, capsys):
    file, name = tmp_path / "page.html", 'Zoë  <script>alert("1")</script> & Søn'
    assert main(["progress", "--certificate", str(file), "--name", name]) == 0
    assert str(file) in capsys.readouterr().out
    page = Page(file.read_text(encoding="utf-8"))
    assert page.texts["bdi"] == ['Zoë <script>alert("1")</script> & Søn']
    assert page.texts["h2"] == ["Chapter 00", "Chapter 11"]
    assert [line.strip() for line in page.texts["li"]] == [
        "0.2 (choose and defend): when a person should answer",
        "0.3 (build): from logits to answers *",
        "11.5 (build): the check",
    ]
    said = " ".join(page.texts["p"])
    assert f"3 of {len(progress.titles())} exercises, as of {datetime.now(UTC).date()} (UTC)" in said
    assert "not proof of identity" in said
    assert not {"script", "img", "link", "iframe"} & set(page.texts)
    assert not [name for name, _ in page.attributes if name in ("src", "href")]
    assert not re.search(r"https?:|url\(|@import", file.read_text(encoding="utf-8"))
    assert ("content", "default-src 'none'; style-src 'unsafe-inline'") in page.attributes


def test_the_page_is_refused_with_a_sentence(own, tmp_path, capsys):
    file = tmp_path / "page.html"
    refused(["--certificate", file], "--certificate and --name together", capsys)
    refused(["--name", "Zoë"], "--certificate and --name together", capsys)
    refused(["--certificate", file, "--name", "Zoë", "--collect", tmp_path], "give --collect alone", capsys)
    for name in (" ", "x" * 101, "Zo\x1b[1më", "Zo\udcffë", "Zo\u202eë"):
        refused(["--certificate", file, "--name", name], "1 to 100 signs", capsys)
    refused(["--certificate", tmp_path / "none" / "page.html", "--name", "Zoë"], "cannot be written", capsys)
    refused(["--certificate", own, "--name", "Zoë"], "exists", capsys)
    write(own, *(work for work in DONE if not work.solved))
    refused(["--certificate", file, "--name", "Zoë"], "no exercise is solved yet", capsys)
    assert not file.exists()


def test_a_class_is_collected(own, tmp_path, capsys):
    folder = tmp_path / "handed in"
    write(folder / "Zoë.json", *DONE)
    write(
        folder / "group b" / "bo.json",
        Work("00", "limit", tries=5),
        Work("03", "five_logs", tries=1, solved=DAY),
    )
    write(
        folder / "cy\x1b.json",
        Work("00", "limit", tries=3, solved=DAY),
        Work("Z", "own", tries=1, solved=DAY),
    )
    (folder / "half.json").write_text('{"format"')
    (folder / "folder.json").mkdir()
    (folder / "notes.txt").write_text("no record, and not asked for")
    assert main(["progress", "--collect", str(folder)]) == 0
    said = capsys.readouterr()
    first, second = said.out.split("\n\n")
    table = {row[0]: row for row in rows(first)}
    assert table["chapter"][1:] == [*sorted({key[0] for key in progress.titles()}), "Z", "all"]
    assert table["Zoë"] == ["Zoë", "2", "0", "0", "0", *"0" * 7, "1", *"0" * 4, "3"]
    assert table["cy\\1b"] == ["cy\\1b", "1", *"0" * 14, "1", "2"]
    assert "group b/bo" in first
    assert table["/"][-1] == str(len(progress.titles()) + 1)
    lines = {tuple(row[:2]): row for row in rows(second)}
    assert lines["00", "limit"][-2:] == ["2", "3"]  # tries 2, 5, 3
    assert lines["03", "five_logs"][-2:] == ["1", "2.5"]
    assert lines["01", "choose"][-2:] == ["0", "-"]
    assert second.splitlines()[-1].startswith("learners: 3;")
    problems = said.err.splitlines()
    assert len(problems) == 2
    assert all(problem.startswith("not read: ") for problem in problems)
    assert "folder.json" in problems[0]
    assert "half.json is no record of exercises" in problems[1]


def learners_of(out):
    """The names in the first table of a class."""
    lines = out.split("\n\n")[0].splitlines()[1:]
    return [re.split(r"  +", line)[0] for line in lines if not line.startswith(("learner ", "/ exercises"))]


def test_the_learners_of_a_room_are_named_by_their_folders(own, tmp_path, monkeypatch, capsys):
    """A folder that `make classroom` made: each has a copy of the course, with all its JSON files."""
    monkeypatch.syspath_prepend(str(ROOT / "classroom"))
    rooms = importlib.import_module("rooms")
    for part in ("helpers", "notebooks", "data/fetched"):
        (tmp_path / "course" / part).mkdir(parents=True)
    shutil.copytree(ROOT / "benchmarks" / "results", tmp_path / "course" / "benchmarks" / "results")
    learners = rooms.room(tmp_path / "room", 3, "127.0.0.1", 9000, tmp_path / "course")
    write(learners[0].folder / "progress.json", *DONE)
    write(learners[1].folder / "progress.json", Work("00", "limit", tries=1, solved=DAY))
    (learners[1].folder / "runs").mkdir()
    (learners[1].folder / "runs" / "config.json").write_text('{"format": "a run"}')
    assert main(["progress", "--collect", str(tmp_path / "room")]) == 0
    said = capsys.readouterr()
    assert learners_of(said.out) == ["learner01", "learner02"]
    results = len(list((ROOT / "benchmarks" / "results").glob("*.json")))
    left = 3 * results + 1 + 1  # of the copies, of a run, and the room's tokens
    (line,) = said.err.splitlines()
    assert line.startswith(f"left out: {left} JSON files that are no records, such as learner01/benchmarks/")


def test_files_of_the_same_name_are_told_apart_by_their_folders(own, tmp_path, capsys):
    folder = tmp_path / "in"
    for path in ("anna/progress.json", "bo/progress.json", "anna.json", "day 2/anna.json", "progress.json"):
        write(folder / path, *DONE)
    assert main(["progress", "--collect", str(folder)]) == 0
    said = capsys.readouterr()
    assert said.err == ""
    assert learners_of(said.out) == ["anna", "anna.json", "bo", "day 2/anna", "progress"]


def test_a_damaged_record_is_never_taken_for_another_file(own, tmp_path, capsys):
    folder = tmp_path / "in"
    write(folder / "anna" / "progress.json", *DONE)
    (folder / "bo").mkdir()
    (folder / "bo" / "progress.json").write_text("{}")
    (folder / "cy.json").write_text(json.dumps({"format": f"{progress.FORMAT[:-1]}2"}))
    (folder / "di.json").write_text('{"exercises": [')
    (folder / "list.json").write_text("[1, 2]")
    assert main(["progress", "--collect", str(folder)]) == 0
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(": ")[0] for line in lines] == ["not read"] * 3 + ["left out"]
    assert lines[-1] == "left out: 1 JSON files that are no records, such as list.json"


def test_a_folder_without_records_is_refused(own, tmp_path, capsys):
    refused(["--collect", tmp_path / "none"], "is no folder", capsys)
    refused(["--collect", own], "is no folder", capsys)
    (tmp_path / "in").mkdir()
    refused(["--collect", tmp_path / "in"], "holds no record that can be read", capsys)
    (tmp_path / "in" / "half.json").write_text("{")
    assert main(["progress", "--collect", str(tmp_path / "in")]) == 2
    assert "not read: " in capsys.readouterr().err


def test_a_notebook_that_cannot_be_read_is_named(own, tmp_path, monkeypatch, capsys):
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks" / "00_half.ipynb").write_text('{"cells": [')
    monkeypatch.setattr(progress, "ROOT", tmp_path)
    refused([], "00_half.ipynb cannot be read as a notebook", capsys)
