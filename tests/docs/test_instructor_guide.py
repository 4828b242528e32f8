"""The instructor's plans add up, end when they say, name sections that exist, and give each its minutes by
the course's rule; what the guide says to run live is in the notebook, and its figures are today's.
"""

import ast
import functools
import json
import re
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pytest

from helpers import doctor
from helpers.cli import main
from helpers.files import ROOT
from lessons import working_time
from lessons.workflows import anchor, heading_of

DOCS = ROOT / "docs"
GUIDE = (DOCS / "instructor_guide.md").read_text(encoding="utf-8")
CLASSROOM = (DOCS / "classroom.md").read_text(encoding="utf-8")
EXERCISES = (DOCS / "exercises_for_instructors.md").read_text(encoding="utf-8")
DURATIONS = json.loads((ROOT / "benchmarks" / "results" / "durations.json").read_text(encoding="utf-8"))
MINUTES_OFF = 5  # from the rule, so that not every new word of a chapter changes the plans
LINK = re.compile(r"\[(?P<title>[^\]]+)\]\(\.\./notebooks/(?P<file>\w+\.ipynb)(?:#(?P<fragment>[^)\s]+))?\)")
LEFT = re.compile(r"(?: with (?:(?P<many>\d) )?exercises? ?(?P<names>[\w., ]*?))? \(−(?P<minutes>\d+)\)")
PLANS = {
    "half a day": ("### Half a day", "13:00"),
    "one day": ("### One day", "17:00"),
    "day one of two": ("#### Day one", "17:00"),
    "day two of two": ("#### Day two", "17:00"),
}
FOR_HOME = {"5.12", "9.4", "9.9"}  # core sections that two days leave out, as the guide says
CHAPTERS = [f"{number:02}" for number in range(13)]
WORDS_PER_MINUTE, MOST_MINUTES = 220, 20  # of reading what the guide's first box names


@dataclass
class Row:
    """A row of a plan: when it begins, minutes of its sections or its own, minutes of talk beside them."""

    clock: str
    minutes: int
    talk: int
    what: str

    @property
    def links(self):
        return list(LINK.finditer(self.what))

    @property
    def is_break(self):
        return self.what.startswith("**")


def section_of(heading: str) -> str:
    """A section of the guide, by its heading with its signs, up to the next one of any level."""
    assert GUIDE.count(f"\n{heading}\n") == 1, heading
    return re.split(r"^#+ ", GUIDE.partition(f"\n{heading}\n")[2], flags=re.MULTILINE)[0]


def rows_of(plan: str) -> list[Row]:
    """The rows of a plan; the last one has no minutes."""
    text = section_of(PLANS[plan][0])
    found = re.findall(r"^\| (\d\d:\d\d) \| (?:(\d+)(?: \+ (\d+))? )?\| (.*) \|$", text, flags=re.MULTILINE)
    return [Row(clock, int(minutes or 0), int(talk or 0), what) for clock, minutes, talk, what in found]


def is_numbered(heading: str) -> bool:
    return bool(re.match(r"(\d+|[AB])\.\d+ ", heading))


@functools.cache
def minutes_by_rule(file: str) -> dict[str, float]:
    """Minutes of the sections of a notebook by their fragment; the recap's are those of all that comes after
    the first cell and has no number.
    """
    found, rest = {}, 0.0
    for heading, section in working_time.sections(working_time.FOLDER / file).items():
        if is_numbered(heading) or not found:
            found[anchor(heading)] = section.minutes
        elif working_time.is_core(heading):
            rest += section.minutes
    return found | {"Recap": rest}


def core_fragments(file: str) -> set[str]:
    """The first cell, the numbered core sections and the recap."""
    sections = list(working_time.sections(working_time.FOLDER / file))
    numbered = {anchor(one) for one in sections if is_numbered(one) and working_time.is_core(one)}
    return numbered | {anchor(sections[0]), "Recap"}


@functools.cache
def exercises_of(file: str) -> list[tuple[str, str, str]]:
    """(number, kind, fragment of the section) of each exercise of a notebook, in their order."""
    found, section = [], ""
    for cell in json.loads((working_time.FOLDER / file).read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] == "markdown":
            for line in working_time.outside_code("".join(cell["source"])):
                if re.match(r"##? ", line):
                    section = anchor(line.lstrip("#").strip())
                if title := re.match(r"#{2,4} Exercise (\S*\d)[^(]*\((\w+)", line):
                    found.append((title[1], title[2], section))
    return found


@pytest.mark.parametrize("plan", PLANS)
def test_the_clock_goes_on_by_the_minutes_of_each_row(plan):
    rows = rows_of(plan)
    assert len(rows) > 12
    assert (rows[-1].what, rows[-1].clock) == ("end", PLANS[plan][1])
    clocks = [60 * int(row.clock[:2]) + int(row.clock[3:]) for row in rows]
    assert [later - now for now, later in pairwise(clocks)] == [row.minutes + row.talk for row in rows[:-1]]


