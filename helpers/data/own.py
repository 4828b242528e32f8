"""Your own rows: a CSV file, a folder of images, a labels file, and the inputs of a prediction (chapters 02
and 05).

Every function that reads labelled rows returns a DataFrame with the columns that `sources` names, and the
problems of the rows that were left out.
"""

import csv
import io
from pathlib import Path

import pandas as pd

from helpers.errors import DataError, InputError, Problem

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".gif", ".bmp", ".webp", ".tif", ".tiff"})


def from_csv(
    file: str | Path,
    *,
    text_column: str = "text",
    label_column: str | None = "label",
    group_column: str | None = None,
    on_bad: str = "stop",
) -> tuple[pd.DataFrame, list[Problem]]:
    """Your own texts: a CSV file with a header, separated by comma, semicolon or tab, in UTF-8.

    Args:
        file: the CSV file.
        text_column, label_column: names of the columns; `label_column=None` reads texts without labels.
        group_column: rows with the same value stay on one side of a split (one author, one article).
        on_bad: "stop" raises when any row is bad, "skip" leaves bad rows out and returns what was wrong with
            them.

    Returns:
        The good rows (`id` is the row number as a spreadsheet shows it: the header is row 1), and the
        problems of the others.

    Raises:
        DataError: some rows are bad and `on_bad` is "stop".
        InputError: the file is missing, empty, lacks a column, or holds no good row.
    """
    file = Path(file)
    columns = {"text": text_column, "label": label_column, "group": group_column}
    rows, problems = _read_rows(file, {role: name for role, name in columns.items() if name is not None})
    _judge(list(problems.values()), len(rows), file, on_bad)
    frame = pd.DataFrame(rows)
    if group_column is None:
        frame["group"] = frame["id"]
    return frame, list(problems.values())


