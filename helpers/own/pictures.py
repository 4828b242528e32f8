"""Your own pictures from a folder or a labels file, and pictures to be labelled (chapters 02, 05)."""

from pathlib import Path

import pandas as pd

from helpers.errors import InputError, Problem
from helpers.own.tables import judge, read_rows

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".gif", ".bmp", ".webp", ".tif", ".tiff"})
Rows = tuple[pd.DataFrame, list[Problem]]  # labelled rows with the columns that `sources` names
Inputs = tuple[list[str], list[Problem]]  # files to be labelled


def from_folder(folder: str | Path, *, on_bad: str = "stop") -> Rows:
    """Your own images: one sub-folder per class, its name is the label; each image is decoded once as a test.

    Hidden files are ignored; every other file that is no readable image is bad. `id` and `group` are the path
    below `folder`, `path` is the file.
    """
    folder = Path(folder)
    if not folder.is_dir():
        wanted = "give a folder with one sub-folder per class"
        raise InputError(f"the image folder {folder} does not exist; {wanted}")
    rows, problems = [], []
    for path in _visible_files(folder):
        name = path.relative_to(folder).as_posix()
        what = image_problem(path)
        if "/" not in name:
            what = f"lies outside a class folder; move it into {folder.name}/CLASS/"
        if what:
            problems.append(Problem(name, what))
        else:
            rows.append({"id": name, "group": name, "path": str(path), "label": name.split("/")[0]})
    judge(rows, problems, folder, on_bad)
    return pd.DataFrame(rows), problems


def from_labels_file(
    file: str | Path, *, file_column: str = "file", label_column: str = "label", on_bad: str = "stop"
) -> Rows:
    """Your own images named by a CSV file: a column with paths relative to that file, and one with labels.

    `id` is the row number, `group` the path as the file names it; the rest is as in `from_folder`.
    """

    def check(row: dict[str, str]) -> str | None:
        what = image_problem(Path(file).parent / row["file"])
        return f"{row['file']}: {what}" if what else None

    rows, problems = read_rows(Path(file), {"file": file_column, "label": label_column}, on_bad, check)
    frame = pd.DataFrame(rows).rename(columns={"file": "group"})
    frame.insert(2, "path", [str(Path(file).parent / name) for name in frame["group"]])
    return frame, problems


def images_from(data: str | Path, file_column: str, label_column: str, *, on_bad: str = "stop") -> Rows:
    """Your own images: of a labels file, or of a folder with one sub-folder for each class."""
    if Path(data).is_file():
        return from_labels_file(data, file_column=file_column, label_column=label_column, on_bad=on_bad)
    return from_folder(data, on_bad=on_bad)


def image_files(source: Path | list[str], *, on_bad: str = "stop") -> Inputs:
    """The readable images of a folder (sorted by name, sub-folders included) or of a list of paths."""
    files, place = source, Path("the input")
    if isinstance(source, Path):
        if not source.is_dir():
            wanted = "give a folder, or image files on the command line"
            raise InputError(f"{source} is no folder of images; {wanted}")
        files, place = [str(path) for path in _visible_files(source)], source
    faults = {file: image_problem(Path(file)) for file in files}
    good = [file for file in files if not faults[file]]
    problems = [Problem(file, what) for file, what in faults.items() if what]
    judge(good, problems, place, on_bad)
    return good, problems


def image_problem(path: Path) -> str | None:
    """What is wrong with a file that should be a picture, or None."""
    from PIL import Image

    if not path.is_file():
        return "the file does not exist"
    if path.suffix.lower() not in IMAGE_SUFFIXES:
        return f"is no image by its name, expected one of {' '.join(sorted(IMAGE_SUFFIXES))}"
    try:
        with Image.open(path) as image:
            image.load()  # open() reads the header alone: a truncated file shows only when it is decoded
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        return f"cannot be read as an image ({type(error).__name__})"
    return None


def _visible_files(folder: Path) -> list[Path]:
    """All files below a folder but hidden ones; sorted, since a listing's order differs between machines."""
    hidden = lambda path: any(part.startswith(".") for part in path.relative_to(folder).parts)
    return sorted(path for path in folder.rglob("*") if path.is_file() and not hidden(path))