@pytest.mark.parametrize("plan", PLANS)
def test_the_minutes_add_up(plan):
    rows = rows_of(plan)
    assert not [row.what for row in rows if row.is_break and (row.links or row.talk)]
    breaks = sum(row.minutes for row in rows if row.is_break)
    sections = sum(row.minutes for row in rows if row.links)
    whole = sum(row.minutes + row.talk for row in rows)
    said = (
        f"{whole} minutes: {sections} of sections, {whole - sections - breaks} of talk, {breaks} of breaks."
    )
    assert section_of(PLANS[plan][0]).split("\n\n| from")[0].endswith(said)
    assert whole - sections - breaks >= 50, "a day without talk is no day"


@pytest.mark.parametrize("plan", PLANS)
def test_each_section_exists_and_has_the_minutes_of_the_rule(plan):
    wrong, both = [], [0.0, 0.0]
    for row in rows_of(plan):
        if not row.links:
            continue
        by_rule = 0.0
        for link in row.links:
            if link["fragment"] not in minutes_by_rule(link["file"]):
                wrong.append(f"{link['file']} has no heading {link['title']}")
            by_rule += minutes_by_rule(link["file"]).get(link["fragment"], 0.0)
        if abs(row.minutes - by_rule) > MINUTES_OFF:
            wrong.append(f"{row.clock}: {row.minutes}, by the rule {by_rule:.0f}")
        both = [both[0] + row.minutes, both[1] + by_rule]
    assert not wrong
    assert both[0] == pytest.approx(both[1], abs=15), "small errors add up"
    assert both[0] > 100


@pytest.mark.parametrize("plan", PLANS)
def test_what_may_be_left_out_saves_the_minutes_that_are_said(plan):
    """(−8) behind an exercise, or behind a section; each exercise of a section is named with it."""
    marked = 0
    for row in rows_of(plan):
        for link in row.links:
            exercises = [one for one in exercises_of(link["file"]) if one[2] == link["fragment"]]
            left = LEFT.match(row.what, link.end())
            if exercises:
                assert left, f"{row.clock}: {link['title']} has exercises"
                names = [name for name in re.split(r", ", left["names"]) if name]
                assert names == [one[0] for one in exercises] or int(left["many"]) == len(exercises)
                assert int(left["minutes"]) == working_time.MINUTES_PER_EXERCISE * len(exercises)
            elif left:
                by_rule = minutes_by_rule(link["file"])[link["fragment"]]
                assert abs(int(left["minutes"]) - by_rule) <= 2, link["title"]
            marked += bool(left)
    assert marked > 3


@pytest.mark.parametrize("plan", PLANS)
def test_nobody_sits_longer_than_75_minutes(plan):
    stretch = 0
    for row in rows_of(plan):
        stretch = 0 if row.is_break else stretch + row.minutes + row.talk
        assert stretch <= 75, row.clock


@pytest.mark.parametrize("plan", [plan for plan in PLANS if plan != "half a day"])
def test_lunch_begins_at_noon_or_in_the_hour_after(plan):
    (lunch,) = [row for row in rows_of(plan) if row.what.startswith("**Lunch**")]
    assert "12:00" <= lunch.clock < "13:00"
    assert lunch.minutes >= 45


@pytest.mark.parametrize("plan", PLANS)
def test_a_chapter_begins_with_its_opening_and_ends_with_its_recap(plan):
    links = [link for row in rows_of(plan) for link in row.links]
    for file in dict.fromkeys(link["file"] for link in links if not link["file"].startswith("B")):
        fragments = [link["fragment"] for link in links if link["file"] == file]
        places = [list(minutes_by_rule(file)).index(fragment) for fragment in fragments]
        assert places == sorted(set(places))
        assert (places[0], fragments[-1]) == (0, "Recap")


def test_two_days_hold_the_core_paths_but_what_is_named():
    files = sorted(path.name for path in working_time.FOLDER.glob("[01]*.ipynb"))[:11]
    links = [
        link for plan in ("day one of two", "day two of two") for row in rows_of(plan) for link in row.links
    ]
    named = [(link["file"], link["fragment"]) for link in links]
    assert len(set(named)) == len(named)
    wanted = {(file, fragment) for file in files for fragment in core_fragments(file)}
    assert {fragment.split("-")[0] for _, fragment in wanted - set(named)} == FOR_HOME
    assert set(named) < wanted
    said = re.search(r"core paths of 00 to 10 without ([\d., and]+),", section_of("### Two days"))[1]
    assert set(re.findall(r"\d+\.\d+", said)) == FOR_HOME


