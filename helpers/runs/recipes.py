"""The course's jobs, from rows to a training that can start (chapters 06 and 07).

A recipe says which data, which model and which numbers by default; your own data takes the same road.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import nn
from torch.utils.data import DataLoader

from helpers import environment
from helpers.data import full, sources, splits
from helpers.data.collate import collate_features
from helpers.data.datasets import MAX_TOKENS, FeatureDataset, encode_labels
from helpers.data.loaders import make_loader
from helpers.data.tokens import TokenCounts
from helpers.errors import InputError, Problem
from helpers.models.pretrained import Classifier
from helpers.runs.rows import SplitRows, emptied_classes
from helpers.tasks import TASKS, task_named
from helpers.training.config import TrainingConfig
from helpers.training.loop import evaluate, predict_logits
from helpers.training.losses import Classification, Loss
from helpers.training.runtime import Runtime
from helpers.tuning.frozen import head_inputs, single_head
from helpers.tuning.layers import knows_layers

QUICK_LIMIT = 2000  # training rows at quick scale
TRACKERS = ("tensorboard", "mlflow", "wandb")
EVALUATION_BATCH = 128  # no gradients are kept, so more rows fit than in training
SCORES = ("accuracy", "macro_f1", "loss")  # what `loop.evaluate` returns

# Chosen on validation rows; `benchmarks/case_studies.py` measures what they reach on the test rows.
DEFAULTS = {
    ("text", "full"): TrainingConfig(epochs=3, batch_size=16, learning_rate=1.5e-4, layer_decay=0.9),
    ("text", "head"): TrainingConfig(epochs=5, learning_rate=3e-2),
    ("text", "gradual"): TrainingConfig(epochs=4, learning_rate=2e-4, layer_decay=0.9),
    ("text", "lora"): TrainingConfig(epochs=4, batch_size=16, learning_rate=1e-3),
    ("images", "full"): TrainingConfig(epochs=4, learning_rate=2e-3, layer_decay=0.9),
    ("images", "head"): TrainingConfig(epochs=20, learning_rate=1e-2, patience=20),
    ("images", "gradual"): TrainingConfig(epochs=5, learning_rate=2e-3, layer_decay=0.9),
    ("images", "lora"): TrainingConfig(epochs=4, learning_rate=5e-3),
}


@dataclass(frozen=True)
class RunConfig:
    """One training run, complete: the same configuration on the same machine, with the same number of threads
    (metrics.json notes it), gives the same weights.
    """

    task: str  # "text" (or "sentiment") or "images", see tasks
    data: str | None = None  # your own table or image folder, or a name (sources.NAMED); None: embedded
    text_column: str = "text"  # the columns of your file, see own
    label_column: str = "label"
    group_column: str | None = None
    file_column: str = "file"
    on_bad: str = "stop"  # or "skip": bad rows or files
    model: str = "minilm"  # a name or folder, see models.pretrained
    max_length: int = MAX_TOKENS  # tokens that the model reads of a text; its end is cut
    cache: bool = True  # keep shrunken copies of photographs on disk
    soft_labels: bool = True  # learn the raters' votes beside the label, where rows have ratings
    limit: int = QUICK_LIMIT  # most training rows, half of it for validation; 0 is all; no test limit
    log_with: str | None = None  # tensorboard, mlflow or wandb, beside history.csv
    stream: bool = False  # `data` is a folder of shards whose rows no memory need hold
    training: TrainingConfig = field(default_factory=TrainingConfig)

    def __post_init__(self):
        object.__setattr__(self, "task", task_named(self.task).name)  # also by an older word
        if self.limit < 0:
            raise InputError(f"limit must be 0 (all rows) or more, found {self.limit}")
        if self.max_length < 3:  # two special tokens and one of the text
            raise InputError(f"max_length must be at least 3 tokens, found {self.max_length}")
        if self.log_with not in (None, *TRACKERS):
            raise InputError(f"log_with must be one of {', '.join(TRACKERS)}, found {self.log_with!r}")


@dataclass(frozen=True)
class Prepared(SplitRows):
    """Rows ready for training.

    Attributes:
        splits: "train", "validation" and "test".
        classes: their names, in the order of the model's outputs.
        cleaning: what was repaired and dropped.
        skipped: problems of the rows that were left out.
        class_counts: rows of each class before the limit, the largest first.
        before: rows of each split before the limit.
        noticed: what else a person should know of these rows, in sentences.
    """

    splits: dict[str, pd.DataFrame]
    classes: tuple[str, ...]
    cleaning: dict[str, int]
    skipped: list[Problem]
    class_counts: dict[str, int]
    before: dict[str, int]
    noticed: list[str]

    @property
    def largest(self) -> str:
        """The class with most training rows."""
        labels = encode_labels(self.splits["train"], self.classes)
        return self.classes[np.bincount(labels).argmax()]


@dataclass(frozen=True)
class Job:
    """A training that can start.

    Attributes:
        classifier: the whole model with what it needs to be used.
        model: what is trained: the classifier's model, or its head alone, on features computed once.
        loaders: "train" and "validation", of what `model` takes.
        loss, score, runtime, config: arguments of `fit`.
        cut: what the model will not see of texts; None for pictures, or where nobody has counted.
    """

    classifier: Classifier
    model: nn.Module
    loaders: dict[str, DataLoader]
    loss: Loss
    score: Callable[[nn.Module], dict[str, float]]
    runtime: Runtime
    config: TrainingConfig
    cut: TokenCounts | None = None

    @property
    def name(self) -> str:
        """Of the pretrained model."""
        return self.classifier.name


def default_training(task: str, strategy: str, **changes) -> TrainingConfig:
    """The recipe's numbers for a task and a strategy, but for those `changes` that are not None.

    Example: `default_training("text", "full", epochs=1)`
    """
    name = task_named(task).name
    if (name, strategy) not in DEFAULTS:
        known = ", ".join(map(" ".join, DEFAULTS))
        raise InputError(f"there is no recipe for {task!r} with strategy {strategy!r}, found only {known}")
    changes = {name: value for name, value in changes.items() if value is not None}
    return replace(DEFAULTS[name, strategy], strategy=strategy, **changes)


def load_rows(config: RunConfig, data: str | None) -> tuple[pd.DataFrame, list[Problem]]:
    """The rows of `data`, or of the embedded data for None, and the problems of those that were left out.

    A path comes first: "pets" is full scale's data set where nothing here has that name.
    """
    task = task_named(config.task)
    if data is None:
        return task.embedded(), []
    if not full.is_data_set(data):
        return task.read(data, config)
    kind, rows = sources.NAMED[data]
    if kind != task.name:
        raise InputError(f"{data} is data for {kind}, and the task is {task.name}; choose another")
    return rows(), []


def prepare(config: RunConfig) -> Prepared:
    """Load, clean and split the rows of a run; training and validation rows are limited, test rows never.

    Raises InputError: bad data, or nothing is left of them after cleaning.
    """
    frame, skipped = load_rows(config, config.data)
    noticed, read = list(frame.attrs.get("noticed", [])), set(frame["label"])
    frame, counts = task_named(config.task).clean(frame, own=config.data is not None)
    noticed += emptied_classes(read, frame, counts)
    parts = _split(frame, counts)
    before = {name: len(part) for name, part in parts.items()}
    parts["train"] = splits.subsample(parts["train"], config.limit)
    parts["validation"] = splits.subsample(parts["validation"], math.ceil(config.limit / 2))
    class_counts = frame["label"].value_counts().to_dict()
    return Prepared(parts, tuple(sorted(class_counts)), counts, skipped, class_counts, before, noticed)


def _split(frame: pd.DataFrame, counts: dict[str, int]) -> dict[str, pd.DataFrame]:
    try:
        return splits.split(frame)  # one split for all seeds: a run with another seed has the same test rows
    except InputError as error:
        near = counts.get("near_copies_kept_together", 0)
        if not near:
            raise
        why = f"{near:,} rows differ from others in case, punctuation or symbols alone and must stay together"
        raise InputError(f"{error} ({why})") from error


def build_classifier(config: RunConfig, classes: tuple[str, ...]) -> Classifier:
    """The run's pretrained model with a fresh head; seed before calling."""
    return task_named(config.task).build(config.model, classes, config)


