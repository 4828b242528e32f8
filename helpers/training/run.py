"""One training run from configuration to run folder: train, touch the test rows once, write what happened
(chapters 06, 07).

RUN/  config.json  history.csv  metrics.json  predictions.csv  model/  checkpoints/  (report.html:
`helpers.training.report`)
"""

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pandas as pd

from helpers import environment, files
from helpers.data.datasets import encode_labels
from helpers.data.sources import human_ceiling
from helpers.errors import InputError, Problem
from helpers.files import write_atomically
from helpers.models.pretrained import Classifier, load_classifier, save_classifier
from helpers.training import recipes
from helpers.training.checkpoints import read_progress
from helpers.training.config import TrainingConfig
from helpers.training.loop import CHECKPOINT, Step, fit, leave, make_accelerator, predict_logits
from helpers.training.metrics import classification_metrics, macro_f1_interval
from helpers.training.recipes import Prepared, RunConfig
from helpers.tuning.freezing import num_trainable
from helpers.tuning.lora import add_lora, merge_lora


def train(
    config: RunConfig,
    folder: Path,
    *,
    resume: bool = False,
    on_step: Callable[[Step, int], None] | None = None,
) -> tuple[dict, Prepared]:
    """Train as `config` says and fill the run folder; in a run of several processes all of them call this.

    Args:
        config: what to do.
        folder: the run folder; nothing is written there before all input has proved good.
        resume: go on with the run in `folder`; without a checkpoint there it starts from the beginning.
        on_step: called after each optimizer step with the step and the number of steps planned.

    Returns:
        The content of `metrics.json`, and the rows.

    Raises:
        InputError: bad data, a folder that holds another run, or one that cannot be written.
    """
    folder = Path(folder)
    check_output(folder, resume=resume)
    prepared = recipes.prepare(config)
    environment.seed_everything(config.training.seed)  # the head's first weights
    classifier = recipes.build_classifier(config, prepared.classes)
    if config.training.strategy == "lora":
        add_lora(classifier.model)
    config = replace(config, model=classifier.name)  # a stand-in is recorded under its own name
    accelerator = make_accelerator(classifier.model, config.training.precision)
    accelerator.wait_for_everyone()  # no process may see the folder of another one as "another run"
    if accelerator.is_main_process and not resume:
        start_folder(folder, config)
    sharding = {"num_processes": accelerator.num_processes, "process_index": accelerator.process_index}
    train_loader = recipes.training_loader(classifier, prepared.splits["train"], config.training, **sharding)
    validation_loader = recipes.evaluation_loader(classifier, prepared.splits["validation"], **sharding)
    planned = config.training.epochs * -(-len(train_loader) // config.training.accumulation_steps)
    checkpoint = folder / "checkpoints" / CHECKPOINT
    steps = fit(
        classifier.model,
        train_loader,
        validation_loader,
        config.training,
        accelerator=accelerator,
        loss_function=recipes.loss_function(config, prepared.splits["train"]),
        folder=folder / "checkpoints",
        resume=resume and checkpoint.is_file(),
    )
    for step in steps:
        if on_step:
            on_step(step, planned)
    trainable = num_trainable(classifier.model)
    if config.training.strategy == "lora":
        merge_lora(classifier.model)  # what is measured and saved is the plain model that will be used
    test_loader = recipes.evaluation_loader(classifier, prepared.splits["test"], **sharding)
    validation_logits = predict_logits(classifier.model, validation_loader, accelerator)
    test_logits = predict_logits(classifier.model, test_loader, accelerator)
    metrics = describe(classifier, prepared, validation_logits, test_logits) | {
        "seconds": round((progress := read_progress(checkpoint)).seconds, 1),
        "optimizer_steps": progress.step,
        "trainable_parameters": trainable,
        "processes": accelerator.num_processes,
        "device": str(accelerator.device.type),
        "precision": accelerator.mixed_precision,
        "versions": environment.versions(),
    }
    if accelerator.is_main_process:
        save_classifier(classifier, folder / "model")
        write_csv(folder / "history.csv", pd.DataFrame(progress.history))
        write_csv(
            folder / "predictions.csv",
            predictions_table(prepared.splits["test"], test_logits, classifier.classes),
        )
        write_skipped(folder, prepared.skipped)
        write_json(folder / "metrics.json", metrics)
    leave(accelerator)
    return metrics, prepared


def describe(
    classifier: Classifier, prepared: Prepared, validation_logits: np.ndarray, test_logits: np.ndarray
) -> dict:
    """Validation and test metrics, and what to read them against: the largest class, and people where they
    were asked.
    """
    test = prepared.splits["test"]
    targets = {
        name: encode_labels(prepared.splits[name], classifier.classes)
        for name in ("train", "validation", "test")
    }
    result = {"validation": asdict(classification_metrics(validation_logits, targets["validation"]))}
    result["test"] = asdict(classification_metrics(test_logits, targets["test"]))
    groups = test["group"].to_numpy()
    result["test"]["macro_f1_interval"] = macro_f1_interval(
        targets["test"], test_logits.argmax(1), len(classifier.classes), groups=groups
    )
    largest = np.bincount(targets["train"]).argmax()
    result["majority_baseline"] = {
        "class": classifier.classes[largest],
        "accuracy": float((targets["test"] == largest).mean()),
    }
    if "ratings" in test:
        result["human_ceiling"] = human_ceiling(test["ratings"])
    if "platform" in test:
        result["by_platform"] = {
            platform: asdict(classification_metrics(test_logits[rows], targets["test"][rows]))
            for platform, rows in test.groupby("platform").indices.items()
        }
    rows = {name: len(part) for name, part in prepared.splits.items()}
    return result | {"rows": rows, "cleaning": prepared.cleaning, "skipped": len(prepared.skipped)}


def evaluate(folder: Path, data: str | None = None, **columns) -> dict:
    """Metrics of a trained run on its own test rows, or on your own labelled rows.

    Args:
        folder: the run folder.
        data: a CSV file or image folder; None for the run's test rows.
        columns: names of columns and `on_bad`, as in `RunConfig`, where they differ from those the run was
            trained with.

    Returns:
        The metrics with `macro_f1_interval`, and `skipped`, the problems of rows that were left out.

    Raises:
        InputError: `folder` is no run, or the data are bad.
    """
    folder = Path(folder)
    config = replace(
        load_config(folder), **{name: value for name, value in columns.items() if value is not None}
    )
    classifier = load_classifier(folder / "model")
    frame, skipped = (
        (recipes.prepare(config).splits["test"], [])
        if data is None
        else recipes.load_labelled(config, data, classifier.classes)
    )
    accelerator = make_accelerator(classifier.model, config.training.precision)
    sharding = {"num_processes": accelerator.num_processes, "process_index": accelerator.process_index}
    logits = predict_logits(
        classifier.model, recipes.evaluation_loader(classifier, frame, **sharding), accelerator
    )
    targets = encode_labels(frame, classifier.classes)
    interval = macro_f1_interval(
        targets, logits.argmax(1), len(classifier.classes), groups=frame["group"].to_numpy()
    )
    return asdict(classification_metrics(logits, targets)) | {
        "macro_f1_interval": interval,
        "skipped": [asdict(p) for p in skipped],
    }


def check_output(folder: Path, *, resume: bool) -> None:
    """Refuse a run folder that holds something else, before any work is done.

    Raises:
        InputError: see the message.
    """
    if resume:
        load_config(folder)
    elif folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(
            f"{folder} is not an empty folder; choose another --output, or go on with the run in it by "
            "--resume"
        )
    existing = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    if not existing.is_dir() or not files.is_writable(existing):
        raise InputError(
            f"the run folder {folder} cannot be written ({existing} is no writable folder); choose another "
            "--output"
        )


def start_folder(folder: Path, config: RunConfig) -> None:
    """Make the run folder with its configuration."""
    try:
        write_json(folder / "config.json", asdict(config))
    except OSError as error:
        raise InputError(
            f"the run folder {folder} cannot be written ({error.strerror}); choose another --output"
        ) from error


def load_config(folder: Path) -> RunConfig:
    """Read `config.json` of a run folder.

    Raises:
        InputError: `folder` is no run folder.
    """
    file = Path(folder) / "config.json"
    if not file.is_file():
        raise InputError(
            f"{folder} is no run folder (config.json is missing); give one written by `python -m helpers "
            "train ... --output RUN`"
        )
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
        return RunConfig(**values | {"training": TrainingConfig(**values["training"])})
    except (json.JSONDecodeError, TypeError, KeyError) as error:
        raise InputError(
            f"{file} is no configuration of a run ({error}); train again into a new folder"
        ) from error


def predictions_table(frame: pd.DataFrame, logits: np.ndarray, classes: tuple[str, ...]) -> pd.DataFrame:
    """One row per input: `id`, `target`, `prediction` and the probability of each class."""
    probabilities = np.exp(logits - np.logaddexp.reduce(logits, axis=1, keepdims=True))  # (N, C)
    table = pd.DataFrame(
        {"id": frame["id"], "target": frame["label"], "prediction": [classes[i] for i in logits.argmax(1)]}
    )
    for column, name in enumerate(classes):
        table[f"p_{name}"] = probabilities[:, column].round(6)
    return table


def write_skipped(folder: Path, skipped: list[Problem]) -> None:
    """List every row or file that was left out in `skipped.csv`; no file when there was none."""
    if skipped:
        write_csv(folder / "skipped.csv", pd.DataFrame([asdict(problem) for problem in skipped]))


def write_csv(file: Path, table: pd.DataFrame) -> None:
    """Write a table atomically."""
    write_atomically(file, table.to_csv(index=False, lineterminator="\n").encode())


def write_json(file: Path, content: dict) -> None:
    """Write JSON atomically."""
    write_atomically(file, json.dumps(content, indent=2, default=str).encode())
