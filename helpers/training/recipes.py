"""The course's two jobs from rows to loaders: sentiment of comments, and animals (chapters 06 and 07).

A recipe says which data, which model and which numbers by default; your own data takes the same road.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch.utils.data import DataLoader

from helpers.data import cleaning, own, sources, splits
from helpers.data.collate import PadCollate, collate_images
from helpers.data.datasets import ImageDataset, TextDataset, encode_labels
from helpers.data.loaders import make_loader
from helpers.data.transforms import evaluation_preset, training_preset
from helpers.errors import DataError, InputError, Problem
from helpers.models.pretrained import Classifier, image_classifier, text_classifier
from helpers.training.config import TrainingConfig
from helpers.training.loop import cross_entropy, soft_cross_entropy

TASKS = ("sentiment", "images")
DEFAULT_MODELS = {"sentiment": "minilm", "images": "efficientnet_lite0"}
QUICK_LIMIT = 2000  # training rows at quick scale
EVALUATION_BATCH = 128  # no gradients are kept, so more rows fit than in training

# Chosen on the validation rows of the embedded data; `benchmarks/case_studies.py` measures what they reach on
# the test rows.
DEFAULTS = {
    ("sentiment", "full"): TrainingConfig(epochs=3, batch_size=16, learning_rate=1.5e-4, layer_decay=0.9),
    ("sentiment", "head"): TrainingConfig(epochs=5, learning_rate=2e-3),
    ("sentiment", "gradual"): TrainingConfig(epochs=4, learning_rate=2e-4, layer_decay=0.9),
    ("sentiment", "lora"): TrainingConfig(epochs=4, batch_size=16, learning_rate=1e-3),
    ("images", "full"): TrainingConfig(epochs=4, learning_rate=2e-3, layer_decay=0.9),
    ("images", "head"): TrainingConfig(epochs=4, learning_rate=2e-2),
    ("images", "gradual"): TrainingConfig(epochs=5, learning_rate=2e-3, layer_decay=0.9),
    ("images", "lora"): TrainingConfig(epochs=4, learning_rate=5e-3),
}


@dataclass(frozen=True)
class RunConfig:
    """One training run, complete: the same configuration on the same machine gives the same weights.

    Attributes:
        task: "sentiment" (texts) or "images".
        data: your own CSV file or image folder; None for the embedded data.
        text_column, label_column, group_column, file_column: of your CSV file, see `sources`.
        on_bad: "stop" or "skip" bad rows or files.
        model: a name or folder, see `models.pretrained`.
        soft_labels: where rows have `ratings`, learn the shares of the raters' votes beside the one label of
            their mean.
        limit: at most so many training rows, and half as many validation rows; 0 = all. Test rows are never
            limited.
        training: see `TrainingConfig`.
    """

    task: str
    data: str | None = None
    text_column: str = "text"
    label_column: str = "label"
    group_column: str | None = None
    file_column: str = "file"
    on_bad: str = "stop"
    model: str = "minilm"
    soft_labels: bool = True
    limit: int = QUICK_LIMIT
    training: TrainingConfig = field(default_factory=TrainingConfig)

    def __post_init__(self):
        if self.task not in TASKS:
            raise InputError(f"the task must be one of {', '.join(TASKS)}, found {self.task!r}")
        if self.limit < 0:
            raise InputError(f"limit must be 0 (all rows) or more, found {self.limit}")


@dataclass(frozen=True)
class Prepared:
    """Rows ready for training: the splits, the class names, what cleaning did and which rows or files were
    left out.
    """

    splits: dict[str, pd.DataFrame]
    classes: tuple[str, ...]
    cleaning: dict[str, int]
    skipped: list[Problem]


def default_training(task: str, strategy: str, **changes) -> TrainingConfig:
    """The recipe's numbers for a task and a strategy, with `changes` (those that are not None) in their
    place.
    """
    if (task, strategy) not in DEFAULTS:
        raise InputError(
            f"there is no recipe for {task!r} with strategy {strategy!r}, found only "
            f"{', '.join(map(' '.join, DEFAULTS))}"
        )
    return replace(
        DEFAULTS[task, strategy],
        strategy=strategy,
        **{name: value for name, value in changes.items() if value is not None},
    )


def load_rows(config: RunConfig, data: str | None) -> tuple[pd.DataFrame, list[Problem]]:
    """The rows of `data`, or of the task's embedded data for None, and the problems of those that were left
    out.
    """
    if data is None:
        return (sources.comments() if config.task == "sentiment" else sources.animals()), []
    if config.task == "sentiment":
        return own.from_csv(
            data,
            text_column=config.text_column,
            label_column=config.label_column,
            group_column=config.group_column,
            on_bad=config.on_bad,
        )
    if Path(data).is_file():
        return own.from_labels_file(
            data, file_column=config.file_column, label_column=config.label_column, on_bad=config.on_bad
        )
    return own.from_folder(data, on_bad=config.on_bad)


def prepare(config: RunConfig) -> Prepared:
    """Load, clean and split the rows of a run; training and validation rows are limited, test rows never."""
    frame, skipped = load_rows(config, config.data)
    clean = cleaning.clean_comments if config.task == "sentiment" else cleaning.clean_images
    frame, counts = clean(frame)
    parts = splits.split(
        frame
    )  # one split for all seeds: a run that is repeated with another seed has the same test rows
    parts["train"] = splits.subsample(parts["train"], config.limit)
    parts["validation"] = splits.subsample(parts["validation"], -(-config.limit // 2))
    return Prepared(parts, tuple(sorted(frame["label"].unique())), counts, skipped)


def load_labelled(
    config: RunConfig, data: str, classes: tuple[str, ...]
) -> tuple[pd.DataFrame, list[Problem]]:
    """Your own labelled rows for the evaluation of a trained run, and the problems of those left out.

    Raises:
        DataError: with `on_bad="stop"`, some rows are bad or have a label that the run does not know.
    """
    frame, problems = load_rows(config, data)
    if config.task == "sentiment":
        frame["text"] = frame["text"].map(cleaning.clean_text)
    unknown = ~frame["label"].isin(classes)
    found = [
        Problem(
            f"row {row.id}" if row.id.isdigit() else row.id,
            f"unknown label {row.label!r}, the run knows {', '.join(classes)}",
        )
        for row in frame[unknown].itertuples()
    ]
    if found and config.on_bad == "stop":
        raise DataError(found, f"mend them in {data}, or pass --on-bad skip to go on without them")
    if unknown.all():
        raise InputError(f"{data} has no row with a label that the run knows ({', '.join(classes)})")
    return frame[~unknown].reset_index(drop=True), problems + found


def build_classifier(config: RunConfig, classes: tuple[str, ...]) -> Classifier:
    """The run's pretrained model with a fresh head; seed before calling."""
    build = text_classifier if config.task == "sentiment" else image_classifier
    return build(config.model, classes)


