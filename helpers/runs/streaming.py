"""A run on a stream: a folder of shards whose training rows are never held together (chapter 12).

One pass over the rows checks them, finds the classes, and keeps validation and test rows apart: those whose
normalised text (of conversations the first prompt; with --group-column the group) has a small hash. So copies
stay on one side, and nobody need remember the others.
"""

import hashlib
import json
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType

import pandas as pd
import torch

from helpers.data.chat import AnswerCollate, PackedCollate, conversation_ids
from helpers.data.cleaning import clean_text, letters_key
from helpers.data.shards import Shards
from helpers.data.streams import RowStream, stream_loader
from helpers.errors import InputError
from helpers.models.language import load_tokenizer
from helpers.own.conversation import conversation, fields, problem, prompt_keys
from helpers.own.formats import class_names, field_text
from helpers.own.table import ALIASES
from helpers.own.tables import row_problem
from helpers.runs import chat, recipes
from helpers.tasks import TASKS
from helpers.training.progress import planned_steps

HELD_SHARE, MOST_HELD = 0.1, 2000  # of all rows, for validation and for test: one of the two
SAMPLE = 1000  # training rows that are held: their tokens are counted
Row = dict[str, str]  # id, text, label, group


@dataclass(frozen=True)
class Streamed:
    """What differs of `Prepared` where the training rows are a stream; a sample stands in `splits`."""

    shards: Shards
    digests: pd.DataFrame
    train_labels: Counter

    @property
    def rows(self) -> dict[str, int]:
        """Rows of each split that are used."""
        return {name: len(part) for name, part in self.splits.items()} | {"train": len(self.shards)}

    @property
    def traced(self) -> dict[str, pd.DataFrame]:
        """The files with the hash of their bytes stand for the training rows."""
        return self.splits | {"train": self.digests}

    @property
    def ids(self) -> Shards:
        """Of the training rows, by their index."""
        return self.shards

    @property
    def largest(self) -> str:
        """The class with most training rows."""
        return max(sorted(self.train_labels), key=self.train_labels.get)


@dataclass(frozen=True)
class StreamedTexts(Streamed, recipes.Prepared):
    """`recipes.Prepared` of a stream."""


@dataclass(frozen=True)
class StreamedChats(Streamed, chat.Prepared):
    """`chat.Prepared` of a stream."""


class Texts:
    """What makes of rows with a text and a label what the model reads; calls are pickled to workers."""

    def __init__(self, config: recipes.RunConfig, shards: Shards):
        named = {"text": config.text_column, "label": config.label_column, "group": config.group_column}
        self.columns, self.classes, self.task = {}, {}, TASKS["text"]
        for role, name in named.items():
            if name is not None:
                self.columns[role] = (name, *(ALIASES.get(role, ()) if name == role else ()))
        if shards.columns is not None:
            self.row(dict.fromkeys(shards.columns, "a") | {"id": str(shards.folder)})
        if shards.kind == "parquet":
            from pyarrow.parquet import read_schema

            self.classes = class_names(read_schema(shards.files[0]).metadata)

    def row(self, row: dict) -> Row:
        """Raises InputError: a field is missing, empty or no text."""
        found = {"id": row["id"]}
        for role, names in self.columns.items():
            name = next((name for name in names if name in row), None)
            if name is None:
                known = ", ".join(repr(name) for name in row if name != "id")
                advice = f"name yours with --{role}-column"
                raise InputError(f"{row['id']}: has no {names[0]!r}, found {known}; {advice}")
            value, classes = row[name], self.classes.get(name, [])
            if classes and value is not None:
                value = classes[value] if 0 <= value < len(classes) else None
            text = field_text(value)
            if text is None:
                kind = type(value).__name__
                raise InputError(f"{row['id']}: column {name!r} holds {kind}, expected text")
            found[role] = text.strip()
        found["text"] = clean_text(found["text"])
        what = row_problem(found)
        if what:
            raise InputError(f"{row['id']}: {what}")
        found["group"] = found.get("group") or row["id"]
        return found

    def key(self, row: Row) -> str:
        """What rows share that stay on one side."""
        return row["group"] if "group" in self.columns else letters_key(row["text"])

    def cleaned(self, held: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, int]]:
        """Held rows without copies that disagree."""
        return self.task.clean(held, own=True)

    def fit_to(self, made) -> tuple:
        """The collate function; from here on rows become samples for the model of a `Job`."""
        self.tokenizer, self.max_length = made.classifier.preprocessor, made.classifier.max_length
        self.numbers = {name: number for number, name in enumerate(made.classifier.classes)}
        return self.task.collate(made.classifier)

    def __call__(self, row: dict) -> dict:
        """A sample of token ids and a class."""
        row = self.row(row)
        ids = self.tokenizer(row["text"], truncation=True, max_length=self.max_length)["input_ids"]
        return {"input_ids": ids, "label": self.numbers[row["label"]]}