def job(config: RunConfig, prepared: Prepared, *, folder: Path | None = None) -> Job:
    """Model, loaders, loss, score and runtime of a run; every process of it calls this.

    Args:
        config: what to do.
        prepared: what `prepare` returned.
        folder: folder for a tracker that writes files.
    """
    environment.seed_everything(config.training.seed)  # the head's first weights
    classifier, training = build_classifier(config, prepared.classes), config.training
    if not knows_layers(classifier.model):
        training = replace(training, layer_decay=1.0)
    options = {"shard": training.shard, "log_with": config.log_with, "folder": folder}
    runtime = Runtime(classifier.model, training.precision, **options)
    model, head = classifier.model, single_head(classifier.model)
    if training.strategy == "head" and head is not None and not config.stream:
        # What a frozen body makes of a picture never changes: computed once, and the head alone is trained.
        model, loaders = head, _feature_loaders(classifier, prepared, config, runtime)
        training = replace(training, strategy="full", layer_decay=1.0)
    else:
        train, validation = prepared.splits["train"], prepared.splits["validation"]
        evaluating = {"num_workers": training.num_workers, "use_cache": config.cache}
        loaders = {
            "train": training_loader(classifier, train, training, use_cache=config.cache, **runtime.sharding),
            "validation": evaluation_loader(classifier, validation, **evaluating, **runtime.sharding),
        }
    score = partial(evaluate, loader=loaders["validation"], runtime=runtime)
    loss = loss_of(config, prepared.splits["train"])
    return Job(classifier, model, loaders, loss, score, runtime, training)


