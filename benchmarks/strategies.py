"""Measure what pretraining is worth: from scratch, head only, gradual, LoRA and full, at three training sizes
and three seeds.

usage: python benchmarks/strategies.py [pooler]     (about 50 minutes of one core, shared by all cores; goes
on where it was stopped)

The task is the sentiment of comments, the network MiniLM. Each run is one process on ONE core, and its time
is that core's time, so runs side by side do not disturb the figures. The seed decides which training rows are
drawn, their order, and the fresh weights. Validation rows are cut in two by group: the first part chooses the
learning rate (at the middle size, with a seed of its own) and the best epoch, the second part is what is
reported. Test rows are not touched. Results go to benchmarks/results/strategies.json and into README.md's
table; chapter 04 draws them. With the word "pooler" the head stands on the pooler of [CLS], which
MiniLM never trained, in place of the masked mean; that goes to strategies_pooler.json, and is the one place
where the network is trained from scratch.
"""

import json
import statistics
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path

import readme_tables
import runs

RESULTS = Path(__file__).resolve().parent / "results" / "strategies.json"
POOLER_RESULTS = RESULTS.with_name("strategies_pooler.json")
SEEDS, TUNING_SEED = (1, 2, 3), 0
SIZES = {200: 8, 600: 5, 2000: 3}  # training rows: epochs; "scratch" gets twice as many epochs
TUNING_SIZE = 600
RATES = {
    "head": (3e-3, 1e-2, 3e-2, 1e-1),
    "gradual": (1e-4, 2e-4, 4e-4),
    "lora": (3e-4, 1e-3, 3e-3),
    "full": (5e-5, 1.5e-4, 4e-4),
}
# Its head is a layer deeper. From scratch the network was trained with this head alone.
POOLER_RATES = {"scratch": (3e-5, 1e-4, 3e-4, 1e-3)} | RATES | {"head": (1e-3, 3e-3, 1e-2)}
SELECTION_ROWS, REPORTED_ROWS = 400, 1200
BASELINE = "no network"  # logistic regression on word counts (TF-IDF)


def rows(size: int, seed: int) -> tuple:
    """Training rows, rows that choose the epoch, and rows that are reported."""
    from helpers.runs.recipes import RunConfig, prepare

    return runs.three_parts(
        prepare(RunConfig(task="sentiment", limit=0)).splits, size, seed, SELECTION_ROWS, REPORTED_ROWS
    )


def measure(job: dict, *, pooler: bool = False) -> dict:
    """One run: `job` with its scores."""
    import torch

    torch.set_num_threads(1)
    train, selection, reported = rows(job["size"], job["seed"])
    if job["strategy"] == BASELINE:
        return job | baseline(job, train, selection, reported)
    return job | fine_tune(job, train, selection, reported, with_pooler if pooler else None)


def measure_pooler(job: dict) -> dict:
    """One run with the head on the pooler of [CLS]."""
    return measure(job, pooler=True)


def with_pooler(classifier, pretrained: bool):
    """The classifier with transformers' own head: a linear layer over the pooler of [CLS]."""
    from transformers import AutoModelForSequenceClassification, BertConfig

    from helpers import assets

    config = BertConfig(**classifier.model.config.to_dict() | {"classifier_pooling": None})
    if pretrained:
        model = AutoModelForSequenceClassification.from_pretrained(assets.path("minilm"), config=config)
    else:
        model = AutoModelForSequenceClassification.from_config(config)
    return replace(classifier, model=model)


def fine_tune(job: dict, train, selection, reported, changed=None) -> dict:
    """Train the pretrained (or random) network as the job says; scores of its best epoch on the reported
    rows.
    """
    from helpers import environment
    from helpers.models.pretrained import text_classifier
    from helpers.runs import recipes
    from helpers.training.loop import evaluate, fit_classifier
    from helpers.training.runtime import Runtime
    from helpers.tuning.freezing import num_trainable

    strategy, scratch = job["strategy"], job["strategy"] == "scratch"
    environment.seed_everything(job["seed"])
    classifier = text_classifier(pretrained=not scratch)
    if changed:
        classifier = changed(classifier, not scratch)
    epochs = SIZES[job["size"]] * (2 if scratch else 1)
    config = replace(
        recipes.default_training("sentiment", "full" if scratch else strategy),
        batch_size=16,
        epochs=epochs,
        patience=epochs,
        learning_rate=job["learning_rate"],
        layer_decay=0.9 if strategy in ("full", "gradual") else 1.0,
        seed=job["seed"],
    )
    runtime = Runtime(classifier.model, config.precision)
    loaders = (
        recipes.training_loader(classifier, train, config),
        recipes.evaluation_loader(classifier, selection),
    )
    curve, seconds, trainable, before = [], [], 0, time.process_time()
    for step in fit_classifier(classifier.model, *loaders, config, runtime=runtime):
        trainable = max(trainable, num_trainable(classifier.model))
        if step.validation:
            curve.append((step.step, round(step.validation["macro_f1"], 4)))
        else:
            seconds.append(
                time.process_time() - before
            )  # the last step of an epoch also evaluates: not counted
        before = time.process_time()
    metrics = evaluate(classifier.model, recipes.evaluation_loader(classifier, reported), runtime)
    return {
        "steps": step.step,
        "seconds": round(statistics.mean(seconds) * step.step, 1),
        "trainable_parameters": trainable,
        "precision": runtime.precision,
        "selection_macro_f1": max(score for _, score in curve),
        "selection_curve": curve,
        "reported": metrics,
    }


