"""The command `progress`: one's own exercises as a table or as a page to print, or those of many learners."""

import html
import sys
from datetime import UTC, datetime
from pathlib import Path
from string import Template

from helpers import progress
from helpers.errors import InputError
from helpers.files import write_atomically, writing
from helpers.progress import Key, Work

COUNTS = ["solved", "tries", "hints", "solutions shown"]


def add_command(command) -> None:
    """The command `progress`."""
    added = command("progress", run, "what you have done of the exercises, as kept on this machine alone")
    collect = "many learners' records: *.json in this folder and below, named by their files or folders"
    added.add_argument("--collect", type=Path, metavar="FOLDER", help=collect)
    added.add_argument("--certificate", type=Path, metavar="FILE.html", help="write a page, for --name")
    added.add_argument("--name", help="the name on the page")


def run(options) -> None:
    """Print a table, or write the page; InputError for options that do not go together, and as below."""
    if (options.certificate is None) != (options.name is None) or (options.collect and options.certificate):
        raise InputError("give --collect alone, or --certificate and --name together, or none of them")
    if options.collect:
        return collect(options.collect)
    works = own_record()
    if options.certificate:
        certificate(works, options.certificate, options.name)
        print(f"{options.certificate}: open it in a browser to print it")
        return
    print(by_chapter(works).to_string())
    print(f"kept in {progress.place()} and sent nowhere; COURSE_PROGRESS=off keeps nothing")


def own_record() -> dict[Key, Work]:
    """All exercises, with what this learner has done; InputError where that is not kept or cannot be read."""
    file = progress.place()
    if file is None:
        raise InputError("nothing is kept here; set COURSE_PROGRESS to a file, or leave it out")
    try:
        return {key: Work(*key) for key in progress.titles()} | progress.read(file)
    except OSError as error:
        raise InputError(f"{file} cannot be read ({error.strerror})") from error


def table(works: dict[Key, Work]):
    """A DataFrame with a row for each exercise: its names and `COUNTS`; solved and shown are 0 or 1."""
    import pandas as pd

    frame = pd.DataFrame(map(vars, works.values()))
    frame["solutions shown"] = frame["solution"].notna().astype(int)
    frame["solved"] = frame["solved"].notna().astype(int)
    frame["hints"] = frame["hints"].map(len)
    return frame[["chapter", "exercise", *COUNTS]]


def by_chapter(works: dict[Key, Work]):
    """The sums of each chapter and of all as a DataFrame; "2 / 3" are two solved of three."""
    sums = table(works).assign(there=1).groupby("chapter")[[*COUNTS, "there"]].sum()
    sums.loc["all"] = sums.sum()
    sums["solved"] = [f"{row.solved} / {row.there}" for row in sums.itertuples()]
    return sums[COUNTS]


def collect(folder: Path) -> None:
    """Print what each learner has solved and how each exercise went; what cannot be read goes to stderr.

    A `progress.json` is named by its folder, as in a room of `make classroom`, another file by itself. JSON
    that clearly is no record is counted. Raises InputError: no such folder, or no record in it.
    """
    import pandas as pd

    if not folder.is_dir():
        raise InputError(f"{folder} is no folder; name the one that holds the learners' files")
    learners, others, titles = {}, [], progress.titles()
    for file in sorted(folder.rglob("*.json")):
        path, is_own = file.relative_to(folder), file.name == "progress.json" and file.parent != folder
        paths = [path.parent] * is_own + [path.with_suffix(""), path]
        names = ["".join(x if x.isprintable() else f"\\{ord(x):x}" for x in one.as_posix()) for one in paths]
        name = next(name for name in names if name not in learners)
        try:
            learners[name] = table({key: Work(*key) for key in titles} | progress.read(file))
        except (InputError, OSError) as error:
            if progress.is_another(file):
                others.append(names[-1])
            else:
                print(f"not read: {error}", file=sys.stderr)
    if others:
        print(f"left out: {len(others)} JSON files that are no records, such as {others[0]}", file=sys.stderr)
    if not learners:
        raise InputError(f"{folder} holds no record that can be read; collect the progress.json files in it")
    rows = pd.concat(learners, names=["learner"]).reset_index(level="learner")
    solved = rows.groupby(["learner", "chapter"])["solved"].sum().unstack(fill_value=0)
    solved.loc["/ exercises"] = rows.groupby("chapter")["exercise"].nunique()
    print(solved.assign(all=solved.sum(axis=1)).to_string(), end="\n\n")
    rows["title"] = [titles.get(key, "") for key in zip(rows["chapter"], rows["exercise"])]
    rows["tries"] = rows["tries"].where(rows["tries"] > 0)
    each = rows.groupby(["chapter", "exercise", "title"], sort=False)
    each = each.agg({"solved": "sum", "tries": "median"})
    each.columns = ["solved by", "median of tries"]
    print(each.to_string(na_rep="-", float_format="{:g}".format, sparsify=False))
    print(f"learners: {len(learners)}; the median is of those who have tried")


def certificate(works: dict[Key, Work], file: Path, name: str) -> None:
    """Write a page of HTML that lists what was solved.

    Raises InputError: nothing is solved, the name cannot be printed, the file exists or cannot be written.
    """
    name, titles, solved = " ".join(name.split()), progress.titles(), [w for w in works.values() if w.solved]
    if not 1 <= len(name) <= 100 or not name.isprintable():
        raise InputError(f"--name takes 1 to 100 signs that can be printed, found {name[:120]!r}")
    if not solved:
        raise InputError("no exercise is solved yet; the page lists those that `check` has called right")
    if file.exists():
        raise InputError(f"{file} exists; remove it, or name another --certificate")
    parts = {}
    for work in sorted(solved, key=lambda work: work.chapter):
        title = titles.get((work.chapter, work.exercise)) or work.exercise
        mark = " *" if work.solution and work.solution <= work.solved else ""
        parts.setdefault(work.chapter, []).append(f"<li>{html.escape(title)}{mark}</li>\n")
    chapters = "".join(f"<h2>Chapter {name}</h2><ul>\n{''.join(parts[name])}</ul>\n" for name in parts)
    counts = {"solved": len(solved), "all": len(works), "date": datetime.now(UTC).date().isoformat()}
    page = Template(Path(__file__).with_name("certificate.html").read_text(encoding="utf-8"))
    with writing(file.absolute().parent, "name another --certificate"):
        content = page.substitute(counts, name=html.escape(name), chapters=chapters)
        write_atomically(file.absolute(), content.encode())
