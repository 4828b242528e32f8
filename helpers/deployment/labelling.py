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
    key = _key(version, answers.header, inputs)
    partial = output.with_name(f".{output.name}-{key}")
    done, length = _state(partial)
    try:
        with partial.open("r+b" if length else "wb") as file:
            _write_portions(file, classifier, inputs, answers, done, length, partial, advance)
        os.replace(partial, output)
    except OSError as error:
        error.filename = error.filename or str(output)  # a full disk does not say where
        raise
    _progress_file(partial).unlink(missing_ok=True)
    return done


def _write_portions(
    file,
    classifier: Classifier,
    inputs: Inputs,
    answers: Answers,
    done: int,
    length: int,
    partial: Path,
    advance,
) -> None:
    """Write the rows behind the first `done`, which take `length` bytes; each portion is noted when safe."""
    file.truncate(length)
    file.seek(length)
    if not length:
        file.write(line(answers.header).encode(errors="backslashreplace"))
    advance(done)
    for start, probabilities in predicted(classifier, inputs, done):
        file.write(answers.lines(inputs, start, probabilities).encode(errors="backslashreplace"))
        file.flush()
        os.fsync(file.fileno())
        progress = {"rows": start + len(probabilities), "bytes": file.tell()}
        write_atomically(_progress_file(partial), json.dumps(progress).encode())
        advance(len(probabilities))


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
    if len(os.fsencode(output.name)) > LONGEST_NAME:
        raise InputError(f"the name {output.name[:40]}... is too long for a file; choose a shorter one")
    if output.is_dir() or not is_writable(output.absolute().parent):
        raise InputError(f"{output} cannot be written; choose a file in an existing, writable folder")
    if not output.exists():
        return
    if source is not None and source.exists() and output.samefile(source):
        raise InputError(f"{output} is the input itself; choose another file for the predictions")
    with output.open(encoding="utf-8", errors="replace", newline="") as lines:
        header = next(csv.reader(lines), [])
    if not _is_ours(header):
        raise InputError(f"{output} exists and holds no predictions of this command; choose another file")


def _is_ours(header: list[str]) -> bool:
    """Whether a file begins as this command writes it: a row's number, and at the end a label and shares."""
    names = [name.removeprefix("predicted_") for name in header]
    while names and names[-1].startswith("p_"):
        names.pop()
    has_shares = len(names) < len(header)
    return has_shares and names[-1:] == ["label"] and header[0] in ("row", "input_row")


def _state(partial: Path) -> tuple[int, int]:
    """Rows and bytes that an earlier call finished."""
    try:
        progress = json.loads(_progress_file(partial).read_text(encoding="utf-8"))
        done, length = progress["rows"], progress["bytes"]
    except (OSError, ValueError, KeyError, TypeError):
        return 0, 0  # there is none, or it does not help
    is_there = partial.is_file() and partial.stat().st_size >= length
    return (done, length) if is_there else (0, 0)


def _progress_file(partial: Path) -> Path:
    return partial.with_name(f"{partial.name}.progress")


def _key(version: str, header: list[str], inputs: Inputs) -> str:
    digest = hashlib.sha256(json.dumps([version, header]).encode())
    for record, value in zip(inputs.records, inputs.values):
        digest.update(json.dumps([record, value]).encode())
    return digest.hexdigest()[:12]
