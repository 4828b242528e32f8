"""The instructor's plans add up, name sections that exist, and give each its minutes by the course's rule;
what the guide says to run live is in the notebook.
"""

import functools
import json
import re
from itertools import pairwise

import numpy as np
import pytest

from helpers.files import ROOT
from lessons import working_time
from lessons.workflows import anchor, heading_of

GUIDE = (ROOT / "docs" / "instructor_guide.md").read_text(encoding="utf-8")
MINUTES_OFF = 5  # from the rule, so that not every new word of a chapter changes the plans
LINK = re.compile(r"\[(?P<title>.+?)\]\(\.\./notebooks/(?P<file>\w+\.ipynb)#(?P<fragment>[^)\s]+)\)")
PLANS = {
    "half a day": "### Half a day",
    "one day": "### One day",
    "day one of two": "#### Day one",
    "day two of two": "#### Day two",
}
CHAPTERS = [f"{number:02}" for number in range(13)]


def rows_of(plan: str) -> list[tuple[str, int, str]]:
    """(clock, minutes, what) of each row of a plan, with a last row of 0 minutes."""
    text = re.split(r"^#+ ", GUIDE.partition(PLANS[plan] + "\n")[2], flags=re.MULTILINE)[0]
    found = re.findall(r"^\| (\d\d:\d\d) \| (?:(\d+) )?\| (.*) \|$", text, flags=re.MULTILINE)
    return [(clock, int(minutes or 0), what) for clock, minutes, what in found]


def is_numbered(heading: str) -> bool:
    return bool(re.match(r"(\d+|[AB])\.\d+ ", heading))


@functools.cache
def minutes_by_rule(file: str) -> dict[str, float]:
    """Minutes of the numbered sections of a notebook by their fragment; its title's are those of the rest."""
    found, rest, title = {}, 0.0, ""
    for heading, section in working_time.sections(working_time.FOLDER / file).items():
        title = title or heading
        if is_numbered(heading):
            found[anchor(heading)] = section.minutes
        elif working_time.is_core(heading):
            rest += section.minutes
    return found | {anchor(title): rest}


def core_fragments(file: str) -> set[str]:
    sections = working_time.sections(working_time.FOLDER / file)
    return {anchor(one) for one in sections if is_numbered(one) and working_time.is_core(one)}


@pytest.mark.parametrize("plan", PLANS)
def test_the_clock_goes_on_by_the_minutes_of_each_row(plan):
    rows = rows_of(plan)
    assert len(rows) > 20
    assert rows[-1][2] == "end"
    clocks = [60 * int(clock[:2]) + int(clock[3:]) for clock, *_ in rows]
    assert [later - now for now, later in pairwise(clocks)] == [minutes for _, minutes, _ in rows[:-1]]


@pytest.mark.parametrize("plan", PLANS)
def test_the_minutes_add_up(plan):
    rows = rows_of(plan)
    breaks = sum(minutes for _, minutes, what in rows if what.startswith("**"))
    sections = sum(minutes for _, minutes, what in rows if LINK.match(what))
    whole = sum(minutes for _, minutes, _ in rows)
    said = (
        f"{whole} minutes: {sections} of sections, {whole - sections - breaks} of welcome and questions, "
        f"{breaks} of breaks."
    )
    assert GUIDE.partition(PLANS[plan] + "\n")[2].split("\n\n| from")[0].endswith(said)


@pytest.mark.parametrize("plan", PLANS)
def test_each_section_exists_and_has_the_minutes_of_the_rule(plan):
    found = [(LINK.match(what), minutes) for _, minutes, what in rows_of(plan)]
    found = [(link, minutes) for link, minutes in found if link]
    assert len(found) > 20
    wrong = []
    for link, minutes in found:
        by_rule = minutes_by_rule(link["file"])
        if link["fragment"] not in by_rule:
            wrong.append(f"{link['file']} has no heading {link['title']}")
        elif abs(minutes - by_rule[link["fragment"]]) > MINUTES_OFF:
            wrong.append(f"{link['title']}: {minutes}, by the rule {by_rule[link['fragment']]:.0f}")
    assert not wrong
    by_rule = sum(minutes_by_rule(link["file"])[link["fragment"]] for link, _ in found)
    assert sum(minutes for _, minutes in found) == pytest.approx(by_rule, abs=15), "small errors add up"


