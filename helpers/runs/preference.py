"""A language model's run on pairs of answers: towards what people prefer (chapter 11)."""

import json
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from helpers import own
from helpers.data import sources
from helpers.data.pairs import PairCollate, PairDataset
from helpers.display import counting
from helpers.errors import Problem
from helpers.models.language import LanguageModel, language_model, load_language_model
from helpers.models.low_bit import to_low_bit
from helpers.runs import chat
from helpers.runs.chat import Prepared, understood  # noqa: F401 - a task has both
from helpers.runs.chat_config import PreferenceConfig
from helpers.runs.chat_scores import answers, conversations, loader_of
from helpers.training.loop import predict_logits
from helpers.training.losses import Preference, pair_log_probabilities
from helpers.training.metrics import mean_interval
from helpers.training.runtime import Runtime

SCORES = ("loss", "pair_accuracy", "margin", "chosen_change", "rejected_change")
LENGTH_TELLS = 0.7  # share of the pairs that one rule on lengths decides, from which on it is said


@dataclass(frozen=True)
class Job(chat.Job):
    """A training that can start; `before` is what the model's answers were like then, see `begin`."""

    before: dict = field(default_factory=dict)


def prepare(config: PreferenceConfig) -> Prepared:
    """Read, check and split the pairs of a run.

    Raises InputError: bad rows, or too few of them.
    """
    prepared = chat.prepared_by(config, read, _of_comments)
    prepared.noticed.append(lengths_line(pd.concat(prepared.splits.values())))
    return prepared


def read(config: PreferenceConfig, data: str, tokenizer) -> tuple[pd.DataFrame, list[Problem]]:
    """Your own pairs; one with a conversation of more than `max_length` tokens is a bad row."""
    columns = {name: getattr(config, name) for name in ("prompt_column", "chosen_column", "rejected_column")}
    return own.pairs_from(data, **columns, **chat.what_is_bad(config, tokenizer))


def _of_comments(comments: pd.DataFrame) -> pd.DataFrame:
    frame = sources.preference_pairs(comments).rename(columns={"chosen": "label"})
    pairs = zip(frame.pop("prompt"), frame["label"])
    whole = [[*json.loads(prompt), {"role": "assistant", "content": answer}] for prompt, answer in pairs]
    return frame.assign(text=[json.dumps(messages, ensure_ascii=False) for messages in whole])


def lengths_line(frame: pd.DataFrame) -> str:
    """How long chosen and rejected answers are, and whether length alone tells which is which."""
    sizes = [frame[name].str.len() for name in ("label", "rejected")]
    longer = float(_wins(*sizes).mean())
    means = "chosen answers have {:,.0f} characters on average, rejected ones {:,.0f}".format(
        *(size.mean() for size in sizes)
    )
    line = f"{means}; the longer one is chosen in {longer:.0%} of the pairs (equal ones count one half)"
    if max(longer, 1 - longer) < LENGTH_TELLS:
        return line
    rule = "longer" if longer > 0.5 else "shorter"
    return (
        f"{line}: whoever always takes the {rule} one is nearly as right, and the model may learn just that"
    )


def _wins(first, second) -> np.ndarray:
    """1 (N,) where `first` is larger, 0 where it is smaller, 1/2 where both are equal."""
    first, second = np.asarray(first), np.asarray(second)
    return (first > second) + (first == second) / 2


def dataset(lm: LanguageModel, frame: pd.DataFrame) -> PairDataset:
    """The pairs as tokens."""
    chosen = conversations(frame)
    others = [[*pair[:-1], pair[-1] | {"content": text}] for pair, text in zip(chosen, frame["rejected"])]
    pairs = list(zip(chosen, others))
    return PairDataset(pairs, lm.tokenizer, lm.max_length, lm.system, frame["id"].tolist())


def job(config: PreferenceConfig, prepared: Prepared, *, folder: Path | None = None) -> Job:
    """Model, loaders, loss, score and runtime of a run; every process of it calls this."""
    lm, rows, runtime = chat.begun(config, prepared, dataset, folder)
    collate, loss = PairCollate(lm.tokenizer.pad_token_id), Preference(config.beta)
    loading = chat.loading(config, runtime)
    loaders = {
        "train": chat.training_loader(config, rows["train"], collate, runtime),
        "validation": loader_of(lm, rows["validation"], PairCollate, **loading),
    }
    # By the loss: it moves with every margin, the accuracy only with those that change their sign.
    score = partial(scores, loader=loaders["validation"], loss=loss, runtime=runtime)
    return Job(lm, rows, lm.model, loaders, loss, score, runtime, config.training)


def begin(config: PreferenceConfig, prepared: Prepared, job: Job) -> None:
    """Note what can be known before the first step alone: the reference of all pairs, and the answers.

    All processes call this. A run that goes on does it, too, before it finds its weights again: adapters
    begin as zero, so its model is the pretrained one until then.
    """
    runtime = job.runtime
    mine = sum(map(len, job.rows.values())) // runtime.num_processes
    with counting(mine, "pairs") if runtime.is_main else nullcontext(lambda number: None) as advance:

        def read_aloud(model, batch):
            advance(len(batch["indices"]))
            return pair_log_probabilities(model, batch)

        for rows in job.rows.values():
            loader = loader_of(job.lm, rows, PairCollate, **runtime.sharding)
            rows.reference = torch.from_numpy(predict_logits(job.lm.model, loader, runtime, read_aloud))
    if runtime.is_main:
        own_data = config.data is not None
        job.before.update(answers(job.lm, prepared.splits["test"], own_data=own_data)[1])
    runtime.wait()