def test_the_minutes_of_all_core_paths_are_todays():
    said = re.search(r"All core paths of 00 to 08 take (\d+) minutes", section_of("### One day"))[1]
    files = sorted(working_time.FOLDER.glob("0[0-8]*.ipynb"))
    assert abs(int(said) - sum(working_time.work(file)[0].minutes for file in files)) <= 15


def test_each_profile_has_a_plan_with_the_minutes_of_the_rule():
    rows = re.findall(
        r"^\| \*\*(\w+)\*\* \| (\d+) \| (.*) \| .* \|$", section_of("### A plan for each profile"), re.M
    )
    names = re.findall(r"^\| \*\*(\w+)\*\*", section_of("## For whom"), re.M)
    assert [*(name for name, *_ in rows), "teacher"] == names
    for name, minutes, chapters in rows:
        by_rule = 0.0
        for link in LINK.finditer(chapters):
            if link["fragment"]:
                by_rule += minutes_by_rule(link["file"])[link["fragment"]]
            else:
                by_rule += working_time.work(working_time.FOLDER / link["file"])[0].minutes
        assert abs(int(minutes) - by_rule) <= 10, name
        assert int(minutes) <= 220


def words(markdown: str) -> int:
    return len(re.sub(r"\]\([^)]*\)", "]", markdown).split())


def test_what_the_first_box_names_is_read_in_20_minutes():
    assert "**In 30 minutes:** read [Before the day]" in GUIDE
    head, plans = GUIDE.partition("\n## ")[0], section_of("## Plans")
    longest = max(words(section_of(heading)) for heading, _ in PLANS.values())
    read = [head, section_of("## Before the day"), plans, section_of("## In the room")]
    assert sum(map(words, read)) + longest <= WORDS_PER_MINUTE * MOST_MINUTES
    assert GUIDE.index("\n## In the room\n") < GUIDE.index("\n## For whom\n")


def test_every_exercise_has_a_row_with_its_section_and_kind():
    rows = re.findall(
        r"^\| (\S+) \| \[[^\]]+\]\(\.\./notebooks/(\w+\.ipynb)#(\S+)\): (\w+), .+? \| (.+) \|$",
        EXERCISES,
        re.M,
    )
    wanted = [
        (number, path.name, section, kind)
        for path in sorted(working_time.FOLDER.glob("*.ipynb"))
        for number, kind, section in exercises_of(path.name)
    ]
    assert [row[:4] for row in rows] == wanted
    assert len(wanted) > 60
    assert all(len(row[4].split(" | ")) == 3 for row in rows)
    assert EXERCISES.count("**This page spoils every answer.**") == 1


def test_the_answers_of_the_diagnoses_are_the_lessons():
    """Each fault stands behind the letter that it has in the chapter's answers."""
    seen = 0
    for file in sorted((working_time.FOLDER / "lessons").glob("*/answers.py")):
        for function in ast.parse(file.read_text(encoding="utf-8")).body:
            last = function.body[-1] if isinstance(function, ast.FunctionDef) else None
            if not isinstance(last, ast.Return) or not isinstance(last.value, ast.Dict):
                continue
            try:
                answer = ast.literal_eval(last.value)
            except ValueError:
                continue
            if all(isinstance(value, str) for value in answer.values()) and set(map(str, answer)) & {
                "a",
                "A",
            }:
                said = ", ".join(f"`{letter}` {fault}" for letter, fault in answer.items())
                assert said in EXERCISES, said
                seen += 1
    assert seen >= 15


LOW_AND_HIGH = {  # minutes
    "about a minute": (1, 1), "under a minute": (0, 1), "a minute or two": (1, 2), "a few minutes": (2, 5),
    "one to two minutes": (1, 2), "two to three minutes": (2, 3), "two to five minutes": (2, 5),
    "four to five minutes": (4, 5), "about four minutes": (4, 4), "about six minutes": (6, 6),
    "about 20 s": (0, 0.33), "a few seconds": (0, 0.2),
}  # fmt: skip


@pytest.mark.parametrize("chapter", [*CHAPTERS, "A", "B"])
def test_a_chapters_opening_says_what_was_measured(chapter):
    (notebook,) = working_time.FOLDER.glob(f"{chapter}_*.ipynb")
    first = "".join(json.loads(notebook.read_text(encoding="utf-8"))["cells"][0]["source"])
    (phrase,) = [phrase for phrase in LOW_AND_HIGH if re.search(rf"(?:run:\*\*|takes) {phrase}[ .]", first)]
    low, high = LOW_AND_HIGH[phrase]
    assert 0.75 * low <= DURATIONS["chapters"][chapter]["seconds"] / 60 <= 1.25 * high


