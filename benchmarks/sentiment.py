"""Measure what improves the sentiment model of chapter 07, one change at a time, and how far the best recipe
gets with all comments.

usage: python benchmarks/sentiment.py     (about 45 minutes of one core, shared by all cores; goes on where it
was stopped)

Improvements: 1,500 training comments, 2 epochs, three seeds, each run one process on ONE core. The seed
decides which rows are drawn, their order and the fresh weights. Validation rows are cut in two by group: the
first part chooses the epoch, the second part, which chose nothing, is reported.

All comments: 16,415 training rows, 2 epochs, three seeds. The validation rows choose the epoch, whether one
run answers or all three together, and whether the classes get offsets (tuned on one half of the groups,
scored on the other). The choice that wins meets the test rows, once. The logits of these runs are kept in
runs/sentiment_benchmark, so that another way to combine them needs no training.

A larger encoder is a matter of MODEL ("bert-base-uncased", "roberta-base"); it has not been measured.
Results go to benchmarks/results/sentiment.json, which chapter 07 draws.
"""

import json
import os
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = (
    "1"  # before torch is imported: threads of several runs on few cores stall each other
)

import numpy as np
import pandas as pd
import runs
import torch
from strategies import rows
from torch.nn import functional as F

from helpers import environment
from helpers.data import splits
from helpers.data.datasets import encode_labels
from helpers.data.sources import SENTIMENTS, human_ceiling, rater_shares
from helpers.models.pretrained import text_classifier
from helpers.runs import recipes
from helpers.training.loop import evaluate, fit_classifier, predict_logits
from helpers.training.losses import RowLoss
from helpers.training.metrics import accuracy_interval, classification_metrics, macro_f1, macro_f1_interval
from helpers.training.runtime import Runtime
from lessons.ch05.text_augmentation import delete_words, is_negation, swap_words, with_copies

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "sentiment.json"
LOGITS = ROOT / "runs" / "sentiment_benchmark"
MODEL = "minilm"
SEEDS = (1, 2, 3)
SMALL_ROWS, FULL_ROWS = 1500, 0  # 0 = all
EPOCHS = 2
BATCH_SIZE, LEARNING_RATE = 32, 2e-4
FULL_SELECTION_ROWS = 1000  # that choose the epoch
RATING_WEIGHT = 0.5  # of the squared error of half the mean rating (-2..2) beside the cross-entropy
# the best on validation in earlier runs with all comments, and a server needs nothing but the text
FULL_RECIPE = "votes and rating"
CLAIM = {
    "accuracy": 0.80,
    "f1": 0.75,
}  # of the article that this case study goes back to: without data, split or interval


@dataclass(frozen=True)
class Recipe:
    """One way to train.

    Attributes:
        votes: half of each target is the label, half the shares of the raters' votes.
        rating: one more output learns the raters' mean; it is thrown away after training.
        augmented: every text once as it is and once with words swapped or left out, in half as many epochs.
        features: platform and length are written before each text.
        two_outputs: "negative" and "positive" as two yes-or-no questions to the raters; neutral is what is
            neither.
    """

    votes: bool = False
    rating: bool = False
    augmented: bool = False
    features: bool = False
    two_outputs: bool = False


RECIPES = {
    "hard labels": Recipe(),
    "votes": Recipe(votes=True),
    "votes and rating": Recipe(votes=True, rating=True),
    "augmented texts": Recipe(augmented=True),
    "platform and length": Recipe(features=True),
    "two yes-or-no outputs": Recipe(votes=True, two_outputs=True),
}


def with_features(frame: pd.DataFrame) -> pd.DataFrame:
    """Platform and length as words before the text: the encoder reads them like any other words."""
    words = frame["text"].str.split().str.len()
    length = np.select([words <= 10, words <= 22], ["short", "middle"], "long")
    return frame.assign(text=frame["platform"] + " " + length + ": " + frame["text"])


def changed(text: str, rng: np.random.Generator) -> str:
    """A text with a tenth of its words left out or swapped; words such as "not" are never left out."""
    return delete_words(text, rng, keep=is_negation) if rng.random() < 0.5 else swap_words(text, rng)


