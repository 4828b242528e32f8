"""Labels for many inputs, written as they come; a stopped command goes on where it was (chapter 07)."""

import csv
import hashlib
import io
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from helpers.deployment.predict import answer, model_folder, predict
from helpers.errors import InputError
from helpers.files import is_writable, write_atomically
from helpers.models.pretrained import Classifier
from helpers.own import Inputs

FIRST_ROWS, ROWS = 64, 1024  # predicted before the first line is written, and between two writes
LONGEST_NAME = 200  # bytes: its neighbours have longer names
OTHER_KINDS = (".tsv", ".tab", ".xlsx", ".xls", ".ods", ".parquet", ".json", ".jsonl", ".txt")


@dataclass
class Answers:
    """Predictions as a table with the input's own columns; ours step aside for a name that is taken there."""

    classes: tuple[str, ...]
    columns: list[str]  # of the input

    @property
    def header(self) -> list[str]:
        """`row`, the input's columns, `label` and `p_CLASS`; "predicted_" in front of what is taken."""
        own = ["label", *(f"p_{name}" for name in self.classes)]
        return [self._free("input_", "row"), *self.columns, *(self._free("predicted_", name) for name in own)]

    def _free(self, prefix: str, name: str) -> str:
        while name in self.columns:
            name = prefix + name
        return name

    def lines(self, inputs: Inputs, start: int, probabilities: np.ndarray) -> str:
        """The lines of the inputs from `start` on, in their order; probabilities (B, C)."""
        written = []
        for place, row in enumerate(probabilities, start):
            label, shares = answer(row, self.classes)
            written.append(line([inputs.numbers[place], *inputs.records[place], label, *shares.values()]))
        return "".join(written)


def line(fields: list) -> str:
    """One line of a CSV file; the module forgets to quote a carriage return that stands alone."""
    has_return = any("\r" in str(field) for field in fields)
    buffer = io.StringIO()
    quoting = csv.QUOTE_ALL if has_return else csv.QUOTE_MINIMAL
    csv.writer(buffer, lineterminator="\n", quoting=quoting).writerow(fields)
    return buffer.getvalue()


def predicted(classifier: Classifier, inputs: Inputs, start: int = 0) -> Iterator[tuple[int, np.ndarray]]:
    """Place of the first input of each portion, and its probabilities (B, C), in the order of the inputs."""
    end = min(start + FIRST_ROWS, len(inputs.values))
    while start < end:
        yield start, predict(classifier, inputs.values[start:end])
        start, end = end, min(end + ROWS, len(inputs.values))


def write_predictions(
    classifier: Classifier, inputs: Inputs, output: Path, version: str, advance: Callable[[int], object]
) -> int:
    """Write a CSV file of answers; what an earlier, stopped call wrote for the same inputs is kept.

    Args:
        classifier: the model.
        inputs: what to label.
        output: the file; until it is complete its rows stand in a hidden neighbour.
        version: what tells this model from others.
        advance: called with the number of rows that are done, after each portion.

    Returns: how many rows an earlier call had written.
    """
    answers = Answers(classifier.classes, inputs.columns)
    partial = Partial(output, _key(version, answers.header, inputs))
    done = partial.rows
    try:
        if not partial.bytes:
            partial.append(line(answers.header), rows=0)
        advance(done)
        for start, probabilities in predicted(classifier, inputs, done):
            partial.append(answers.lines(inputs, start, probabilities), rows=len(probabilities))
            advance(len(probabilities))
        partial.finish(output)
    except OSError as error:
        error.filename = error.filename or str(output)  # a full disk does not say where
        raise
    return done


class Partial:
    """What is written of a file of predictions: a hidden neighbour, and a note of what is safe in it.

    Attributes: `rows` and `bytes` that are safe; at first those of an earlier call with the same `key`.
    """

    def __init__(self, output: Path, key: str):
        self.file = output.with_name(f".{output.name}-{key}")
        self.note = self.file.with_name(f"{self.file.name}.progress")
        self.rows, self.bytes = self._noted()

    def append(self, text: str, *, rows: int) -> None:
        """Write so many more rows, and note them when they are on the disk."""
        with self.file.open("r+b" if self.bytes else "wb") as file:
            file.truncate(self.bytes)
            file.seek(self.bytes)
            file.write(text.encode(errors="backslashreplace"))
            file.flush()
            os.fsync(file.fileno())
            self.rows, self.bytes = self.rows + rows, file.tell()
        write_atomically(self.note, json.dumps({"rows": self.rows, "bytes": self.bytes}).encode())

    def finish(self, output: Path) -> None:
        """Give the whole file its name."""
        os.replace(self.file, output)
        self.note.unlink(missing_ok=True)

    def _noted(self) -> tuple[int, int]:
        try:
            noted = json.loads(self.note.read_text(encoding="utf-8"))
            rows, length = noted["rows"], noted["bytes"]
        except (OSError, ValueError, KeyError, TypeError):
            return 0, 0  # there is none, or it does not help
        is_there = self.file.is_file() and self.file.stat().st_size >= length
        return (rows, length) if is_there else (0, 0)


def model_version(folder: str | Path, engine: str) -> str:
    """What tells the weights of a run from those of another: description, size and time of the file."""
    place = model_folder(folder, engine)
    weights = place / ("model.safetensors" if engine == "torch" else "model.onnx")
    found = weights.stat()
    described = (place / "labels.json").read_text(encoding="utf-8")
    return f"{engine} {found.st_size} {found.st_mtime_ns} {described}"


def check_output(output: Path, source: Path | None) -> None:
    """Refuse to write over what this command did not make.

    Raises InputError: the output is the input, another file, of another kind, or cannot be written.
    """
    if output.suffix.lower() in OTHER_KINDS:
        raise InputError(f"predictions are written as CSV, found the name {output.name}; end it in .csv")
    check_place(output, source)
    if not output.exists():
        return
    with output.open(encoding="utf-8", errors="replace", newline="") as lines:
        header = next(csv.reader(lines), [])
    if not _is_ours(header):
        raise InputError(f"{output} exists and holds no predictions of this command; choose another file")


def check_place(output: Path, source: Path | None) -> None:
    """Refuse a file that is the input, or a place where none can be written.

    Raises InputError: it says which.
    """
    if len(os.fsencode(output.name)) > LONGEST_NAME:
        raise InputError(f"the name {output.name[:40]}... is too long for a file; choose a shorter one")
    if output.is_dir() or not is_writable(output.absolute().parent):
        raise InputError(f"{output} cannot be written; choose a file in an existing, writable folder")
    if source is not None and source.exists() and output.exists() and output.samefile(source):
        raise InputError(f"{output} is the input itself; choose another file")


def _is_ours(header: list[str]) -> bool:
    """Whether a file begins as this command writes it: a row's number, and at the end a label and shares."""
    names = [name.removeprefix("predicted_") for name in header]
    while names and names[-1].startswith("p_"):
        names.pop()
    has_shares = len(names) < len(header)
    return has_shares and names[-1:] == ["label"] and header[0] in ("row", "input_row")


def _key(version: str, header: list[str], inputs: Inputs) -> str:
    digest = hashlib.sha256(json.dumps([version, header]).encode())
    for record, value in zip(inputs.records, inputs.values):
        digest.update(json.dumps([record, value]).encode())
    return digest.hexdigest()[:12]
