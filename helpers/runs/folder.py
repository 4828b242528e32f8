"""A run folder: what a run writes, and reads again without the data it was made of (chapter 07).

config.json, history.csv, metrics.json, predictions.csv, skipped.csv, model/, checkpoints/ and report.html;
rows.csv with id, split and hash of every row, by which a run knows its data again; and the rows themselves in
validation.jsonl and test.jsonl: texts as they are, of pictures the paths.
"""

import hashlib
import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import softmax

from helpers.errors import InputError, Problem
from helpers.files import LOCK, is_temporary, is_writable, locked, remove_temporary, write_atomically
from helpers.models.pretrained import GIVE_A_RUN
from helpers.runs.chat_config import LANGUAGE_TASKS, ChatConfig
from helpers.runs.recipes import RunConfig
from helpers.tasks import task_named
from helpers.training.checkpoints import CHECKPOINT
from helpers.training.config import TrainingConfig, check_types

# What is written into a run folder at once or not at all; `training.checkpoints` looks after its own files.
WRITTEN = ("config.json", "rows.csv", "validation.jsonl", "test.jsonl", "metrics.json", "predictions.csv")
WRITTEN += ("skipped.csv", "report.html")
KEPT_SPLITS = ("validation", "test")
KEPT_BYTES = 100_000_000  # of each kept split; rows beyond it are left out, and their number is said


def check_output(folder: Path, *, resume: bool) -> None:
    """Refuse a run folder that holds something else, before any work is done.

    Raises InputError: `folder` is not empty, holds no run to resume, or cannot be written.
    """
    if resume:
        load_config(folder)
    elif folder.exists() and (not folder.is_dir() or not all(map(_is_our_trace, folder.iterdir()))):
        instead = "choose another --output, or go on with the run in it by --resume"
        raise InputError(f"{folder} is not an empty folder; {instead}")
    existing = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    if not existing.is_dir() or not is_writable(existing):
        raise _not_writable(folder, f"{existing} is no writable folder")


def _is_our_trace(path: Path) -> bool:
    """A lock, or what a run that was killed in its very first write has left behind."""
    return path.name == LOCK or is_temporary(path, WRITTEN)


def _not_writable(folder: Path, reason: str) -> InputError:
    return InputError(f"the run folder {folder} cannot be written ({reason}); choose another --output")


@contextmanager
def taken(folder: Path, *, resume: bool) -> Iterator[None]:
    """Keep other trainings out of a run folder while in here; what a killed one left half-written is removed.

    Raises InputError: another training is at work in it, or it cannot be made.
    """
    with ExitStack() as stack:
        try:
            stack.enter_context(locked(folder))
            check_output(folder, resume=resume)  # once more: another training may have come and gone
            remove_temporary(folder, WRITTEN)
        except OSError as error:
            raise _not_writable(folder, error.strerror or str(error)) from error
        yield


def is_started(folder: Path) -> bool:
    """Whether all is there that `start` writes; a run that was killed before has nothing to lose."""
    return (folder / "rows.csv").is_file() or (folder / CHECKPOINT).is_file()


def start(folder: Path, config: RunConfig | ChatConfig, splits: dict[str, pd.DataFrame]) -> None:
    """Fill the run folder with its configuration, without which nobody can go on, and its rows."""
    write_json(folder / "config.json", asdict(config))
    for name in KEPT_SPLITS:
        _write_rows(folder / f"{name}.jsonl", splits[name])
    write_csv(folder / "rows.csv", _all_rows(splits))  # last, see `is_started`


def load_config(folder: Path) -> RunConfig | ChatConfig:
    """Read `config.json` of a run folder.

    Raises InputError: `folder` is no run folder.
    """
    file = Path(folder) / "config.json"
    if not file.is_file():
        raise InputError(f"{folder} is no run folder (config.json is missing); {GIVE_A_RUN}")
    try:
        values = json.loads(file.read_bytes())
        kind = LANGUAGE_TASKS.get(values["task"], RunConfig)
        config = kind(**values | {"training": TrainingConfig(**values["training"])})
        check_types(config)
        return config
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, OSError) as error:
        reason = f"is no configuration of a run ({str(error).splitlines()[0]})"
        raise InputError(f"{file} {reason}; train again into a new folder") from error


def rows_kept(folder: Path) -> dict[str, int]:
    """How many validation and test rows a run folder holds: all of them, up to `KEPT_BYTES`."""
    return {name: (folder / f"{name}.jsonl").read_bytes().count(b"\n") for name in KEPT_SPLITS}


