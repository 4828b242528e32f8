"""Your own rows from a CSV file, an image folder or a labels file, and inputs to predict (chapters 02, 05).

Every reader returns what is good and the problems of what it left out; `on_bad` and errors: see `from_csv`.
"""

import csv
import io
from pathlib import Path

import pandas as pd

from helpers.errors import DataError, InputError, Problem

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".gif", ".bmp", ".webp", ".tif", ".tiff"})
NOT_UTF8 = "is not valid UTF-8; save the file as UTF-8"
Rows = tuple[pd.DataFrame, list[Problem]]  # labelled rows with the columns that `sources` names
Inputs = tuple[list[str], list[Problem]]  # texts or image files to be labelled


def from_csv(
    file: str | Path,
    *,
    text_column: str = "text",
    label_column: str | None = "label",
    group_column: str | None = None,
    on_bad: str = "stop",
) -> Rows:
    """Your own texts: a CSV file with a header, separated by comma, semicolon or tab, in UTF-8.

    Args:
        label_column: name of the column with the labels; None reads texts without labels.
        group_column: rows with the same value stay on one side of a split (one author, one article).
        on_bad: "stop" raises when any row is bad, "skip" leaves bad rows out and returns what was wrong.

    Returns:
        The good rows (`id` is the row number as a spreadsheet shows it: the header is row 1), the problems.

    Raises:
        DataError: some rows are bad and `on_bad` is "stop".
        InputError: the file is missing, empty, lacks a column, or holds no good row.
    """
    named = {"text": text_column, "label": label_column, "group": group_column}
    columns = {role: name for role, name in named.items() if name is not None}
    rows, problems = _read_rows(Path(file), columns, on_bad)
    frame = pd.DataFrame(rows)
    if group_column is None:
        frame["group"] = frame["id"]
    return frame, problems


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
        what = _image_problem(path)
        if "/" not in name:
            what = f"lies outside a class folder; move it into {folder.name}/CLASS/"
        if what:
            problems.append(Problem(name, what))
        else:
            rows.append({"id": name, "group": name, "path": str(path), "label": name.split("/")[0]})
    _judge(rows, problems, folder, on_bad)
    return pd.DataFrame(rows), problems


def from_labels_file(
    file: str | Path, *, file_column: str = "file", label_column: str = "label", on_bad: str = "stop"
) -> Rows:
    """Your own images named by a CSV file: a column with paths relative to that file, and one with labels.

    `id` is the row number, `group` the path as the file names it; the rest is as in `from_folder`.
    """
    rows, problems = _read_rows(Path(file), {"file": file_column, "label": label_column}, on_bad)
    frame = pd.DataFrame(rows).rename(columns={"file": "group"})
    frame.insert(2, "path", [str(Path(file).parent / name) for name in frame["group"]])
    return frame, problems


def images_from(data: str | Path, file_column: str, label_column: str, *, on_bad: str = "stop") -> Rows:
    """Your own images: of a labels file, or of a folder with one sub-folder for each class."""
    if Path(data).is_file():
        return from_labels_file(data, file_column=file_column, label_column=label_column, on_bad=on_bad)
    return from_folder(data, on_bad=on_bad)


def texts_from(source: Path | list[str], text_column: str, *, on_bad: str = "stop") -> Inputs:
    """Texts to be labelled: a list, a .txt file in UTF-8 with one on each line, or a column of a CSV file."""
    where, texts = "input {}", source
    if isinstance(source, Path):
        if source.suffix.lower() != ".txt":
            frame, problems = from_csv(source, text_column=text_column, label_column=None, on_bad=on_bad)
            return frame["text"].tolist(), problems
        content = _decoded(source, "a .txt file with one text per line").replace("\r\n", "\n")
        where, texts = f"line {{}} of {source.name}", content.rstrip("\n").split("\n")
    good, problems = [], []
    for number, text in enumerate(texts, start=1):
        # U+FFFD stands where another program could not decode the text.
        what = NOT_UTF8 if "\ufffd" in text else _field_problem("text", text)
        if what:
            problems.append(Problem(where.format(number), what))
        else:
            good.append(text)
    _judge(good, problems, Path("the input"), on_bad)
    return good, problems


