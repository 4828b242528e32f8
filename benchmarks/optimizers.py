"""Compare optimizers, learning rates, batch sizes and schedules on a small CNN, for chapter 03.

usage: python benchmarks/optimizers.py     (about 14 minutes on one CPU core, 2 of them for the schedules)

Every run starts from the same kind of fresh network and is judged by its last epoch on the validation rows:
no run may choose its best epoch. Test rows are not read. Each run is written to
benchmarks/results/optimizers.json as soon as it has ended, and a run that stands there is not repeated: start
again after an interruption, or delete the lines that shall be measured anew. Chapter 03 reads that file.
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
PAIRED_SEEDS = range(10)  # constant and falling rate are compared seed by seed
DECAYED_RATES = (0.03, 0.01)
SETTINGS = ("optimizer", "learning_rate", "batch_size", "epochs", "seed")


def main() -> None:
    """Run what is missing in the results file, and write it after each run."""
    torch.set_num_threads(1)
    parts = splits.split(cleaning.clean_images(sources.animals())[0])
    data = (
        Silhouettes(splits.subsample(parts["train"], TRAIN_ROWS)),
        Silhouettes(splits.subsample(parts["validation"], VALIDATION_ROWS)),
    )
    results = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    results["settings"] = {
        "model": f"CNN(10, width={WIDTH})",
        "train_rows": TRAIN_ROWS,
        "validation_rows": VALIDATION_ROWS,
        "schedule": BASE.schedule,
        "warmup_share": BASE.warmup_share,
        "weight_decay": BASE.weight_decay,
        "max_grad_norm": BASE.max_grad_norm,
        "threads": 1,
    }
    results["versions"] = environment.versions()
    for part, label, config in planned():
        done = results.setdefault(part, [])
        row = {name: getattr(config, name) for name in SETTINGS}
        if any((label | row).items() <= other.items() for other in done):
            continue
        # The first part has trained with the falling rate from the first seeds, and otherwise alike.
        twins = results["rates"] if label == {"schedule": BASE.schedule} else ()
        twin = next((other for other in twins if row.items() <= other.items()), None)
        done.append(label | (twin or row | run(*data, config)))
        RESULTS.write_text(as_text(results), encoding="utf-8")


def planned() -> list[tuple[str, dict, TrainingConfig]]:
    """Every run: its part of the results, what it is called there, its configuration."""
    runs = []
    for optimizer in OPTIMIZERS:
        for rate, seed in itertools.product(RATES + HIGHER_RATES.get(optimizer, ()), SEEDS):
            runs.append(("rates", {}, replace(BASE, optimizer=optimizer, learning_rate=rate, seed=seed)))
    for way, size, seed in itertools.product(WAYS, BATCH_SIZES, SEEDS):
        runs.append(("batches", {"way": way}, replace(batch_config(way, size), seed=seed)))
    for rate, schedule, seed in itertools.product(DECAYED_RATES, ("constant", "linear"), PAIRED_SEEDS):
        config = replace(BASE, schedule=schedule, learning_rate=rate, seed=seed)
        runs.append(("decay", {"schedule": schedule}, config))
    return runs


def batch_config(way: str, batch_size: int) -> TrainingConfig:
    """The base configuration with this batch size, its epochs and its rate chosen by `way`, one of `WAYS`."""
    share = batch_size / BASE.batch_size
    epochs = max(1, round(BASE.epochs * share)) if "steps" in way else BASE.epochs
    rate = BATCH_RATE * share if "scaled" in way else BATCH_RATE
    return replace(BASE, optimizer="sgd", learning_rate=rate, batch_size=batch_size, epochs=epochs)


def run(train: Silhouettes, validation: Silhouettes, config: TrainingConfig) -> dict:
    """Train once; the last epoch's validation accuracy and loss, steps and seconds; a training that diverges
    has accuracy 0 and loss None: it leaves no model.
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
    return {
        "accuracy": scores["accuracy"],
        "loss": scores["loss"] and round(scores["loss"], 4),
        "steps": steps,
        "seconds": round(time.perf_counter() - start, 2),
    }


def as_text(results: dict) -> str:
    """JSON with one run per line, so that a changed run is one changed line."""
    texts = {}
    for name, found in results.items():
        if isinstance(found, list):
            texts[name] = "[\n" + ",\n".join(f"    {json.dumps(row)}" for row in found) + "\n  ]"
        else:
            texts[name] = json.dumps(found, indent=2).replace("\n", "\n  ")
    return "{\n" + ",\n".join(f'  "{name}": {text}' for name, text in texts.items()) + "\n}\n"


if __name__ == "__main__":
    sys.exit(main())
