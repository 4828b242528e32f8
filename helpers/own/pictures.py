"""Your own pictures from a folder or a labels file, and pictures to be labelled (chapters 02, 05)."""

import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path

import pandas as pd

from helpers.data.picture_cache import PictureCache
from helpers.display import counting
from helpers.errors import InputError, Problem
from helpers.own.listing import Listing, check_classes, listed, picture_problem, shown
from helpers.own.table import Inputs, shortened
from helpers.own.tables import judge, noticed_groups, read_rows, read_table

CHECK_SIDE = 96  # pixels to which a large picture is shrunk in a check that keeps no copy
ONE_COLOUR = "pictures of one colour"
Rows = tuple[pd.DataFrame, list[Problem]]  # labelled rows with the columns that `sources` names


def from_folder(folder: str | Path, *, on_bad: str = "stop", cache: PictureCache | None = None) -> Rows:
    """Your own images: one sub-folder per class, its name is the label; each image is decoded once as a test.

    A class may have folders below it and links in it. What is hidden or no picture by its name is ignored and
    counted: `attrs["ignored"]` of the rows says how much of what, and how many pictures have one colour only;
    `attrs["noticed"]` names examples. `id` and `group` are the path below `folder`, `path` is the file.

    Args:
        folder: has one sub-folder per class.
        on_bad: "stop", or "skip" to go on without bad pictures and empty classes.
        cache: opens the pictures as the training will, and keeps copies; None only tests them.

    Raises InputError: no such folder, one without classes or with train/ and test/; DataError: bad pictures.
    """
    folder = Path(folder)
    if not os.path.isdir(folder):
        wanted = "give a folder with one sub-folder per class"
        raise InputError(f"the image folder {shown(folder)} does not exist; {wanted}")
    found = listed(folder)
    check_classes(folder, found)
    rows, problems = [], []
    for name, (what, is_one_colour) in zip(
        found.pictures, checked([folder / n for n in found.pictures], cache)
    ):
        if not what and "/" not in name:
            what = f"lies outside a class folder; move it into {folder.name}/CLASS/"
        if what:
            problems.append(Problem(name, what))
            continue
        rows.append({"id": name, "group": name, "path": str(folder / name), "label": name.split("/")[0]})
        if is_one_colour:
            found.note(ONE_COLOUR, name)
    problems = sorted(found.problems + problems, key=lambda problem: problem.where)
    judge(rows, problems, folder, on_bad)
    return with_notes(pd.DataFrame(rows), found), problems


def from_labels_file(
    file: str | Path,
    *,
    file_column: str = "file",
    label_column: str = "label",
    group_column: str | None = None,
    on_bad: str = "stop",
    cache: PictureCache | None = None,
) -> Rows:
    """Your own images named by a CSV file: a column with paths relative to that file, and one with labels.

    `id` is the row number, `group` the field of `group_column` or, where there is none or it is blank, the
    path as the file names it; the rest is as in `from_folder`.
    """
    columns = {"file": file_column, "label": label_column}
    if group_column is not None:
        columns["group"] = group_column
    table, located, folder = read_table(file), {}, Path(file).parent
    with suppress(InputError):  # raised again below, with all the other problems
        read_rows(table, columns, "skip", lambda row: located.update({row["file"]: None}))
    paths = [_located(folder, name) for name in located]
    verdicts = dict(zip(located, checked(paths, cache)))
    located = dict(zip(located, paths))

    def check(row: dict[str, str]) -> str | None:
        what = verdicts[row["file"]][0]
        return f"{shortened(row['file'], 100)}: {what}" if what else None

    rows, problems = read_rows(table, columns, on_bad, check)
    found = Listing()
    for row in rows:
        row["path"] = str(located[row["file"]])
        row["group"] = row.get("group") or row["file"]
        if verdicts[row["file"]][1]:
            found.note(ONE_COLOUR, row["file"])
    frame = pd.DataFrame(rows)[["id", "group", "path", "label"]]
    noticed = [] if group_column is None else noticed_groups(frame, group_column)
    return with_notes(frame, found, noticed), problems


def images_from(
    data: str | Path,
    file_column: str,
    label_column: str,
    group_column: str | None = None,
    *,
    on_bad: str = "stop",
    cache: PictureCache | None = None,
) -> Rows:
    """Your own images: of a labels file, or of a folder with one sub-folder for each class.

    Raises InputError: a folder and a `group_column`, and what the two readers raise.
    """
    if os.path.isfile(data):
        columns = {"file_column": file_column, "label_column": label_column, "group_column": group_column}
        return from_labels_file(data, **columns, on_bad=on_bad, cache=cache)
    if group_column is not None and os.path.isdir(data):
        what = f"{data} is a folder, which has no column {group_column!r} to group its pictures by"
        raise InputError(f"{what}; give a labels file with the columns file, label and {group_column}")
    return from_folder(data, on_bad=on_bad, cache=cache)


def image_files(source: Path | list[str], *, on_bad: str = "stop") -> tuple[Inputs, list[Problem]]:
    """The readable images of a folder (sorted by name, sub-folders included) or of a list of paths.

    What is ignored in a folder is what `from_folder` ignores.
    """
    files, place, problems, noticed = source, Path("the input"), [], []
    if isinstance(source, Path):
        if not os.path.isdir(source):
            wanted = "give a folder, or image files on the command line"
            raise InputError(f"{shown(source)} is no folder of images; {wanted}")
        found = listed(source)
        files, place = [str(source / name) for name in found.pictures], source
        problems = [Problem(shown(source / problem.where), problem.what) for problem in found.problems]
        noticed = found.sentences()
    good = Inputs([], [], ["input"], [], noticed)
    for number, (file, (what, _)) in enumerate(zip(files, checked(files, None)), start=1):
        if what:
            problems.append(Problem(shown(file), what))
            continue
        good.values.append(file)
        good.numbers.append(number)
        good.records.append([file])
    judge(good.values, problems, place, on_bad)
    return good, problems


def checked(paths: list, cache: PictureCache | None) -> list[tuple[str | None, bool]]:
    """For each picture what is wrong with it, or None, and whether it has one colour only; in their order.

    Threads share the cores: decoding does not hold Python's lock.
    """
    opener, verdicts = cache or PictureCache(None, side=CHECK_SIDE), []
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool, counting(len(paths), "pictures") as advance:
        for verdict in pool.map(partial(picture_problem, opener=opener), paths):
            verdicts.append(verdict)
            advance(1)
    return verdicts


def with_notes(frame: pd.DataFrame, found: Listing, noticed: list[str] = ()) -> pd.DataFrame:
    """The frame with what was ignored and noticed in its `attrs`, see `from_folder`."""
    frame.attrs.update(ignored=found.counts(), noticed=[*found.sentences(), *noticed])
    return frame


def _located(folder: Path, name: str) -> Path:
    """The file that a labels file means; it may have been written on Windows."""
    path = folder / name
    if "\\" in name and not os.path.lexists(path):
        return folder / name.replace("\\", "/")
    return path