def image_files(source: Path | list[str], *, on_bad: str = "stop") -> Inputs:
    """The readable images of a folder (sorted by name, sub-folders included) or of a list of paths."""
    files, place = source, Path("the input")
    if isinstance(source, Path):
        if not source.is_dir():
            wanted = "give a folder, or image files on the command line"
            raise InputError(f"{source} is no folder of images; {wanted}")
        files, place = [str(path) for path in _visible_files(source)], source
    faults = {file: _image_problem(Path(file)) for file in files}
    good = [file for file in files if not faults[file]]
    problems = [Problem(file, what) for file, what in faults.items() if what]
    _judge(good, problems, place, on_bad)
    return good, problems


def separator(text: str) -> str:
    """The separator of a table: the one of comma, semicolon and tab that its first line has most of."""
    first_line = text.lstrip().splitlines()[0]
    return max(",;\t", key=first_line.count)


def _read_rows(file: Path, columns: dict[str, str], on_bad: str) -> tuple[list[dict], list[Problem]]:
    """The good records of a CSV file as {"id": row number, role: field, ...}; `columns` is {role: name}."""
    text = _decoded(file, "the path of a CSV file")
    if text.startswith(("\udcff\udcfe", "\udcfe\udcff")):  # a mark that no UTF-8 begins with
        raise InputError(f"{file.name} is UTF-16, expected UTF-8; save it as 'CSV UTF-8' and try again")
    if not text.strip():
        raise InputError(f"{file.name} is empty, expected a header line and rows below it")
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator(text))
    header = [name.strip() for name in next(reader)]
    for name in columns.values():
        if name not in header:
            found = f"found {', '.join(map(repr, header))}; name yours with --text-column and --label-column"
            raise InputError(f"{file.name} has no column {name!r}, {found}")
    places = {role: header.index(name) for role, name in columns.items()}
    rows, problems = [], []
    for number, record in enumerate(reader, start=2):
        fields = [field.strip() for field in record]
        if not any(fields):
            continue  # a blank line is no row
        if len(record) != len(header):
            what = f"expected {len(header)} fields, found {len(record)}; quote fields that hold the separator"
        else:
            row = {"id": str(number)} | {role: fields[place] for role, place in places.items()}
            what = _row_problem(row, file.parent)
        if what:
            problems.append(Problem(f"row {number} of {file.name}", what))
        else:
            rows.append(row)
    _judge(rows, problems, file, on_bad)
    return rows, problems


def _decoded(file: Path, wanted: str) -> str:
    if not file.is_file():
        raise InputError(f"the file {file} does not exist; give {wanted}")
    # surrogateescape keeps undecodable bytes visible, so that only the rows that hold them are refused.
    return file.read_bytes().decode("utf-8-sig", errors="surrogateescape")


def _row_problem(row: dict[str, str], folder: Path) -> str | None:
    for role, field in row.items():
        if what := _field_problem(role, field):
            return what
    what = _image_problem(folder / row["file"]) if "file" in row else None
    return f"{row['file']}: {what}" if what else None


def _field_problem(role: str, field: str) -> str | None:
    if any("\udc80" <= character <= "\udcff" for character in field):
        return NOT_UTF8
    if role != "group" and not field.strip():
        return f"the {role} is empty"
    return None


def _image_problem(path: Path) -> str | None:
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


def _judge(good: list, problems: list[Problem], source: Path, on_bad: str) -> None:
    """Raise unless the caller may go on with what is good."""
    if on_bad not in ("stop", "skip"):
        raise InputError(f"on_bad must be stop or skip, found {on_bad!r}")
    if problems and on_bad == "stop":
        raise DataError(problems, f"mend them in {source}, or pass --on-bad skip to go on without them")
    if not good:
        kind = "image" if source.is_dir() else "row"
        raise InputError(f"{source} holds no usable {kind}; {len(problems)} were bad")