class Chats:
    """The same of conversations, which are kept as they stand."""

    columns = ()

    def __init__(self, config: chat.ChatConfig, tokenizer):
        self.config, self.tokenizer = config, tokenizer
        self.reserved = chat.control_signs(tokenizer)

    def row(self, row: dict, check=None) -> Row:
        """Raises InputError: no conversation, or one that cannot be learnt."""
        given = {name: value for name, value in row.items() if name != "id"}
        names = fields(given, self.config.prompt_column, self.config.answer_column, answered=True)
        messages = conversation(given, names)
        what = problem(messages, self.reserved) or (check(messages) if check else None)
        if what:
            raise InputError(what)
        text, group = json.dumps(messages, ensure_ascii=False), prompt_keys(messages)[0]
        return {"id": row["id"], "text": text, "label": messages[-1]["content"], "group": group}

    def key(self, row: Row) -> str:
        """What rows share that stay on one side."""
        return row["group"]

    def cleaned(self, held: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, int]]:
        """Held rows as they are."""
        return held, {}

    def fit_to(self, made):
        """The collate function."""
        return PackedCollate() if self.config.packing else AnswerCollate(self.tokenizer.pad_token_id)

    def __call__(self, row: dict) -> dict:
        """A sample of token ids and labels."""
        messages = json.loads(self.row(row)["text"])
        ids, labels = conversation_ids(messages, self.tokenizer, self.config.system)
        return {"input_ids": torch.tensor(ids), "labels": torch.tensor(labels)}


