"""Measure what improves the sentiment model of chapter 07, one change at a time, and how far the best recipe
gets with all comments.

usage: python benchmarks/sentiment.py          (about 50 minutes of one core; goes on where it was stopped)
       python benchmarks/sentiment.py full     (about 30 minutes of one core, after the first)

Small part: 900 training comments, ten seeds, each run one process on ONE core. All runs have the same
settings (`SETTINGS`), the same number of optimizer steps, and keep their last weights: nothing is chosen.
The seed decides which rows are drawn, their order and the fresh weights. Scored are validation comments.

Full part: all training rows by the recipe that the small part found best among those that need nothing but a
text, with the same settings and three seeds. The validation rows choose whether one run answers or all three
together, and whether the classes get offsets (tuned on one half of the groups, scored on the other). The
choice that wins meets the test rows, once. The logits of these runs are kept in runs/sentiment_benchmark, so
that another way to combine them needs no training.

A larger encoder is a matter of `SETTINGS["model"]` ("bert-base-uncased", "roberta-base"); not measured.
Results go to benchmarks/results/sentiment.json, which chapter 07 draws.
"""

import json
import os
import sys
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = (
    "1"  # before torch is imported: threads of several runs on few cores stall each other
)

import numpy as np
import pandas as pd
import torch
from torch import nn
from torch.nn import functional as F

import runs
from helpers import assets, environment
from helpers.data import sources
from helpers.data.datasets import encode_labels
from helpers.data.sources import SENTIMENTS
from helpers.models.classifier import Classifier, quiet_transformers
from helpers.models.forward import forward
from helpers.models.pooling import masked_mean
from helpers.runs import recipes
from helpers.training.loop import fit, predict_logits
from helpers.training.losses import RowLoss
from helpers.training.metrics import accuracy_interval, classification_metrics, macro_f1, macro_f1_interval
from helpers.training.runtime import Runtime
from lessons.ch05.text_augmentation import delete_words, is_negation, swap_words, with_copies

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "sentiment.json"
LOGITS = ROOT / "runs" / "sentiment_benchmark"
SEEDS, FULL_SEEDS = tuple(range(1, 11)), (1, 2, 3)
SMALL_ROWS, FULL_ROWS = 900, 0  # 0 = all
REPORTED_ROWS = 1200  # validation rows
SETTINGS = {"model": "minilm", "epochs": 2, "batch_size": 32, "learning_rate": 2e-4}
RATING_WEIGHT = 0.5  # of the squared error of half the mean rating (-2..2) beside the cross-entropy


@dataclass(frozen=True)
class Recipe:
    """One way to train.

    Attributes:
        votes: half of each target is the label, half the shares of the raters' votes.
        rating: one more output learns the raters' mean; it is thrown away after training.
        two_outputs: "negative" and "positive" as two yes-or-no questions; neutral is what is neither.
        augmented: every text once as it is and once with words swapped or left out, in half as many epochs.
        words_before: platform and length are written before each text.
        fused: platform and length stand beside the encoder's vector, as numbers before the last layer.
        cls: the vector of `[CLS]` through the pooler, not the masked mean, is what the head reads.
    """

    votes: bool = False
    rating: bool = False
    two_outputs: bool = False
    augmented: bool = False
    words_before: bool = False
    fused: bool = False
    cls: bool = False


# Each differs in one thing from the recipe that `AGAINST` names, by default from the first.
RECIPES = {
    "hard labels": Recipe(),
    "votes": Recipe(votes=True),
    "votes and rating": Recipe(votes=True, rating=True),
    "votes, two yes-or-no outputs": Recipe(votes=True, two_outputs=True),
    "augmented texts": Recipe(augmented=True),
    "platform and length as words": Recipe(words_before=True),
    "platform and length at the head": Recipe(fused=True),
    "pooler of [CLS]": Recipe(cls=True),
}
AGAINST = {"votes and rating": "votes", "votes, two yes-or-no outputs": "votes"}
NEEDS_PLATFORM = ("platform and length as words", "platform and length at the head")  # a server has no such


def features_of(frame: pd.DataFrame) -> torch.Tensor:
    """Platform (one of four) and length of each text as numbers, float32 (N, 5)."""
    platforms = frame["platform"].to_numpy()[:, None] == np.array(list(sources.PLATFORMS))  # (N, 4)
    length = np.log(frame["text"].str.len().to_numpy())[:, None] - 4.4  # about 0 for a usual comment
    return torch.from_numpy(np.hstack([platforms, length]).astype(np.float32))