@pytest.mark.parametrize("plan", PLANS)
def test_nobody_sits_longer_than_two_hours(plan):
    stretch = 0
    for _, minutes, what in rows_of(plan):
        stretch = 0 if what.startswith("**") else stretch + minutes
        assert stretch <= 120, what


def test_the_plans_of_whole_days_hold_the_core_paths():
    """One day: chapters 00 to 08. Two days: 00 to 10, each section once."""
    files = sorted(path.name for path in working_time.FOLDER.glob("[01]*.ipynb"))
    for plans, last in ((["one day"], 8), (["day one of two", "day two of two"], 10)):
        links = [LINK.match(what) for plan in plans for _, _, what in rows_of(plan)]
        named = [(link["file"], link["fragment"]) for link in links if link]
        assert len(set(named)) == len(named)
        wanted = {(file, fragment) for file in files[: last + 1] for fragment in core_fragments(file)}
        titles = {(file, list(minutes_by_rule(file))[-1]) for file in files[: last + 1]}
        assert set(named) == wanted | titles


def chapter_of_guide(chapter: str) -> str:
    return GUIDE.partition(f"\n### {chapter} ")[2].partition("\n### ")[0]


@pytest.mark.parametrize("chapter", CHAPTERS)
def test_a_chapter_has_its_point_its_questions_and_a_cell_to_run(chapter):
    text = chapter_of_guide(chapter)
    (notebook,) = working_time.FOLDER.glob(f"{chapter}_*.ipynb")
    questions = re.findall(r"^\| (?!ask the room|---)(.+?) \| .+ \| .+ \|$", text, flags=re.MULTILINE)
    assert "**The point:**" in text
    assert len(questions) == 3
    assert all(f"../notebooks/{notebook.name}#" in question for question in questions)
    assert len(re.findall(r"^\* \*\*Stuck:\*\*.*\*Say:\*", text, flags=re.MULTILINE)) >= 2
    (live,) = re.findall(r"^\* \*\*Live:\*\* (.*)$", text, flags=re.MULTILINE)
    code = re.findall(r"`([^`]+)`", live)[0]
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    assert any(code in "".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"), code


def test_the_sections_that_the_guide_names_by_number_exist():
    advice = GUIDE.partition("## Chapter by chapter")[2]
    prose = re.sub(r"\]\([^)]*\)|[Ee]xercise \d+\.\d+|`[^`]*`", "]", advice)
    numbers = set(re.findall(r"(?<![\d.])\d{1,2}\.\d{1,2}(?![\d.])", prose))
    assert len(numbers) > 40
    assert all(heading_of(number) for number in numbers)


def test_the_answers_of_the_self_check_are_right():
    part = GUIDE.partition("## Self-check")[2].partition("## Plans")[0]
    questions, answers = part.split("<summary>Answers</summary>")
    asked = re.findall(r"^(\d+)\. (.*)$", questions, flags=re.MULTILINE)
    given = dict(re.findall(r"^(\d+)\. (.*)$", answers, flags=re.MULTILINE))
    assert [number for number, _ in asked] == list(given) == [str(number) for number in range(1, 11)]
    computed = [(number, code[1]) for number, text in asked if (code := re.match(r"What is `(.+)`\?$", text))]
    assert len(computed) == 7
    for number, code in computed:
        answer = re.fullmatch(r"`(.+)`", given[number])[1]
        assert eval(code, {"np": np}) == eval(answer), number