def log_probabilities(lm: LanguageModel, rows: PairDataset, runtime: Runtime) -> torch.Tensor:
    """What `lm` says of the chosen and the rejected answers, float32 (N, 2), in the order of the rows."""
    loader = loader_of(lm, rows, PairCollate, **runtime.sharding)
    return torch.from_numpy(predict_logits(lm.model, loader, runtime, pair_log_probabilities))


def scores(model, loader, loss: Preference, runtime: Runtime) -> dict[str, float]:
    """`pair_scores` of the loader's rows."""
    found = torch.from_numpy(predict_logits(model, loader, runtime, pair_log_probabilities))
    return pair_scores(found, loader.dataset, loss)


def pair_scores(found: torch.Tensor, rows: PairDataset, loss: Preference) -> dict[str, float]:
    """What log-probabilities (N, 2) say of pairs, each of which counts the same.

    Returns:
        `loss`; `pair_accuracy`: share of the pairs with a margin above 0 (one half where it is 0); `margin`
        (nats); `chosen_change` and `rejected_change`: how much the answers' log-probability has changed
        (nats a token). The chosen one's is how far the model drifted from the reference on these answers; it
        is no KL divergence, whose answers the model itself would have to write.
    """
    changes = (found - rows.reference).double()  # (N, 2)
    margins = changes[:, 0] - changes[:, 1]
    a_token = changes.sum(0) / rows.answer_lengths.sum(0)
    return {
        "loss": float(loss.of_margins(margins)) / len(margins),
        "pair_accuracy": float(_wins(margins, 0).mean()),
        "margin": float(margins.mean()),
        "chosen_change": float(a_token[0]),
        "rejected_change": float(a_token[1]),
    }


def measured(frame: pd.DataFrame, found: torch.Tensor, rows: PairDataset, loss: Preference) -> tuple:
    """`pair_scores` with an interval, beside two rules that know nothing of the training; and the pairs as a
    table.

    The rules: the longer answer wins; the one that was likelier before the training wins. Where rows have a
    `kind`, the accuracy of each.
    """
    changes = found - rows.reference
    wins = _wins(changes[:, 0], changes[:, 1])
    figures = pair_scores(found, rows, loss) | {
        "pair_accuracy_interval": mean_interval(wins, groups=frame["group"].to_numpy()),
        "longer_wins": float(_wins(frame["label"].str.len(), frame["rejected"].str.len()).mean()),
        "likelier_wins": float(_wins(*rows.reference.T).mean()),
        "n": len(frame),
    }
    if "kind" in frame:
        parts = {kind: wins[(frame["kind"] == kind).to_numpy()] for kind in sorted(frame["kind"].unique())}
        figures["by_kind"] = {
            kind: {"pair_accuracy": float(part.mean()), "n": len(part)} for kind, part in parts.items()
        }
    table = frame[["id"]].assign(
        log_p_chosen=found[:, 0],
        log_p_rejected=found[:, 1],
        reference_chosen=rows.reference[:, 0],
        reference_rejected=rows.reference[:, 1],
        margin=changes[:, 0] - changes[:, 1],
    )
    return figures, table


def finish(folder: Path, config: PreferenceConfig, prepared: Prepared, job: Job, effort: dict) -> dict:
    """Score validation and test rows and write the results; all processes call this, the first one writes.

    Returns:
        The content of metrics.json; {} in the other processes.
    """
    found = {}
    for name in ("validation", "test"):
        said = log_probabilities(job.lm, job.rows[name], job.runtime)
        found[name], table = measured(prepared.splits[name], said, job.rows[name], job.loss)
    if not job.runtime.is_main:
        return {}
    written, shares = answers(job.lm, prepared.splits["test"], own_data=config.data is not None)
    found["test"] |= shares
    table = table.merge(written, how="left", on="id")  # the rows beyond those that are answered have none
    return chat.write_results(folder, prepared, job, found | {"before": job.before} | effort, table)


def evaluate(folder: Path, config: PreferenceConfig, data: str | None) -> dict:
    """Metrics of a trained run on its own test rows, or on your own pairs.

    Raises InputError: bad data, a damaged run, or the model that it began with is not there any more.
    """
    lm = load_language_model(folder / "model")
    frame, skipped, noticed = chat.rows_to_judge(folder, config, data, lm, read)
    if data is not None:
        noticed.append(lengths_line(frame))
    rows, runtime = dataset(lm, frame), Runtime(lm.model, config.training.precision)
    said = log_probabilities(lm, rows, runtime)
    shares = answers(lm, frame, own_data=config.data is not None or data is not None)[1]
    before = language_model(lm.name, max_length=lm.max_length, system=lm.system)
    if lm.base_bits == 4:
        to_low_bit(before.model)
    rows.reference = log_probabilities(before, rows, runtime)
    found = measured(frame, said, rows, Preference(config.beta))[0]
    return found | shares | {"skipped": [asdict(p) for p in skipped], "not_kept": 0, "noticed": noticed}