class PooledBert(nn.Module):
    """An encoder whose masked mean (384), with features beside it if there are any, is read by one layer."""

    def __init__(self, num_outputs: int, num_features: int = 0):
        super().__init__()
        from transformers import AutoModel

        with quiet_transformers():
            self.bert = AutoModel.from_pretrained(
                assets.path(SETTINGS["model"]), add_pooling_layer=False, dtype=torch.float32
            )
        self.dropout = nn.Dropout(0.1)
        self.classifier = nn.Linear(self.bert.config.hidden_size + num_features, num_outputs)
        nn.init.normal_(self.classifier.weight, std=self.bert.config.initializer_range)
        nn.init.zeros_(self.classifier.bias)

    @property
    def base_model(self) -> nn.Module:
        """What `layer_groups` asks for."""
        return self.bert

    def forward(self, input_ids, attention_mask, features=None):
        hidden = self.bert(input_ids, attention_mask=attention_mask).last_hidden_state  # (B, L, 384)
        pooled = self.dropout(masked_mean(hidden, attention_mask))  # (B, 384)
        return self.classifier(pooled if features is None else torch.cat([pooled, features], 1))


def with_words_before(frame: pd.DataFrame) -> pd.DataFrame:
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
        targets = (targets + sources.rater_shares(frame["ratings"])) / 2
    if recipe.two_outputs:
        return torch.from_numpy(targets[:, [0, 2]])  # (N, 2): negative? positive?
    rating = frame["rating"].to_numpy(dtype=np.float32)[:, None] / 2
    return torch.from_numpy(np.hstack([targets, rating]) if recipe.rating else targets)


def outputs_of(recipe: Recipe, frame: pd.DataFrame):
    """A function of (model, batch) to the outputs (B, number of outputs) for the rows of `frame`."""
    if not recipe.fused:
        return forward
    features = features_of(frame)  # (N, 5)

    def fused(model, batch):
        rows_features = features.to(batch["input_ids"].device)[batch["indices"]]  # (B, 5)
        return model(batch["input_ids"], batch["attention_mask"], rows_features)

    return fused


class RecipeLoss(RowLoss):
    """The loss of a recipe's own targets (N, number of outputs)."""

    def __init__(self, recipe: Recipe, frame: pd.DataFrame):
        self.recipe, self.targets = recipe, targets_of(recipe, frame)
        self.outputs = outputs_of(recipe, frame)

    def __call__(self, model, batch):
        outputs = self.outputs(model, batch).float()
        wanted = self.targets.to(outputs.device)[batch["indices"]]  # (B, number of outputs)
        if self.recipe.two_outputs:
            return F.binary_cross_entropy_with_logits(outputs, wanted, reduction="sum")
        total = F.cross_entropy(outputs[:, :3], wanted[:, :3], reduction="sum")
        if self.recipe.rating:
            total = total + RATING_WEIGHT * F.mse_loss(outputs[:, 3], wanted[:, 3], reduction="sum")
        return total


def in_three_classes(recipe: Recipe, outputs: np.ndarray) -> np.ndarray:
    """Outputs (N, number of outputs) as logits (N, 3) of the classes."""
    if not recipe.two_outputs:
        return outputs[:, :3]
    negative, positive = torch.from_numpy(outputs).sigmoid().unbind(1)  # (N,) each
    return torch.stack([negative, (1 - negative - positive).clamp(min=1e-4), positive], 1).log().numpy()