def test_the_guide_names_the_longest_chapters_and_todays_seconds():
    chapters = DURATIONS["chapters"]
    longest = sorted(chapters, key=lambda name: -chapters[name]["seconds"])[:3]
    assert f"compute longest are {longest[0]}, {longest[1]} and {longest[2]} (" in GUIDE
    images, chat = chapters["06"], chapters["10"]
    assert f"{images['sections']['6.5']:.0f} s of the chapter's {images['seconds']:.0f}" in GUIDE
    assert f"takes minutes ({chat['sections']['10.7']:.0f} s" in GUIDE
    gap = ["7.9", "7.11", "7.12", "7.13", "7.14"]
    seconds = sum(chapters["07"]["sections"][section] for section in gap)
    assert f"(7.9 and 7.11 to 7.14 compute {seconds:.0f} s)" in GUIDE
    assert f"section 0.1 took {chapters['00']['sections']['0.1']:.0f} s" in GUIDE
    assert f"{chapters['00']['seconds']:.0f} s is the tests' run" in GUIDE
    assert (
        f"| chapter 00, all cells on one thread ({chapters['00']['seconds']:.0f} in the tests'" in CLASSROOM
    )


def test_the_sizes_of_a_room_are_those_of_the_command():
    memory = float(
        re.search(r"^MEMORY_GB = ([\d.]+)", (ROOT / "classroom" / "servers.py").read_text(), re.M)[1]
    )
    rows = re.findall(
        r"^\| (\d+) \| (\d+) \| (\d+) \| \d+ \| .* \|$", section_of("## Many learners, bad Wi-Fi"), re.M
    )
    assert [row[0] for row in rows] == ["10", "20", "30"]
    for learners, first, largest in (map(int, row) for row in rows):
        assert (first, largest) == (learners * memory, learners * doctor.NEEDED_MEMORY_GB)
    assert f"{doctor.NEEDED_MEMORY_GB} GB of free memory" in GUIDE
    assert f"and {doctor.NEEDED_DISK_GB:.0f} GB more for runs" in GUIDE


def test_the_lines_of_the_guide_are_those_of_the_readme_and_the_stick():
    """Whoever has no make types the same lines everywhere."""
    stick = (ROOT / "classroom" / "stick_readme.txt").read_text(encoding="utf-8")
    windows = re.search(r"```powershell\n(.*?)```", section_of("## Set-up on each system"), re.S)[
        1
    ].splitlines()
    assert len(windows) == 5
    assert [line for line in windows if line not in stick] == []
    for line in re.findall(r"`(\S+python -m jupyterlab \S+)`", section_of("## Set-up on each system")):
        assert line in stick


def test_the_questions_that_the_notebooks_do_not_ask_are_marked():
    marked = {"4.11", "6.3", "6.5", "6.6", "7.6", "8.6", "9.10", "10.6", "11.9", "12.3"}
    assert set(re.findall(r"\(\[(\d+\.\d+)\]\([^|]*?\)\) † \|", GUIDE)) == marked


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
    part = GUIDE.partition("## Self-check")[2].partition("\n## ")[0]
    questions, answers = part.split("<summary>Answers</summary>")
    asked = re.findall(r"^(\d+)\. (.*)$", questions, flags=re.MULTILINE)
    given = dict(re.findall(r"^(\d+)\. (.*)$", answers, flags=re.MULTILINE))
    assert [number for number, _ in asked] == list(given) == [str(number) for number in range(1, 11)]
    computed = [(number, code[1]) for number, text in asked if (code := re.match(r"What is `(.+)`\?$", text))]
    assert len(computed) == 6
    for number, code in computed:
        answer = re.fullmatch(r"`(.+)`", given[number])[1]
        assert eval(code, {"np": np}) == eval(answer), number


def test_the_table_with_faults_is_refused_twice_and_then_counted(tmp_path, capsys):
    """As the plan of a day says: what a room without tables of its own mends."""
    mine = tmp_path / "mine.csv"
    options = ["--data", str(mine), "--text-column", "comment", "--label-column", "mood", "--dry-run"]

    def said(text: str, status: int) -> str:
        mine.write_text(text, encoding="utf-8")
        assert main(["train", "text", *options]) == status
        return "".join(capsys.readouterr())

    text = (DOCS / "a_table_with_faults.csv").read_text(encoding="utf-8")
    first = said(text, 2)
    assert all(f"row {row} of mine.csv: the " in first for row in (39, 43, 54))
    lines = [line for line in text.splitlines() if not re.match(r"\s*,|.*,$", line)]
    assert len(lines) == len(text.splitlines()) - 3
    second = said("\n".join(lines), 2)
    assert "found 1 for 'Unhappy'" in second
    mended = [line.replace(",Unhappy ", ",unhappy").replace(",hapy", ",happy") for line in lines]
    counted = said("\n".join(mended), 0)
    assert "52 rows after cleaning (55 rows in, 2 conflicting dropped, 1 duplicates dropped" in counted
