"""A language model's run: from conversations to a training that can start, and what it wrote (chapter 10)."""

import inspect
import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from torch import nn
from torch.utils.data import DataLoader

from helpers import environment, own
from helpers.data import sources, splits
from helpers.data.chat import AnswerCollate, ChatDataset, PackedCollate, conversation_ids
from helpers.data.loaders import make_loader
from helpers.errors import InputError, Problem
from helpers.models.language import (
    LanguageModel,
    language_model,
    load_language_model,
    load_tokenizer,
    save_language_model,
)
from helpers.models.low_bit import to_low_bit
from helpers.runs import folder as run_folder
from helpers.runs.chat_config import ChatConfig
from helpers.runs.chat_scores import WRITTEN, answers, dataset, loader_of, measured
from helpers.runs.recipes import RunConfig, counted
from helpers.runs.recipes import prepare as prepare_comments
from helpers.training.config import TrainingConfig
from helpers.training.loop import mean_loss
from helpers.training.losses import CausalLM
from helpers.training.progress import planned_steps
from helpers.training.runtime import Runtime
from helpers.tuning.lora import add_lora

SCORES = ("loss",)
FEW_STEPS = 50  # in benchmarks/results/chat.json 200 comments are far from learnt after 25 steps
SHARES = {"train": 1, "validation": 1 / 4, "test": 1 / 2}  # of the limit


@dataclass(frozen=True)
class Prepared:
    """Conversations ready for training: `splits` of rows with `id`, `text` (messages as JSON), `label` (the
    last answer) and `group`; the tokenizer; what was left out, and what else a person should know.
    """

    splits: dict[str, pd.DataFrame]
    before: dict[str, int]  # rows of each split before the limit
    tokenizer: object
    cleaning: dict[str, int]
    skipped: list[Problem]
    noticed: list[str]


@dataclass(frozen=True)
class Job:
    """A training that can start; the last five are arguments of `fit`."""

    lm: LanguageModel
    rows: dict[str, ChatDataset]  # the splits as tokens
    model: nn.Module
    loaders: dict[str, DataLoader]
    loss: CausalLM
    score: Callable
    runtime: Runtime
    config: TrainingConfig

    @property
    def name(self) -> str:
        """Of the pretrained model."""
        return self.lm.name


def prepare(config: ChatConfig) -> Prepared:
    """Read, check and split the conversations of a run.

    Raises InputError: bad rows, or too few of them.
    """
    tokenizer = load_tokenizer(config.model)
    sign = next((sign for sign in control_signs(tokenizer) if sign in (config.system or "")), None)
    if sign is not None:
        raise InputError(f"--system holds {sign!r}, a control sign of the model's template; take it out")
    if config.data is None:
        comments = prepare_comments(RunConfig(task="text", limit=0))
        parts = {name: _as_conversations(part) for name, part in comments.splits.items()}
        cleaning, problems, noticed = comments.cleaning, [], []
    else:
        frame, problems = read(config, config.data, tokenizer)
        cleaning, noticed = {"rows": len(frame)}, list(frame.attrs.get("noticed", []))
        parts = split(frame)
    before = {name: len(part) for name, part in parts.items()}
    for name, part in parts.items():
        parts[name] = splits.subsample(part, math.ceil(config.limit * SHARES[name]))
        if len(parts[name]) < before[name]:
            noticed.append(
                f"{len(parts[name]):,} of {before[name]:,} {name} rows are used (--limit, 0 is all)"
            )
    return Prepared(parts, before, tokenizer, cleaning, problems, noticed)


def read(config: ChatConfig, data: str, tokenizer) -> tuple[pd.DataFrame, list[Problem]]:
    """Your own conversations; one of more than `max_length` tokens is a bad row."""

    def too_long(messages: list[dict]) -> str | None:
        try:
            length = len(conversation_ids(messages, tokenizer, config.system)[0])
        except InputError as error:
            return str(error)
        if length <= config.max_length:
            return None
        found = f"has {length:,} tokens, expected at most {config.max_length:,}"
        return f"{found}; shorten it, or raise --max-length"

    columns = {"prompt_column": config.prompt_column, "answer_column": config.answer_column}
    options = {"on_bad": config.on_bad, "reserved": control_signs(tokenizer), "check": too_long}
    return own.messages_from(data, **columns, **options)


def control_signs(tokenizer) -> tuple[str, ...]:
    """What no text may hold, as the model would read it as a sign of its template."""
    return tuple(sign for sign in tokenizer.all_special_tokens if sign.strip())


