"""What pytest (nbval) notes while it runs the chapters: a plugin, loaded by `-p lessons.chapter_runs`.

A chapter that leaves a file in the course's folder fails the run: another one could read it, and would then
need it. Where `COURSE_DURATIONS` names a file, the seconds that the cells of each section took go there, of
each chapter whose cells have all run (`make durations`); what the file holds of other chapters stays.
`python -m lessons.chapter_runs`, called in the folder `notebooks`, writes the instructor guide's table of it.
"""

import json
import os
import re
from collections import defaultdict
from pathlib import Path

from helpers.environment import versions
from helpers.files import ROOT, write_atomically
from lessons import working_time

CACHES = {"__pycache__", ".ipynb_checkpoints", ".pytest_cache"}
NUMBER = re.compile(r"(?:\d+|[AB])\.\d+(?= )")
STORED = ROOT / "benchmarks" / "results" / "durations.json"
GUIDE = ROOT / "docs" / "instructor_guide.md"
REST = "opening and recap"  # the title, the recap and what else has no number

took: dict[str, dict[int, float]] = defaultdict(dict)  # {notebook: {code cell: seconds}}
there_before: set[str] = set()


def sections_of_code(path: Path) -> list[str]:
    """The number ("2.1") of the section of each code cell of a notebook, in the order of the cells."""
    found, section = [], REST
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] == "code":
            found.append(section)
            continue
        for line in working_time.outside_code("".join(cell["source"])):
            if re.match(r"##? ", line):
                number = NUMBER.match(line.lstrip("# "))
                section = number[0] if number else REST
    return found


def sections(path: Path) -> list[str]:
    """`REST` and the numbers of all sections of a notebook, with code or without."""
    numbers = [NUMBER.match(heading) for heading in working_time.sections(path)]
    return [REST, *(number[0] for number in numbers if number)]


def by_section(path: Path, seconds: dict[int, float]) -> dict[str, float] | None:
    """Seconds of each section, from those of each code cell; None if a cell is missing."""
    of_code = sections_of_code(path)
    if set(seconds) != set(range(len(of_code))):
        return None
    sums = dict.fromkeys(sections(path), 0.0)
    for cell, section in enumerate(of_code):
        sums[section] += seconds[cell]
    return {section: round(total, 1) for section, total in sums.items()}


def keep(file: Path, notebooks: Path) -> None:
    """Write the seconds of all chapters that have run as a whole, and say which have not."""
    chapters = json.loads(file.read_text(encoding="utf-8"))["chapters"] if file.exists() else {}
    for name, seconds in took.items():
        found = by_section(notebooks / name, seconds)
        if found is None:
            print(f"\n{name}: a cell has not run or has failed, so its seconds are not kept")
            continue
        chapters[name.partition("_")[0]] = {"seconds": round(sum(found.values()), 1), "sections": found}
    threads = os.environ.get("OMP_NUM_THREADS", "all")
    machine = {"cores": os.cpu_count(), "threads": threads, "versions": versions()}
    content = {"machine": machine, "chapters": dict(sorted(chapters.items()))}
    write_atomically(file, (json.dumps(content, indent=2) + "\n").encode())


def table(durations: dict) -> str:
    """The guide's table: seconds of each chapter, and its longest section."""
    lines = ["| chapter | all cells, seconds | longest section |", "|---|---|---|"]
    for chapter, found in durations["chapters"].items():
        section, longest = max(found["sections"].items(), key=lambda pair: pair[1])
        lines.append(f"| {chapter} | {found['seconds']:.0f} | {section}: {longest:.0f} s |")
    return "\n".join(lines)


def with_table(guide: str, durations: dict) -> str:
    """The guide's text with the table of these durations in the place of its own."""
    return re.sub(
        r"\| chapter \| all cells, seconds .*?(?=\n\n)", lambda _: table(durations), guide, flags=re.DOTALL
    )


def files_of(course: Path) -> set[str]:
    """All files beside the chapters and in the folder of runs, but for caches."""
    found = set()
    for top in ("notebooks", "runs"):
        for folder, inside, names in os.walk(course / top):
            inside[:] = set(inside) - CACHES
            found |= {Path(folder, name).relative_to(course).as_posix() for name in names}
    return found


def pytest_sessionstart(session) -> None:
    """Note which files are there before the first chapter runs."""
    there_before.update(files_of(session.config.rootpath))


def pytest_runtest_logreport(report) -> None:
    """Note how long a cell took; with pytest-xdist the controller gets the reports of all workers."""
    cell = re.fullmatch(r"(?:.*/)?(\w+\.ipynb)::Cell (\d+)", report.nodeid)
    if not cell or report.when != "call":
        return
    seconds = took[cell[1]]
    if report.passed:
        seconds[int(cell[2])] = report.duration


def pytest_sessionfinish(session) -> None:
    """Look for files that were left, and keep the seconds where a file is named."""
    if hasattr(session.config, "workerinput"):  # the controller does it for all
        return
    course = session.config.rootpath
    left = sorted(files_of(course) - there_before)
    if left:
        print(f"\nerror: files were left in the course's folder while its chapters ran: {', '.join(left)}")
        session.exitstatus = 1
    file = os.environ.get("COURSE_DURATIONS", "").strip()
    if file:
        keep(Path(file).absolute(), course / "notebooks")


def main() -> None:
    """Write the table into the guide."""
    durations = json.loads(STORED.read_text(encoding="utf-8"))
    GUIDE.write_text(with_table(GUIDE.read_text(encoding="utf-8"), durations), encoding="utf-8")


if __name__ == "__main__":
    main()