def from_folder(folder: str | Path, *, on_bad: str = "stop") -> tuple[pd.DataFrame, list[Problem]]:
    """Your own images: one sub-folder per class, its name is the label. Every image is decoded once to see
    that it can be.

    Args:
        folder: holds the class folders; hidden files are ignored, every other file that is no readable image
            is bad.
        on_bad: "stop" or "skip", as in `from_csv`.

    Returns:
        The good images (`id` and `group` are the path below `folder`, `path` is the file) and the problems of
        the others.

    Raises:
        DataError, InputError: as in `from_csv`.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(
            f"the image folder {folder} does not exist; give a folder with one sub-folder per class"
        )
    rows, problems = [], []
    # Sorted: the order of a folder's listing differs between machines, and with it every split.
    for path in sorted(
        p
        for p in folder.rglob("*")
        if p.is_file() and not any(part.startswith(".") for part in p.relative_to(folder).parts)
    ):
        name = path.relative_to(folder).as_posix()
        if "/" not in name:
            problems.append(Problem(name, f"lies outside a class folder; move it into {folder.name}/CLASS/"))
        elif what := _image_problem(path):
            problems.append(Problem(name, what))
        else:
            rows.append({"id": name, "group": name, "path": str(path), "label": name.split("/")[0]})
    _judge(problems, len(rows), folder, on_bad)
    return pd.DataFrame(rows), problems


def from_labels_file(
    file: str | Path, *, file_column: str = "file", label_column: str = "label", on_bad: str = "stop"
) -> tuple[pd.DataFrame, list[Problem]]:
    """Your own images named by a CSV file: a column with paths relative to that file, and one with labels.

    Args, Returns, Raises: as in `from_folder`; `group` is the path.
    """
    file = Path(file)
    rows, problems = _read_rows(file, {"file": file_column, "label": label_column})
    good = []
    for row in rows:
        path = file.parent / row["file"]
        if what := _image_problem(path):
            problems[int(row["id"])] = Problem(f"row {row['id']} of {file.name}: {row['file']}", what)
        else:
            good.append({"id": row["id"], "group": row["file"], "path": str(path), "label": row["label"]})
    in_order = [problems[number] for number in sorted(problems)]
    _judge(in_order, len(good), file, on_bad)
    return pd.DataFrame(good), in_order


def images_from(
    data: str | Path, file_column: str, label_column: str, *, on_bad: str = "stop"
) -> tuple[pd.DataFrame, list[Problem]]:
    """Your own images: of a labels file, or of a folder with one sub-folder for each class.

    Args, Returns, Raises: see `from_labels_file` and `from_folder`.
    """
    if Path(data).is_file():
        return from_labels_file(data, file_column=file_column, label_column=label_column, on_bad=on_bad)
    return from_folder(data, on_bad=on_bad)


def separator(text: str) -> str:
    """The separator of a table: the one of comma, semicolon and tab that its first line has most of."""
    first_line = text.lstrip().splitlines()[0]
    return max(",;\t", key=first_line.count)


def _read_rows(file: Path, columns: dict[str, str]) -> tuple[list[dict], dict[int, Problem]]:
    """The good records of a CSV file as {"id": row number, role: field, ...}, and the problems of the others
    by row number.
    """
    if not file.is_file():
        raise InputError(f"the file {file} does not exist; give the path of a CSV file")
    content = file.read_bytes()
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise InputError(f"{file.name} is UTF-16, expected UTF-8; save it as 'CSV UTF-8' and try again")
    # surrogateescape keeps undecodable bytes visible, so that only the rows that hold them are refused.
    text = content.decode("utf-8-sig", errors="surrogateescape")
    if not text.strip():
        raise InputError(f"{file.name} is empty, expected a header line and rows below it")
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator(text))
    header = [name.strip() for name in next(reader)]
    missing = [name for name in columns.values() if name not in header]
    if missing:
        raise InputError(
            f"{file.name} has no column {missing[0]!r}, found {', '.join(map(repr, header))}; name yours "
            "with "
            "--text-column and --label-column"
        )
    places = {role: header.index(name) for role, name in columns.items()}
    rows, problems = [], {}
    for number, record in enumerate(reader, start=2):
        if not any(field.strip() for field in record):
            continue  # a blank line is no row
        if what := _row_problem(record, header, places):
            problems[number] = Problem(f"row {number} of {file.name}", what)
        else:
            rows.append({"id": str(number)} | {role: record[place].strip() for role, place in places.items()})
    return rows, problems


def _row_problem(record: list[str], header: list[str], places: dict[str, int]) -> str | None:
    if len(record) != len(header):
        return f"expected {len(header)} fields, found {len(record)}; quote fields that hold the separator"
    for role, place in places.items():
        if any("\udc80" <= character <= "\udcff" for character in record[place]):
            return "is not valid UTF-8; save the file as UTF-8"
        if role != "group" and not record[place].strip():
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


def _judge(problems: list[Problem], good: int, source: Path, on_bad: str) -> None:
    if on_bad not in ("stop", "skip"):
        raise InputError(f"on_bad must be stop or skip, found {on_bad!r}")
    if problems and on_bad == "stop":
        raise DataError(problems, f"mend them in {source}, or pass --on-bad skip to go on without them")
    if not good:
        raise InputError(
            f"{source} holds no usable {'image' if source.is_dir() else 'row'}; {len(problems)} were bad"
        )


def check_texts(
    texts: list[str], on_bad: str = "stop", where: str = "input {}"
) -> tuple[list[str], list[Problem]]:
    """The texts that hold something, and the problems of the others; `where` names a text by its number."""
    good, problems = [], []
    for number, text in enumerate(texts, start=1):
        if "\ufffd" in text or any("\udc80" <= character <= "\udcff" for character in text):
            problems.append(Problem(where.format(number), "is not valid UTF-8; save the file as UTF-8"))
        elif not text.strip():
            problems.append(Problem(where.format(number), "the text is empty"))
        else:
            good.append(text)
    _judge(problems, len(good), Path("the input"), on_bad)
    return good, problems


def texts_from(
    source: Path | list[str], text_column: str, *, on_bad: str = "stop"
) -> tuple[list[str], list[Problem]]:
    """Texts to be labelled: a list of them, a .txt file with one on each line, or a column of a CSV file."""
    if not isinstance(source, Path):
        return check_texts(source, on_bad)
    if source.suffix.lower() == ".txt":
        return texts_from_lines(source, on_bad=on_bad)
    frame, problems = from_csv(source, text_column=text_column, label_column=None, on_bad=on_bad)
    return frame["text"].tolist(), problems


def texts_from_lines(file: Path, *, on_bad: str = "stop") -> tuple[list[str], list[Problem]]:
    """A text file with one text per line, in UTF-8, as `check_texts` returns it."""
    if not file.is_file():
        raise InputError(f"the file {file} does not exist; give a .txt file with one text per line")
    lines = (
        file.read_bytes()
        .decode("utf-8-sig", errors="surrogateescape")
        .replace("\r\n", "\n")
        .rstrip("\n")
        .split("\n")
    )
    return check_texts(lines, on_bad, f"line {{}} of {file.name}")


def image_files(source: Path | list[str], *, on_bad: str = "stop") -> tuple[list[str], list[Problem]]:
    """The readable images of a folder (sorted by name, sub-folders included) or of a list of paths, and the
    problems of the others.
    """
    if isinstance(source, Path):
        if not source.is_dir():
            raise InputError(
                f"{source} is no folder of images; give a folder, or image files on the command line"
            )
        files = sorted(str(p) for p in source.rglob("*") if p.is_file() and not p.name.startswith("."))
    else:
        files = source
    problems = {file: Problem(file, what) for file in files if (what := _image_problem(Path(file)))}
    good = [file for file in files if file not in problems]
    _judge(
        list(problems.values()), len(good), source if isinstance(source, Path) else Path("the input"), on_bad
    )
    return good, list(problems.values())