def baseline(job: dict, train, _selection, reported) -> dict:
    """Logistic regression on the shares of words: what the same rows teach without any network."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    from helpers.data.datasets import encode_labels
    from helpers.data.sources import SENTIMENTS
    from helpers.training.metrics import classification_metrics

    start = time.process_time()
    model = make_pipeline(
        TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True), LogisticRegression(C=10, max_iter=2000)
    )
    model.fit(train["text"], encode_labels(train, SENTIMENTS))
    seconds = time.process_time() - start
    metrics = classification_metrics(
        model.predict_log_proba(reported["text"]), encode_labels(reported, SENTIMENTS)
    )
    return {"steps": 0, "seconds": round(seconds, 1), "reported": asdict(metrics)}


def tuning_jobs(rates: dict = RATES) -> list[dict]:
    """One run for every strategy and candidate rate."""
    return [
        {
            "task": "sentiment",
            "strategy": strategy,
            "size": TUNING_SIZE,
            "seed": TUNING_SEED,
            "learning_rate": rate,
        }
        for strategy, candidates in rates.items()
        for rate in candidates
    ]


def jobs(tuned: list[dict], rates: dict = RATES) -> list[dict]:
    """The runs to report, each with the learning rate that did best in `tuned`."""
    best = {BASELINE: None}
    for strategy in rates:
        candidates = [run for run in tuned if run["strategy"] == strategy]
        best[strategy] = max(candidates, key=lambda run: run["selection_macro_f1"])["learning_rate"]
    return [
        {"task": "sentiment", "strategy": strategy, "size": size, "seed": seed, "learning_rate": rate}
        for strategy, rate in best.items()
        for size in SIZES
        for seed in SEEDS
    ]


def table(results: dict) -> str:
    """Macro-F1 as a Markdown table: mean over the seeds with the half width of its 95% t-interval, sizes as
    columns.
    """
    names = {
        BASELINE: "no network: logistic regression on words",
        "scratch": "the network from scratch (read by its pooler)",
        "head": "head only",
        "gradual": "gradual unfreezing",
        "lora": "LoRA",
        "full": "all weights",
    }
    lines = [
        "| macro-F1 | " + " | ".join(f"{size:,} comments" for size in SIZES) + " |",
        "|---" * (len(SIZES) + 1) + "|",
    ]
    scratch = json.loads(POOLER_RESULTS.read_text(encoding="utf-8"))["runs"]
    measured = [*results["runs"], *(run for run in scratch if run["strategy"] == "scratch")]
    for strategy, name in names.items():
        cells = []
        for size in SIZES:
            found = [run for run in measured if (run["strategy"], run["size"]) == (strategy, size)]
            scores = [run["reported"]["macro_f1"] for run in found]
            half = 4.303 * statistics.stdev(scores) / len(scores) ** 0.5  # Student's t for 3 seeds
            cells.append(f"{statistics.mean(scores):.3f} ± {half:.3f}")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Tune, then measure, on all cores."""
    pooler = "pooler" in sys.argv[1:]
    file, rates, run = RESULTS, RATES, measure
    if pooler:
        file, rates, run = POOLER_RESULTS, POOLER_RATES, measure_pooler
    settings = {
        "epochs": {str(size): epochs for size, epochs in SIZES.items()},
        "rates": {strategy: list(candidates) for strategy, candidates in rates.items()},
        "selection_rows": SELECTION_ROWS,
        "reported_rows": REPORTED_ROWS,
    }
    results = runs.opened(file, settings, ("tuning", "runs"))
    runs.complete(file, results, "tuning", tuning_jobs(rates), run)
    runs.complete(file, results, "runs", jobs(results["tuning"], rates), run)
    if not pooler:
        readme_tables.write("strategies", table(results))


if __name__ == "__main__":
    main()