def built(recipe: Recipe, num_outputs: int) -> Classifier:
    """The pretrained encoder with the recipe's fresh head; seed before calling."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    source = assets.path(SETTINGS["model"])
    with quiet_transformers():
        tokenizer = AutoTokenizer.from_pretrained(source)
        if recipe.cls:
            options = {"num_labels": num_outputs, "dtype": torch.float32}
            model = AutoModelForSequenceClassification.from_pretrained(source, **options)
        else:
            model = PooledBert(num_outputs, 5 if recipe.fused else 0)
    return Classifier("text", SETTINGS["model"], model, SENTIMENTS, tokenizer)


def train(recipe: Recipe, seed: int, frame: pd.DataFrame) -> tuple[Classifier, Runtime]:
    """Train and keep the last weights."""
    epochs = SETTINGS["epochs"]
    if recipe.augmented:
        frame, epochs = with_copies(frame, changed, copies=1, seed=seed), epochs // 2
    environment.seed_everything(seed)
    loss = RecipeLoss(recipe, frame)
    classifier = built(recipe, loss.targets.shape[1])
    config = replace(
        recipes.default_training("sentiment", "full"),
        batch_size=SETTINGS["batch_size"],
        learning_rate=SETTINGS["learning_rate"],
        epochs=epochs,
        evaluate_every=10**6,  # the last step alone
        select="step",
        seed=seed,
    )
    runtime = Runtime(classifier.model, config.precision)
    loader = recipes.training_loader(classifier, frame, config)
    steps = fit(classifier.model, loader, config, loss=loss, score=lambda _: {"step": 0.0}, runtime=runtime)
    for _ in steps:
        pass
    return classifier, runtime


def logits_of(recipe: Recipe, classifier: Classifier, runtime: Runtime, frame: pd.DataFrame) -> np.ndarray:
    """Logits (N, 3) of the rows."""
    loader, outputs = recipes.evaluation_loader(classifier, frame), outputs_of(recipe, frame)
    return in_three_classes(recipe, predict_logits(classifier.model, loader, runtime, outputs))


def scores(logits: np.ndarray, frame: pd.DataFrame) -> dict:
    """Accuracy, macro-F1, loss and number of rows."""
    return asdict(classification_metrics(logits, encode_labels(frame, SENTIMENTS)))


def measure(job: dict) -> dict:
    """One run: `job` with its scores on the reported validation rows and its CPU time in seconds."""
    torch.set_num_threads(1)
    start, recipe = time.process_time(), RECIPES[job["recipe"]]
    parts = all_rows()
    learnt, _, reported = runs.three_parts(parts, job["rows"], job["seed"], 0, REPORTED_ROWS)
    if recipe.words_before:
        learnt, reported = with_words_before(learnt), with_words_before(reported)
    classifier, runtime = train(recipe, job["seed"], learnt)
    result = {"reported": scores(logits_of(recipe, classifier, runtime, reported), reported)}
    result["precision"] = runtime.precision
    if not job["rows"]:
        for name in ("validation", "test"):
            logits = logits_of(recipe, classifier, runtime, parts[name])
            np.save(LOGITS / f"{name}_{job['seed']}.npy", logits)
    return job | result | {"seconds": round(time.process_time() - start, 1)}


def all_rows() -> dict[str, pd.DataFrame]:
    """The three parts, none of them limited; `main` has kept them, for cleaning takes longer than reading."""
    return {file.stem: pd.read_parquet(file) for file in LOGITS.glob("*.parquet")}


def keep_rows() -> None:
    """Clean and split the comments once for all processes."""
    LOGITS.mkdir(parents=True, exist_ok=True)
    prepared = recipes.prepare(recipes.RunConfig(task="sentiment", limit=0))
    for name, frame in prepared.splits.items():
        frame.to_parquet(LOGITS / f"{name}.parquet")


def best_recipe(small: list[dict]) -> str:
    """The recipe with the best mean macro-F1 on validation rows, of those that need nothing but a text."""
    found = {
        name: [run["reported"]["macro_f1"] for run in small if run["recipe"] == name] for name in RECIPES
    }
    means = {name: np.mean(values) for name, values in found.items() if name not in NEEDS_PLATFORM}
    return max(means, key=means.get)


def log_probabilities(part: str, seeds: tuple[int, ...]) -> np.ndarray:
    """Logarithms (N, 3) of the mean probabilities of the runs."""
    shares = [torch.from_numpy(np.load(LOGITS / f"{part}_{seed}.npy")).softmax(1) for seed in seeds]
    return torch.stack(shares).mean(0).log().numpy()


def choose(validation: pd.DataFrame) -> tuple[list[dict], dict]:
    """Every way to combine the runs with its validation macro-F1, cross-fitted over two halves of the groups,
    and the best of them.
    """
    from lessons.ch07.calibration import class_offsets

    targets = encode_labels(validation, SENTIMENTS)
    half = pd.factorize(validation["group"])[0] % 2
    candidates = []
    for name, seeds in (("one run", FULL_SEEDS[:1]), ("three runs together", FULL_SEEDS)):
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
    """The chosen combination on the test rows, beside one person on the same rows."""
    targets, groups = encode_labels(test, SENTIMENTS), test["group"].to_numpy()
    logits = log_probabilities("test", chosen["seeds"]) + np.array(chosen["offsets"])
    guesses, person = logits.argmax(1), sources.one_person
    return scores(logits, test) | {
        "macro_f1_interval": macro_f1_interval(targets, guesses, 3, groups=groups),
        "accuracy_interval": accuracy_interval(targets, guesses, groups=groups),
        "one_person": person(test["ratings"]),
        "by_platform": {
            platform: {
                "macro_f1": macro_f1(targets[at], guesses[at], 3),
                "person": person(test["ratings"].iloc[at])["macro_f1"],
            }
            for platform, at in test.groupby("platform").indices.items()
        },
    }


def main(part: str = "small") -> None:
    """Measure what is missing of the small part; with "full" also the runs on all rows, choose, and test."""
    keep_rows()
    results = runs.opened(
        RESULTS, SETTINGS | {"rows": SMALL_ROWS, "seeds": list(SEEDS)}, ("runs", "full_runs")
    )
    small = [{"recipe": recipe, "rows": SMALL_ROWS, "seed": seed} for seed in SEEDS for recipe in RECIPES]
    results.pop("runs_note", None)  # says that `runs` are older than this script
    runs.complete(RESULTS, results, "runs", small, measure, processes=1 if part == "small" else None)
    if part != "full":
        return
    results["full_recipe"] = best_recipe(results["runs"])
    full = [{"recipe": results["full_recipe"], "rows": FULL_ROWS, "seed": seed} for seed in FULL_SEEDS]
    runs.complete(RESULTS, results, "full_runs", full, measure)
    parts = all_rows()
    results["candidates"], results["chosen"] = choose(parts["validation"])
    results["test"] = test_once(results["chosen"], parts["test"])
    results.pop("note", None)
    RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:2])