def _feature_loaders(classifier: Classifier, prepared: Prepared, config: RunConfig, runtime: Runtime) -> dict:
    """Loaders of the features that the model's body hands to its head, for pictures as they are in use."""
    training, sharding = config.training, runtime.sharding
    options = {"num_workers": training.num_workers, "use_cache": config.cache}
    of_body, datasets = partial(head_inputs, head=single_head(classifier.model)), {}
    for name in ("train", "validation"):
        loader = evaluation_loader(classifier, prepared.splits[name], **options, **sharding)
        features = predict_logits(classifier.model, loader, runtime, of_body)
        datasets[name] = FeatureDataset(features, loader.dataset.labels)
    shuffled = {"shuffle": True, "seed": training.seed}
    return {
        "train": make_loader(
            datasets["train"], training.batch_size, collate_features, **shuffled, **sharding
        ),
        "validation": make_loader(datasets["validation"], EVALUATION_BATCH, collate_features, **sharding),
    }


def loss_of(config: RunConfig, train: pd.DataFrame) -> Loss:
    """Cross-entropy; of rows with `ratings`, half of each target is the label, half the shares of the votes.

    A vote of 11 to 9 is no certainty, and a model that must call it one learns noise by heart.
    """
    if not config.soft_labels or "ratings" not in train:
        return Classification(config.training.label_smoothing)
    labels = np.eye(3, dtype=np.float32)[encode_labels(train, sources.SENTIMENTS)]  # (N, 3)
    shares = (labels + sources.rater_shares(train["ratings"])) / 2
    return Classification(distributions=torch.from_numpy(shares))


def training_loader(
    classifier: Classifier, frame: pd.DataFrame, config: TrainingConfig, *, use_cache=True, **sharding
):
    """A loader of shuffled batches of `frame`, pictures augmented; `sharding` is `Runtime.sharding`."""
    task = TASKS[classifier.task]
    dataset = task.dataset(frame, classifier, augmented=True, seed=config.seed, use_cache=use_cache)
    options = {"shuffle": True, "seed": config.seed, "num_workers": config.num_workers}
    return make_loader(dataset, config.batch_size, task.collate(classifier), **options, **sharding)


def evaluation_loader(
    classifier: Classifier, frame: pd.DataFrame, *, num_workers: int | None = None, use_cache=True, **sharding
):
    """A loader of `frame` in a fixed order, nothing random; with labels where `frame` has them."""
    task = TASKS[classifier.task]
    dataset = task.dataset(frame, classifier, labelled="label" in frame, use_cache=use_cache)
    return make_loader(
        dataset, EVALUATION_BATCH, task.collate(classifier), num_workers=num_workers, **sharding
    )