class Streaming:
    """What `run` asks of a task, for a stream; `task` does the same for rows in memory."""

    def __init__(self, task: ModuleType):
        self.task, self.SCORES, self.finish = task, task.SCORES, task.finish

    def prepare(self, config) -> Streamed:
        """Check every row, find the classes, and keep validation and test rows apart.

        Raises InputError: bad rows, or too few of them.
        """
        shards, check = Shards(config.data), None
        if config.task == "chat":
            tokenizer = load_tokenizer(config.model)
            chat.check_system(config, tokenizer)
            rows, check = Chats(config, tokenizer), chat.length_check(config, tokenizer)
        else:
            rows = Texts(config, shards)
        share = min(HELD_SHARE, MOST_HELD / len(shards))
        held, sample, labels, counts = (
            {"validation": {}, "test": {}},
            [],
            Counter(),
            Counter(rows=len(shards)),
        )

        def visit(row: dict) -> bool:
            found = rows.row(row, check) if check else rows.row(row)
            place = _place(rows.key(found))
            if place >= 2 * share:
                if len(sample) < SAMPLE or (check is None and found["label"] not in labels):
                    sample.append(found)
                if check is None:
                    labels[found["label"]] += 1
                return True
            part = held["test" if place < share else "validation"]
            counts["copies_of_held_rows"] += (found["text"], found["label"]) in part
            if len(part) < 10 * MOST_HELD:  # a group may be large
                part.setdefault((found["text"], found["label"]), found)
            else:
                counts["beyond_what_is_held"] += (found["text"], found["label"]) not in part
            return False

        shards = shards.checked(visit, config.on_bad)
        splits = {"train": pd.DataFrame(sample)}
        for name, part in held.items():
            if part:
                splits[name], cleaning = rows.cleaned(pd.DataFrame(part.values()))
                counts += Counter(
                    {key: n for key, n in cleaning.items() if key not in ("rows_in", "rows_out")}
                )
        sizes = {name: len(splits.get(name, ())) for name in ("train", *held)}
        if not all(sizes.values()) or (check is None and len(labels) < 2):
            parts = ", ".join(f"{count:,} {name}" for name, count in sizes.items())
            found = f"found {parts} rows and {len(labels)} classes"
            raise InputError(
                f"{config.data} is too small for a stream, {found}; give one file without --stream"
            )
        every = {name: sizes[name] for name in held} | {"train": len(shards)}
        noticed = _noticed(shards, share, counts, len(sample))
        common = {"shards": shards, "digests": _digests(shards), "train_labels": labels, "splits": splits}
        common |= {"before": every, "cleaning": dict(counts), "skipped": shards.problems, "noticed": noticed}
        self.rows = rows
        if check:
            return StreamedChats(**common, tokenizer=tokenizer)
        classes = labels + Counter(row["label"] for part in held.values() for row in part.values())
        return StreamedTexts(
            **common, classes=tuple(sorted(classes)), class_counts=dict(classes.most_common())
        )

    def job(self, config, prepared: Streamed, *, folder: Path | None = None):
        """The job of rows in memory, but that the training rows are a stream."""
        made = self.task.job(config, prepared, folder=folder)
        collate, training = self.rows.fit_to(made), made.config
        options = {"transform": self.rows, "seed": training.seed, **made.runtime.sharding}
        stream = RowStream(prepared.shards, training.batch_size, **options)
        loader = stream_loader(stream, collate, training.num_workers)
        return replace(made, loaders=made.loaders | {"train": loader})

    def understood(self, config, prepared: Streamed, job) -> list[str]:
        """What a person reads before the training begins."""
        lines = self.task.understood(config, prepared, None if config.task == "chat" else job)
        batches, steps = len(job.loaders["train"]), planned_steps(job.loaders["train"], job.config)
        return [*lines, f"stream: {batches:,} batches are one pass; {steps:,} optimizer steps are planned"]

    def evaluate(self, folder: Path, config, data: str | None) -> dict:
        """See `run.evaluate`."""
        metrics = self.task.evaluate(folder, config, data)
        if data is not None:
            metrics["noticed"].append(
                "the run was trained on a stream: which of these rows it saw is not known"
            )
        return metrics


def _place(key: str) -> float:
    """0 to 1, the same for the same key in every run."""
    digest = hashlib.blake2b(key.encode(errors="surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


def _digests(shards: Shards) -> pd.DataFrame:
    """Each file as a row whose text is the hash of its bytes."""
    hashes = []
    for file in shards.files:
        with file.open("rb") as content:
            hashes.append(hashlib.file_digest(content, "sha256").hexdigest())
    names = [file.name for file in shards.files]
    return pd.DataFrame({"id": names, "text": hashes, "label": ""})


def _noticed(shards: Shards, share: float, counts: Counter, sampled: int) -> list[str]:
    found = [
        f"validation and test rows are drawn by a hash, {share:.2%} of all each; copies of them are left out "
        f"({counts['copies_of_held_rows']:,}), those among training rows are kept: nobody holds all of them",
        f"the training rows are never together in memory: tokens are counted of {sampled:,} of them",
    ]
    if shards.ignored:
        found.append(f"{shards.ignored:,} hidden files of {shards.folder} are ignored")
    if shards.num_bad > len(shards.problems):
        found.append(
            f"{shards.num_bad:,} bad rows are left out, the first {len(shards.problems):,} are listed"
        )
    return found
