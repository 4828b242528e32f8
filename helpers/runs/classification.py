"""What a classifier's run does before and after its training: the counterpart of `chat` (chapter 07)."""

from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pandas as pd
from safetensors import SafetensorError

from helpers.data.datasets import encode_labels
from helpers.data.sources import one_person
from helpers.errors import DataError, InputError, Problem
from helpers.models.pretrained import Classifier, load_classifier, save_classifier
from helpers.runs import folder as run_folder
from helpers.runs import recipes
from helpers.runs import understood as words
from helpers.runs.recipes import Job, Prepared, RunConfig, prepare
from helpers.safety.finite import NotFinite
from helpers.tasks import TASKS, task_named
from helpers.training.checkpoints import GO_ON
from helpers.training.loop import predict_logits
from helpers.training.metrics import classification_metrics, macro_f1_interval
from helpers.training.runtime import Runtime

SCORES = recipes.SCORES
__all__ = ["SCORES", "evaluate", "finish", "job", "prepare", "understood"]  # what `run` asks of a task


def job(config: RunConfig, prepared: Prepared, *, folder: Path | None = None) -> Job:
    """The job of `recipes`, and what its model will not see of the texts."""
    made = recipes.job(config, prepared, folder=folder)
    return replace(made, cut=words.cut_texts(made.classifier, prepared))


def understood(config: RunConfig, prepared: Prepared, job: Job) -> list[str]:
    """What a person reads before the training begins."""
    return words.understood(config, prepared, job.cut)


def finish(folder: Path, config: RunConfig, prepared: Prepared, job: Job, effort: dict) -> dict:
    """Score validation and test rows and write the results; all processes call this, the first one writes.

    Returns:
        The content of metrics.json; {} in the other processes.
    """
    scored = {name: prepared.splits[name] for name in ("validation", "test")}
    logits = {name: _logits(job.classifier, part, config, job.runtime) for name, part in scored.items()}
    if not job.runtime.is_main:
        return {}
    run_folder.load_config(folder)  # it is still there: nothing below may make a new one
    effort["rows_kept"] = run_folder.rows_kept(folder)
    metrics = describe(job.classifier, prepared, logits) | effort
    cut = asdict(job.cut) if job.cut else None
    metrics |= {"noticed": words.notices(prepared, job.cut), "cut": cut}
    _write_results(folder, job.classifier, prepared, logits["test"], metrics)
    return metrics


def _write_results(
    folder: Path, classifier: Classifier, prepared: Prepared, logits: np.ndarray, metrics: dict
) -> None:
    """What a finished run leaves: `metrics.json` comes last, so that a folder with it is complete."""
    try:
        save_classifier(classifier, folder / "model")
    except SafetensorError as error:  # it does not tell a full disk from other errors
        raise InputError(f"{folder / 'model'} cannot be written ({error}); {GO_ON}") from error
    table = run_folder.predictions_table(prepared.splits["test"], logits, classifier.classes)
    run_folder.write_csv(folder / "predictions.csv", table)
    run_folder.write_skipped(folder, prepared.skipped)
    run_folder.write_json(folder / "metrics.json", metrics)


def _logits(classifier: Classifier, frame: pd.DataFrame, config: RunConfig, runtime: Runtime) -> np.ndarray:
    """Logits (N, C) of the rows of `frame`.

    Raises NotFinite: some are not.
    """
    options = {"num_workers": config.training.num_workers, "use_cache": config.cache}
    loader = recipes.evaluation_loader(classifier, frame, **options, **runtime.sharding)
    logits = predict_logits(classifier.model, loader, runtime)
    rows = np.flatnonzero(~np.isfinite(logits).all(axis=1))
    if len(rows):
        raise NotFinite("model's output", "in the evaluation", frame["id"].iloc[rows], "train it again")
    return logits


def describe(classifier: Classifier, prepared: Prepared, logits: dict[str, np.ndarray]) -> dict:
    """Validation and test metrics, and what to read them against: the largest class, and people where they
    were asked.
    """
    test, classes = prepared.splits["test"], classifier.classes
    scored = ("validation", "test")
    targets = {name: encode_labels(prepared.splits[name], classes) for name in scored}
    result = {name: asdict(classification_metrics(logits[name], targets[name])) for name in scored}
    arguments = (targets["test"], logits["test"].argmax(1), len(classes))
    result["test"]["macro_f1_interval"] = macro_f1_interval(*arguments, groups=test["group"].to_numpy())
    share = float((test["label"] == prepared.largest).mean())
    result["majority_baseline"] = {"class": prepared.largest, "accuracy": share}
    if "ratings" in test:
        result["one_person"] = one_person(test["ratings"])
    if "platform" in test:
        result["by_platform"] = {
            platform: asdict(classification_metrics(logits["test"][rows], targets["test"][rows]))
            for platform, rows in test.groupby("platform").indices.items()
        }
    return result | {"rows": prepared.rows, "cleaning": prepared.cleaning, "skipped": len(prepared.skipped)}


def load_labelled(config: RunConfig, data: str, classes: tuple[str, ...]):
    """Your own labelled rows for the evaluation of a run, a DataFrame, the problems of those left out, and
    what else was noticed.

    Raises DataError: with `on_bad="stop"`, some rows are bad or have a label that the run does not know.
    """
    if Path(data).is_dir():
        config = replace(config, group_column=None)  # a folder has no columns, whatever the run was made of
    frame, problems = recipes.load_rows(config, data)
    noticed = list(frame.attrs.get("noticed", []))
    frame, known = task_named(config.task).repaired(frame), ", ".join(classes)
    unknown = ~frame["label"].isin(classes)
    found = []
    for row in frame[unknown].itertuples():
        where = f"row {row.id}" if row.id.isdigit() else row.id
        found.append(Problem(where, f"unknown label {row.label!r}, the run knows {known}"))
    if found and config.on_bad == "stop":
        raise DataError(found, f"mend them in {data}, or pass --on-bad skip to go on without them")
    if unknown.all():
        raise InputError(f"{data} has no row with a label that the run knows ({known})")
    return frame[~unknown].reset_index(drop=True), problems + found, noticed


def evaluate(folder: Path, config: RunConfig, data: str | None) -> dict:
    """See `run.evaluate`; `config` is the run's, with the columns of `data`."""
    classifier = load_classifier(folder / "model")
    skipped, not_kept, noticed = [], 0, []
    if data is None:
        frame = run_folder.kept_rows(folder, "test")
        not_kept = len(pd.read_csv(folder / "predictions.csv", usecols=["id"])) - len(frame)
    else:
        frame, skipped, noticed = load_labelled(config, data, classifier.classes)
        trained = run_folder.trained_on(folder, frame)
        if trained:
            noticed.append(
                f"the run was trained on {trained:,} of these {len(frame):,} rows: its score flatters"
            )
    task = TASKS[classifier.task]
    cut = task.token_counts(classifier, task.inputs(frame))
    noticed += cut.sentences() if cut else []
    runtime = Runtime(classifier.model, config.training.precision)
    logits = _logits(classifier, frame, config, runtime)
    targets, groups = encode_labels(frame, classifier.classes), frame["group"].to_numpy()
    interval = macro_f1_interval(targets, logits.argmax(1), len(classifier.classes), groups=groups)
    metrics = asdict(classification_metrics(logits, targets)) | {"macro_f1_interval": interval}
    return metrics | {
        "skipped": [asdict(problem) for problem in skipped],
        "not_kept": not_kept,
        "noticed": noticed,
    }