def targets_of(recipe: Recipe, frame: pd.DataFrame) -> torch.Tensor:
    """Targets (N, number of outputs): shares of the classes, and what else the recipe learns."""
    targets = np.eye(3, dtype=np.float32)[encode_labels(frame, SENTIMENTS)]  # (N, 3)
    if recipe.votes:
        targets = (targets + rater_shares(frame["ratings"])) / 2
    if recipe.two_outputs:
        return torch.from_numpy(targets[:, [0, 2]])  # (N, 2): negative? positive?
    rating = frame["rating"].to_numpy(dtype=np.float32)[:, None] / 2
    return torch.from_numpy(np.hstack([targets, rating]) if recipe.rating else targets)


class RecipeLoss(RowLoss):
    """The loss of a recipe's own targets (N, number of outputs)."""

    def __init__(self, recipe: Recipe, targets: torch.Tensor):
        self.recipe, self.targets = recipe, targets

    def of_logits(self, logits, batch):
        wanted = self.targets[batch["indices"]]  # (B, number of outputs)
        if self.recipe.two_outputs:
            return F.binary_cross_entropy_with_logits(logits, wanted, reduction="sum")
        total = F.cross_entropy(logits[:, :3], wanted[:, :3], reduction="sum")
        if self.recipe.rating:
            total = total + RATING_WEIGHT * F.mse_loss(logits[:, 3], wanted[:, 3], reduction="sum")
        return total


def answer_in_three_classes(recipe: Recipe, model: torch.nn.Module) -> None:
    """Let the model in evaluation mode give logits of the three classes, whatever it learns with. In
    place.
    """

    def hook(module, _inputs, output):
        if not module.training and recipe.two_outputs:
            negative, positive = output.logits.float().sigmoid().unbind(1)  # (B,) each
            output.logits = torch.stack(
                [negative, (1 - negative - positive).clamp(min=1e-4), positive], 1
            ).log()
        elif not module.training:
            output.logits = output.logits[:, :3]

    model.register_forward_hook(hook)


def train(recipe: Recipe, seed: int, rows_to_learn: pd.DataFrame, selection: pd.DataFrame):
    """Train and keep the epoch that is best on `selection`; the classifier, its runtime and that
    macro-F1.
    """
    epochs = EPOCHS
    if recipe.augmented:
        rows_to_learn, epochs = with_copies(rows_to_learn, changed, copies=1, seed=seed), EPOCHS // 2
    environment.seed_everything(seed)
    targets = targets_of(recipe, rows_to_learn)
    classifier = text_classifier(
        MODEL, SENTIMENTS if targets.shape[1] == 3 else tuple(map(str, range(targets.shape[1])))
    )
    answer_in_three_classes(recipe, classifier.model)
    classifier = replace(classifier, classes=SENTIMENTS)
    config = replace(
        recipes.default_training("sentiment", "full"),
        batch_size=BATCH_SIZE,
        learning_rate=LEARNING_RATE,
        epochs=epochs,
        patience=epochs,
        seed=seed,
    )
    runtime = Runtime(classifier.model, config.precision)
    loaders = (
        recipes.training_loader(classifier, rows_to_learn, config),
        recipes.evaluation_loader(classifier, selection),
    )
    steps = list(
        fit_classifier(
            classifier.model,
            *loaders,
            config,
            runtime=runtime,
            loss=RecipeLoss(recipe, targets),
        )
    )
    return classifier, runtime, max(step.validation["macro_f1"] for step in steps if step.validation)


def measure(job: dict) -> dict:
    """One run: `job` with its scores and its CPU time in seconds."""
    torch.set_num_threads(1)
    start = time.process_time()
    result = (measure_small if job["rows"] else measure_full)(RECIPES[job["recipe"]], job)
    return job | result | {"seconds": round(time.process_time() - start, 1)}


def measure_small(recipe: Recipe, job: dict) -> dict:
    """Train on a few rows; scores on the validation rows that chose nothing."""
    parts = rows(job["rows"], job["seed"])
    train_rows, selection, reported = [with_features(part) if recipe.features else part for part in parts]
    classifier, runtime, best = train(recipe, job["seed"], train_rows, selection)
    metrics = evaluate(classifier.model, recipes.evaluation_loader(classifier, reported), runtime)
    return {"selection_macro_f1": best, "reported": metrics}


