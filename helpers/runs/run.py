"""One run from configuration to run folder: train, touch the test rows once, write it down (chapter 07)."""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from safetensors import SafetensorError

from helpers import environment
from helpers.data.datasets import encode_labels
from helpers.data.sources import human_ceiling
from helpers.errors import InputError
from helpers.files import is_first_process, writing
from helpers.models.pretrained import Classifier, load_classifier, save_classifier
from helpers.runs import folder as run_folder
from helpers.runs import recipes
from helpers.runs.recipes import Job, Prepared, RunConfig
from helpers.runs.understood import cut_texts, notices, understood
from helpers.safety.finite import NotFinite
from helpers.safety.signals import Signals
from helpers.tasks import TASKS
from helpers.training.checkpoints import CHECKPOINT, GO_ON, Keeper
from helpers.training.loop import fit, predict_logits
from helpers.training.metrics import classification_metrics, macro_f1_interval
from helpers.training.progress import as_row, planned_steps
from helpers.training.runtime import Runtime


def train(
    config: RunConfig,
    folder: Path,
    *,
    resume: bool = False,
    on_ready: Callable[[list[str]], None] | None = None,
    on_step: Callable | None = None,
) -> dict:
    """Train as `config` says and fill the run folder; in a run of several processes all of them call this.

    Args:
        config: what to do.
        folder: the run folder; nothing is written there before all input has proved good.
        resume: go on with the run in `folder`; without a checkpoint there it starts from the beginning.
        on_ready: called before the first step with what was understood of the data, in lines.
        on_step: called after each optimizer step with the `Step` and the number of steps planned.

    Returns:
        The content of `metrics.json`.

    Raises InputError: bad data, numbers that are not finite, a folder that holds another run, in which
        another training is at work, or that cannot be written.
    """
    folder = Path(folder)
    run_folder.check_output(folder, resume=resume)
    # Of several processes the first one holds the folder for all.
    taken = run_folder.taken(folder, resume=resume) if is_first_process() else nullcontext()
    with taken, writing(folder, GO_ON):
        prepared = recipes.prepare(config)
        resume = resume and run_folder.is_started(folder)
        if resume:
            run_folder.check_same_rows(folder, prepared.splits)
        job = recipes.job(config, prepared, folder=folder)
        cut = cut_texts(job.classifier, prepared)
        if on_ready:
            on_ready(understood(config, prepared, cut))
        job.runtime.wait()  # no process may see the folder of another one as "another run"
        if job.runtime.is_main and not resume:
            # A stand-in is recorded under its own name.
            with writing(folder, "make room, or choose another --output"):
                run_folder.start(folder, replace(config, model=job.classifier.name), prepared.splits)
        keeper = Keeper(folder, resume=resume and (folder / CHECKPOINT).is_file(), scores=recipes.SCORES)
        try:
            effort = _train(job, keeper, on_step)
        except NotFinite as error:
            raise error.with_ids(prepared.splits["train"]["id"].tolist()) from error
        scored = {name: prepared.splits[name] for name in ("validation", "test")}
        logits = {name: _logits(job.classifier, part, config, job.runtime) for name, part in scored.items()}
        metrics = {}
        if job.runtime.is_main:
            run_folder.load_config(folder)  # it is still there: nothing below may make a new one
            effort["rows_kept"] = run_folder.rows_kept(folder)
            metrics = describe(job.classifier, prepared, logits) | effort
            metrics |= {"noticed": notices(prepared, cut), "cut": asdict(cut) if cut else None}
            _write_results(folder, job.classifier, prepared, logits["test"], metrics)
        job.runtime.leave()
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


def _train(job: Job, keeper: Keeper, on_step: Callable | None) -> dict:
    """Run the steps of a job; returns what they cost."""
    runtime, train_loader = job.runtime, job.loaders["train"]
    planned = planned_steps(train_loader, job.config)
    runtime.start_log(asdict(job.config))
    options = {"loss": job.loss, "score": job.score, "runtime": runtime, "keeper": keeper}
    with Signals(at_once=False) as runtime.signals:
        for step in fit(job.model, train_loader, job.config, **options):
            if on_step:
                on_step(step, planned)
            if runtime.log_with is not None:
                row = as_row(step, keeper.progress.seconds, recipes.SCORES)
                runtime.log({name: value for name, value in row.items() if value is not None}, step.step)
    runtime.signals = None
    return {
        "seconds": round(keeper.progress.seconds, 1),
        "optimizer_steps": keeper.progress.step,
        "trainable_parameters": keeper.progress.trainable,
        "micro_batch": keeper.progress.micro_batch,
        "processes": runtime.num_processes,
        "threads": torch.get_num_threads(),
        "device": runtime.device.type,
        "precision": runtime.precision,
        "versions": environment.versions(),
    }


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
    targets = {name: encode_labels(part, classes) for name, part in prepared.splits.items()}
    scored = ("validation", "test")
    result = {name: asdict(classification_metrics(logits[name], targets[name])) for name in scored}
    arguments = (targets["test"], logits["test"].argmax(1), len(classes))
    result["test"]["macro_f1_interval"] = macro_f1_interval(*arguments, groups=test["group"].to_numpy())
    largest = np.bincount(targets["train"]).argmax()
    share = float((targets["test"] == largest).mean())
    result["majority_baseline"] = {"class": classes[largest], "accuracy": share}
    if "ratings" in test:
        result["human_ceiling"] = human_ceiling(test["ratings"])
    if "platform" in test:
        result["by_platform"] = {
            platform: asdict(classification_metrics(logits["test"][rows], targets["test"][rows]))
            for platform, rows in test.groupby("platform").indices.items()
        }
    rows = {name: len(part) for name, part in prepared.splits.items()}
    return result | {"rows": rows, "cleaning": prepared.cleaning, "skipped": len(prepared.skipped)}


def evaluate(folder: Path, data: str | None = None, **columns) -> dict:
    """Metrics of a trained run on its own test rows, or on your own labelled rows.

    Args:
        folder: the run folder; its own test rows are in it.
        data: a CSV file or image folder; None for the run's test rows.
        columns: names of columns and `on_bad`, as in `RunConfig`, where they differ from those the run was
            trained with.

    Returns:
        The metrics with `macro_f1_interval`, and `skipped`, the problems of rows that were left out.

    Raises InputError: `folder` is no run, the data are bad, or pictures have moved.
    """
    folder = Path(folder)
    config = run_folder.load_config(folder)
    config = replace(config, **{name: value for name, value in columns.items() if value is not None})
    classifier = load_classifier(folder / "model")
    skipped, not_kept, noticed = [], 0, []
    if data is None:
        frame = run_folder.kept_rows(folder, "test")
        not_kept = len(pd.read_csv(folder / "predictions.csv", usecols=["id"])) - len(frame)
    else:
        frame, skipped, noticed = recipes.load_labelled(config, data, classifier.classes)
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