def loss_function(config: RunConfig, train: pd.DataFrame) -> Callable:
    """The loss of a run: where rows have `ratings`, half of each target is the label and half the shares of
    the raters' votes.

    A vote of 11 to 9 is no certainty, and a model that must call it one learns noise by heart.
    """
    if config.soft_labels and "ratings" in train:
        labels = np.eye(len(sources.SENTIMENTS), dtype=np.float32)[
            encode_labels(train, sources.SENTIMENTS)
        ]  # (N, 3)
        return soft_cross_entropy(torch.from_numpy((labels + sources.rater_shares(train["ratings"])) / 2))
    return cross_entropy(config.training.label_smoothing)


def training_loader(
    classifier: Classifier, frame: pd.DataFrame, config: TrainingConfig, **sharding
) -> DataLoader:
    """Shuffled, augmented (images) batches of `frame`; `sharding` is num_processes and process_index."""
    if classifier.task == "text":
        dataset = TextDataset(frame, classifier.preprocessor, classifier.classes)
    else:
        dataset = ImageDataset(
            frame, training_preset(classifier.preprocessor), classifier.classes, seed=config.seed
        )
    return make_loader(
        dataset, config.batch_size, collate_for(classifier), shuffle=True, seed=config.seed, **sharding
    )


def evaluation_loader(classifier: Classifier, frame: pd.DataFrame, **sharding) -> DataLoader:
    """Batches of `frame` in a fixed order, nothing random; with labels where `frame` has them."""
    classes = classifier.classes if "label" in frame else None
    if classifier.task == "text":
        dataset = TextDataset(frame, classifier.preprocessor, classes)
    else:
        dataset = ImageDataset(frame, evaluation_preset(classifier.preprocessor), classes)
    return make_loader(dataset, EVALUATION_BATCH, collate_for(classifier), **sharding)


def collate_for(classifier: Classifier):
    """The function that makes batches for this classifier's samples."""
    return PadCollate(classifier.preprocessor.pad_token_id) if classifier.task == "text" else collate_images
