"""The learner's own table in a notebook: of all chapters, of one, and a sentence where there is none."""

import html

import pytest

from helpers.files import ROOT
from lessons import progress
from lessons.ch00 import exercises as ch00


@pytest.fixture
def file(tmp_path, monkeypatch):
    file = tmp_path / "<b>" / "progress.json"
    monkeypatch.setenv("COURSE_PROGRESS", str(file))
    return file


def test_the_widget_shows_all_chapters_and_each(file):
    box = progress.show()
    (choice, button), shown = box.children[0].children, box.children[1]
    assert choice.options[:2] == ("all chapters", "00")
    assert choice.options[-1] == "B"
    assert "<td>0 / 3</td>" in shown.value
    ch00.limit.check(ch00.limit.answer)
    assert "<td>1 / 3</td>" not in shown.value
    button.click()
    assert "<td>1 / 3</td>" in shown.value
    assert html.escape(str(file)) in shown.value
    choice.value = "00"
    assert "<td>0.2 (choose and defend): when a person should answer</td>" in shown.value
    assert shown.value.count("<tr>") == 3
    ch00.answers.hint()
    button.click()
    assert choice.value == "00"
    assert shown.value.count("<td>1</td>") == 2


def test_a_broken_record_is_a_sentence(file):
    file.parent.mkdir()
    file.write_text("{")
    shown = progress.show().children[1].value
    assert "is no record of exercises" in shown
    assert "&lt;b&gt;" in shown
    assert file.read_text() == "{"


def test_where_nothing_is_kept_it_says_so(monkeypatch):
    monkeypatch.setenv("COURSE_PROGRESS", "off")
    assert "nothing is kept here" in progress.show().children[1].value


def test_the_usual_place_is_told_without_the_name_of_a_machines_folder(monkeypatch):
    """What a notebook stores of it is the same everywhere."""
    monkeypatch.setenv("COURSE_PROGRESS", "progress-of-nobody.json")
    shown = progress.show().children[1].value
    assert "Kept in progress-of-nobody.json in the course's folder, and sent nowhere." in shown
    assert str(ROOT) not in shown
