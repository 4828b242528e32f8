"""Compare optimizers, learning rates and batch sizes on a small CNN, for the figures of chapter 03.

usage: python benchmarks/optimizers.py     (about 10 minutes on one CPU core)

Every run starts from the same kind of fresh network and is judged by its last epoch on the validation rows:
no run may choose its best epoch. Test rows are not read. Results go to benchmarks/results/optimizers.json;
chapter 03 reads that file.
"""

import itertools
import json
import sys
import time
from dataclasses import replace
from pathlib import Path

import torch

from helpers import environment
from helpers.data import cleaning, sources, splits
from helpers.data.collate import collate_images
from helpers.data.loaders import make_loader
from helpers.safety.finite import NotFinite
from helpers.training.config import TrainingConfig
from helpers.training.loop import fit_classifier
from helpers.training.runtime import Runtime
from helpers.tuning.optimization import OPTIMIZERS
from lessons.ch03.networks import CNN
from lessons.ch03.silhouettes import Silhouettes

RESULTS = Path(__file__).resolve().parent / "results" / "optimizers.json"
TRAIN_ROWS, VALIDATION_ROWS, WIDTH, SEEDS = 2000, 1000, 8, range(5)
BASE = TrainingConfig(
    epochs=5, batch_size=64, patience=99, precision="no"
)  # linear decay after a short warm-up
RATES = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
HIGHER_RATES = {
    "adadelta": (30.0, 100.0)
}  # the others learn nothing from 3 on; no optimizer's best rate may lie at an end of its grid
BATCH_SIZES = (16, 64, 256)
BATCH_RATE = 0.1  # of SGD with 64 rows; "scaled" multiplies it by rows / 64 (Goyal et al., 2017)
WAYS = ("same epochs, same rate", "same epochs, scaled rate", "same steps, scaled rate")


def run(train: Silhouettes, validation: Silhouettes, config: TrainingConfig) -> dict:
    """Train once; what was set, the last epoch's validation accuracy and loss, steps and seconds; a training
    that diverges has accuracy 0 and loss None: it leaves no model.
    """
    environment.seed_everything(config.seed)
    model = CNN(len(sources.ANIMALS), width=WIDTH)
    train_loader = make_loader(train, config.batch_size, collate_images, shuffle=True, seed=config.seed)
    validation_loader = make_loader(validation, 500, collate_images)
    start, runtime = time.perf_counter(), Runtime(model, "no")
    scores, steps = {"accuracy": 0.0, "loss": None}, 0  # of a training that ends without a usable model
    try:
        for step in fit_classifier(model, train_loader, validation_loader, config, runtime=runtime):
            scores, steps = step.validation or scores, step.step
    except NotFinite:
        scores = {"accuracy": 0.0, "loss": None}
    settings = {
        name: getattr(config, name) for name in ("optimizer", "learning_rate", "batch_size", "epochs", "seed")
    }
    return settings | {
        "accuracy": scores["accuracy"],
        "loss": scores["loss"] and round(scores["loss"], 4),
        "steps": steps,
        "seconds": round(time.perf_counter() - start, 2),
    }


def batch_configs(way: str, batch_size: int) -> TrainingConfig:
    """The base configuration with this batch size, its epochs and its rate chosen by `way`, one of `WAYS`."""
    share = batch_size / BASE.batch_size
    epochs = max(1, round(BASE.epochs * share)) if "steps" in way else BASE.epochs
    rate = BATCH_RATE * share if "scaled" in way else BATCH_RATE
    return replace(BASE, optimizer="sgd", learning_rate=rate, batch_size=batch_size, epochs=epochs)


def main() -> None:
    """Run the whole grid and write the results file."""
    torch.set_num_threads(1)
    parts = splits.split(cleaning.clean_images(sources.animals())[0])
    data = (
        Silhouettes(splits.subsample(parts["train"], TRAIN_ROWS)),
        Silhouettes(splits.subsample(parts["validation"], VALIDATION_ROWS)),
    )
    rates = [
        run(*data, replace(BASE, optimizer=optimizer, learning_rate=rate, seed=seed))
        for optimizer in OPTIMIZERS
        for rate, seed in itertools.product(RATES + HIGHER_RATES.get(optimizer, ()), SEEDS)
    ]
    batches = [
        {"way": way} | run(*data, replace(batch_configs(way, size), seed=seed))
        for way, size, seed in itertools.product(WAYS, BATCH_SIZES, SEEDS)
    ]
    settings = {
        "model": f"CNN(10, width={WIDTH})",
        "train_rows": TRAIN_ROWS,
        "validation_rows": VALIDATION_ROWS,
        "schedule": BASE.schedule,
        "warmup_share": BASE.warmup_share,
        "weight_decay": BASE.weight_decay,
        "max_grad_norm": BASE.max_grad_norm,
        "threads": 1,
    }
    results = {"settings": settings, "versions": environment.versions(), "rates": rates, "batches": batches}
    RESULTS.write_text(as_text(results), encoding="utf-8")


def as_text(results: dict) -> str:
    """JSON with one run per line, so that a changed run is one changed line."""
    lists = {
        name: "[\n" + ",\n".join(f"    {json.dumps(row)}" for row in results[name]) + "\n  ]"
        for name in ("rates", "batches")
    }
    heads = {
        name: json.dumps(results[name], indent=2).replace("\n", "\n  ") for name in ("settings", "versions")
    }
    return "{\n" + ",\n".join(f'  "{name}": {text}' for name, text in (heads | lists).items()) + "\n}\n"


if __name__ == "__main__":
    sys.exit(main())