def kept_rows(folder: Path, split: str) -> pd.DataFrame:
    """The "validation" or "test" rows of a run, as far as they were kept; pictures are there and unchanged.

    Raises InputError: an unfinished folder, or pictures that have moved or changed since the run.
    """
    file = Path(folder) / f"{split}.jsonl"
    if not file.is_file():
        raise InputError(f"{folder} does not hold its {split} rows ({file.name} is missing); {GIVE_A_RUN}")
    with file.open(encoding="utf-8") as lines:
        frame = pd.DataFrame([json.loads(line) for line in lines])
    if "content" not in frame:
        return frame
    if "path" not in frame:  # the course's own pictures are arrays, found by their id
        images = task_named("images").embedded().set_index("id")["image"]
        frame["image"] = [images.get(row) for row in frame["id"]]
    changed = frame.loc[frame["content"] != _contents(frame), "id"]
    if len(changed):
        what = f"{len(changed)} of the {len(frame)} {split} pictures of {folder}"
        since = f"have moved or changed since the run (first: {changed.iloc[0]})"
        raise InputError(f"{what} {since}; put them back, or give labelled pictures with --data")
    return frame.drop(columns="content")


def trained_on(folder: Path, frame: pd.DataFrame) -> int:
    """How many rows of `frame` are training rows of the run in `folder`, by label and content."""
    file = folder / "rows.csv"
    if not file.is_file():
        return 0
    before = pd.read_csv(file, dtype=str, keep_default_na=False)
    known = set(before.loc[before["split"] == "train", "content"])
    return sum(content in known for content in _contents(frame))


def check_same_rows(folder: Path, splits: dict[str, pd.DataFrame]) -> None:
    """Refuse to go on with a run on other data than it began with.

    Raises InputError: rows were added, removed, changed or dealt out otherwise since the run began.
    """
    file = folder / "rows.csv"
    if not file.is_file():
        raise InputError(
            f"{folder} does not say which rows it was made of ({file.name} is missing); start a new run"
        )
    before = pd.read_csv(file, dtype=str, keep_default_na=False).set_index("id")
    now = _all_rows(splits).set_index("id")
    both = before.index.intersection(now.index)
    changed = int((before.loc[both] != now.loc[both]).any(axis=1).sum())
    new, missing = len(now) - len(both), len(before) - len(both)
    if changed or new or missing:
        what = f"the data are not those that the run in {folder} began with"
        counts = f"{changed} rows changed, {new} new, {missing} missing"
        raise InputError(f"{what} ({counts}); bring the old data back, or start a new run folder")


def _all_rows(splits: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """`id`, `split` and `content` of every row of a run."""
    columns = [{"id": part["id"], "split": name, "content": _contents(part)} for name, part in splits.items()]
    return pd.concat(map(pd.DataFrame, columns), ignore_index=True)


def _contents(frame: pd.DataFrame) -> list[str]:
    """A hash of each row's label with its text (of a pair, both answers) or its picture's bytes; "" for a
    picture that is not there.
    """
    values = map(Path, frame["path"]) if "path" in frame else frame["text" if "text" in frame else "image"]
    labels = frame["label"]
    if "rejected" in frame:
        labels = labels + "\0" + frame["rejected"]
    return [_content(label, value) for label, value in zip(labels, values)]


def _content(label: str, value: str | np.ndarray | Path | None) -> str:
    if isinstance(value, Path):
        value = value.read_bytes() if value.is_file() else None
    elif isinstance(value, np.ndarray):
        value = value.tobytes()
    elif value is not None:
        value = value.encode(errors="surrogatepass")
    return "" if value is None else hashlib.sha256(label.encode() + b"\0" + value).hexdigest()[:32]


def _write_rows(file: Path, frame: pd.DataFrame) -> None:
    """Each row as one line of JSON; a picture by its path or id, and the hash of its content."""
    if "text" not in frame:
        frame = frame.assign(content=_contents(frame)).drop(columns="image", errors="ignore")
    if "path" in frame:
        frame = frame.assign(path=[str(Path(path).absolute()) for path in frame["path"]])
    lines = [json.dumps(row) + "\n" for row in frame.to_dict("records")]
    fits = np.cumsum([len(line) for line in lines]) <= KEPT_BYTES
    write_atomically(file, "".join(lines[: fits.sum()]).encode())


def predictions_table(frame: pd.DataFrame, logits: np.ndarray, classes: tuple[str, ...]) -> pd.DataFrame:
    """One row per input: `id`, `target`, `prediction` and the probability of each class."""
    chosen = [classes[i] for i in logits.argmax(1)]
    table = pd.DataFrame({"id": frame["id"], "target": frame["label"], "prediction": chosen})
    names = [f"p_{name}" for name in classes]
    return table.join(pd.DataFrame(softmax(logits, axis=1).round(6), columns=names))


def write_skipped(folder: Path, skipped: list[Problem]) -> None:
    """List every row or file that was left out in `skipped.csv`; no file when there was none."""
    if skipped:
        write_csv(folder / "skipped.csv", pd.DataFrame(map(asdict, skipped)))


def write_csv(file: Path, table: pd.DataFrame) -> None:
    """Write a table atomically."""
    write_atomically(file, table.to_csv(index=False, lineterminator="\n").encode())


def write_json(file: Path, content: dict) -> None:
    """Write JSON atomically."""
    write_atomically(file, json.dumps(content, indent=2, default=str, allow_nan=False).encode())