def measure_full(recipe: Recipe, job: dict) -> dict:
    """Train on all rows; keeps the logits of validation and test rows and says how good the former are."""
    parts = all_rows()
    chosen_by = splits.subsample(parts["validation"], FULL_SELECTION_ROWS)
    classifier, runtime, best = train(recipe, job["seed"], parts["train"], chosen_by)
    LOGITS.mkdir(parents=True, exist_ok=True)
    for name in ("validation", "test"):
        logits = predict_logits(classifier.model, recipes.evaluation_loader(classifier, parts[name]), runtime)
        np.save(LOGITS / f"{name}_{job['seed']}.npy", logits)
    validation = classification_metrics(
        stored_logits("validation", job["seed"]), encode_labels(parts["validation"], SENTIMENTS)
    )
    return {"selection_macro_f1": best, "validation": asdict(validation)}


def all_rows() -> dict[str, pd.DataFrame]:
    """The three parts, none of them limited."""
    return recipes.prepare(recipes.RunConfig(task="sentiment", limit=0)).splits


def stored_logits(part: str, seed: int) -> np.ndarray:
    """Logits (N, 3) that a run with all rows has left."""
    return np.load(LOGITS / f"{part}_{seed}.npy")


def log_probabilities(part: str, seeds: tuple[int, ...]) -> np.ndarray:
    """Logarithms (N, 3) of the mean probabilities of the runs."""
    shares = [torch.from_numpy(stored_logits(part, seed)).softmax(1) for seed in seeds]
    return torch.stack(shares).mean(0).log().numpy()


def choose(validation: pd.DataFrame) -> tuple[list[dict], dict]:
    """Every way to combine the runs with its validation macro-F1, cross-fitted over two halves of the groups,
    and the best of them.
    """
    from lessons.ch07.calibration import class_offsets

    targets = encode_labels(validation, SENTIMENTS)
    half = pd.factorize(validation["group"])[0] % 2
    candidates = []
    for name, seeds in (("one run", SEEDS[:1]), ("three runs together", SEEDS)):
        logits = log_probabilities("validation", seeds)
        guesses = np.zeros(len(targets), dtype=int)
        for side in (0, 1):
            offsets = class_offsets(logits[half != side], targets[half != side])
            guesses[half == side] = (logits[half == side] + offsets).argmax(1)
        plain = {"name": name, "seeds": seeds, "offsets": [0.0, 0.0, 0.0]}
        tuned = {
            "name": f"{name}, offsets",
            "seeds": seeds,
            "offsets": class_offsets(logits, targets).round(3).tolist(),
        }
        candidates.append(plain | {"validation_macro_f1": macro_f1(targets, logits.argmax(1), 3)})
        candidates.append(tuned | {"validation_macro_f1": macro_f1(targets, guesses, 3)})
    return candidates, max(candidates, key=lambda candidate: candidate["validation_macro_f1"])


def test_once(chosen: dict, test: pd.DataFrame) -> dict:
    """The chosen combination on the test rows, beside people on the same rows."""
    targets, groups = encode_labels(test, SENTIMENTS), test["group"].to_numpy()
    logits = log_probabilities("test", chosen["seeds"]) + np.array(chosen["offsets"])
    guesses = logits.argmax(1)
    return asdict(classification_metrics(logits, targets)) | {
        "macro_f1_interval": macro_f1_interval(targets, guesses, 3, groups=groups),
        "accuracy_interval": accuracy_interval(targets, guesses, groups=groups),
        "human_ceiling": human_ceiling(test["ratings"]),
        "by_platform": {
            platform: {
                "macro_f1": macro_f1(targets[at], guesses[at], 3),
                "human": human_ceiling(test["ratings"].iloc[at])["macro_f1"],
            }
            for platform, at in test.groupby("platform").indices.items()
        },
    }


def main() -> None:
    """Measure what is missing on all cores, then choose and test."""
    small = [{"recipe": recipe, "rows": SMALL_ROWS, "seed": seed} for seed in SEEDS for recipe in RECIPES]
    full = [{"recipe": FULL_RECIPE, "rows": FULL_ROWS, "seed": seed} for seed in SEEDS]
    wanted = [*full[:1], *small, *full[1:]]  # the longest first, and one of them always beside the short ones
    settings = {"model": MODEL, "epochs": EPOCHS, "batch_size": BATCH_SIZE, "learning_rate": LEARNING_RATE}
    results = runs.opened(RESULTS, settings) | {"claim": CLAIM}
    runs.complete(RESULTS, results, "runs", wanted, measure)
    parts = all_rows()
    results["candidates"], results["chosen"] = choose(parts["validation"])
    results["test"] = test_once(results["chosen"], parts["test"])
    RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