def split(frame: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """80/10/10 by groups drawn at random, always the same; each part has at least one row.

    Raises InputError: fewer than three groups.
    """
    groups = np.random.default_rng(0).permutation(frame["group"].unique())
    if len(groups) < 3:
        found = f"found {len(groups)} different prompts"
        raise InputError(
            f"training, validation and test need at least three conversations, {found}; add some"
        )
    tenth = max(1, round(len(groups) / 10))
    drawn = {"test": groups[:tenth], "validation": groups[tenth : 2 * tenth], "train": groups[2 * tenth :]}
    return {name: frame[frame["group"].isin(drawn[name])].reset_index(drop=True) for name in reversed(drawn)}


def _as_conversations(comments: pd.DataFrame) -> pd.DataFrame:
    conversations = [sources.conversation(row) for _, row in comments.iterrows()]
    texts = [json.dumps(messages, ensure_ascii=False) for messages in conversations]
    answers = [messages[-1]["content"] for messages in conversations]
    return pd.DataFrame({"id": comments["id"], "text": texts, "label": answers, "group": comments["group"]})


def job(config: ChatConfig, prepared: Prepared, *, folder: Path | None = None) -> Job:
    """Model, loaders, loss, score and runtime of a run; every process of it calls this."""
    environment.seed_everything(config.training.seed)  # the adapter's first weights
    lm = language_model(config.model, max_length=config.max_length, system=config.system)
    lm = replace(lm, base_bits=config.base_bits)
    if config.packing and "position_ids" not in inspect.signature(lm.model.forward).parameters:
        raise InputError(f"{config.model} knows no positions that begin again; leave --packing out")
    # The test rows, too: what this model cannot read is said before the training.
    rows = {name: dataset(lm, part) for name, part in prepared.splits.items()}
    if config.base_bits == 4:
        to_low_bit(lm.model)
    if config.training.strategy == "lora":
        add_lora(lm.model, rank=config.rank, alpha=2 * config.rank)
    training, pad = config.training, lm.tokenizer.pad_token_id
    options = {"shard": training.shard, "log_with": config.log_with, "folder": folder}
    runtime = Runtime(lm.model, training.precision, **options)
    collate = PackedCollate() if config.packing else AnswerCollate(pad)
    options = {"num_workers": training.num_workers, **runtime.sharding}
    loaders = {
        "train": make_loader(
            rows["train"], training.batch_size, collate, shuffle=True, seed=training.seed, **options
        ),
        "validation": loader_of(lm, rows["validation"], **options),
    }
    loss = CausalLM()
    score = partial(mean_loss, loader=loaders["validation"], loss=loss, runtime=runtime)
    return Job(lm, rows, lm.model, loaders, loss, score, runtime, training)


def understood(config: ChatConfig, prepared: Prepared, job: Job | None) -> list[str]:
    """What a person reads before the training begins."""
    rows, source = sum(prepared.before.values()), config.data or "the course's comments"
    used = ", ".join(f"{len(part):,} {name}" for name, part in prepared.splits.items())
    lines = [f"{source}: {rows:,} conversations ({counted(prepared.cleaning)}); used: {used}"]
    if job is not None:
        tokens = job.loaders["train"].dataset
        learnt, total = tokens.num_learnt, int(tokens.lengths.sum())
        share = f"{learnt:,} of them ({learnt / total:.0%}) stand in answers and are learnt"
        lines.append(
            f"training: {total:,} tokens, {share}; the longest conversation has {tokens.lengths.max():,}"
        )
        steps = planned_steps(job.loaders["train"], job.config)
        if steps < FEW_STEPS:
            lines.append(f"only {steps} optimizer steps: with so few rows more --epochs often help")
    if prepared.skipped:
        listed = "; ".join(map(str, prepared.skipped[:3]))
        lines.append(f"{len(prepared.skipped):,} bad rows are left out: {listed}")
    return lines + prepared.noticed


def finish(folder: Path, config: ChatConfig, prepared: Prepared, job: Job, effort: dict) -> dict:
    """Score validation and test rows and write the results; all processes call this, the first one writes.

    Returns:
        The content of metrics.json; {} in the other processes.
    """
    scored = {name: prepared.splits[name] for name in ("validation", "test")}
    found = {name: measured(job.lm, part, job.rows[name], job.runtime) for name, part in scored.items()}
    if not job.runtime.is_main:
        return {}
    run_folder.load_config(folder)  # it is still there: nothing below may make a new one
    table, written = answers(job.lm, prepared.splits["test"], own_data=config.data is not None)
    found["test"] |= written
    rows = {name: len(part) for name, part in prepared.splits.items()}
    metrics = found | {"rows": rows, "cleaning": prepared.cleaning, "skipped": len(prepared.skipped)} | effort
    metrics |= {"rows_kept": run_folder.rows_kept(folder), "noticed": prepared.noticed}
    save_language_model(job.lm, folder / "model")
    run_folder.write_csv(folder / "predictions.csv", table)
    run_folder.write_skipped(folder, prepared.skipped)
    run_folder.write_json(folder / "metrics.json", metrics)
    return metrics


def evaluate(folder: Path, config: ChatConfig, data: str | None) -> dict:
    """Metrics of a trained run on its own test rows, or on your own conversations.

    Raises InputError: bad data, or a damaged run.
    """
    lm, skipped, noticed = load_language_model(folder / "model"), [], []
    if data is None:
        frame = run_folder.kept_rows(folder, "test")
    else:
        frame, skipped = read(replace(config, max_length=lm.max_length, system=lm.system), data, lm.tokenizer)
        noticed = list(frame.attrs.get("noticed", []))
        trained = run_folder.trained_on(folder, frame)
        if trained:
            rows = f"{trained:,} of these {len(frame):,} rows"
            noticed.append(f"the run was trained on {rows}: its score flatters")
    runtime = Runtime(lm.model, config.training.precision)
    found = measured(lm, frame, dataset(lm, frame), runtime)
    if len(frame) > WRITTEN:
        noticed.append(f"the first {WRITTEN:,} of {len(frame):,} rows are answered in full")
    own_data = config.data is not None or data is not None
    shares = answers(lm, frame, own_data=own_data)[1]
    return found | shares | {"skipped": [asdict(p) for p in skipped], "not_kept": 0, "noticed": noticed}
