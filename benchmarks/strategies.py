"""Measure what pretraining is worth: from scratch, head only, gradual, LoRA and full, at three training sizes and three seeds.

usage: python benchmarks/strategies.py     (about 100 minutes of one core, shared by all cores; goes on where it was stopped)

Each run is one process on ONE core, and its time is that core's time, so runs side by side do not disturb the figures. The
seed decides which training rows are drawn, their order, and the fresh weights. Validation rows are cut in two by group: the
first part chooses the learning rate (of three, at the middle size, with a seed of its own) and the best epoch, the second part
is what is reported. Test rows are not touched. Results go to benchmarks/results/strategies.json; chapter 04 draws them.
"""

import json
import multiprocessing
import os
import statistics
import time
from dataclasses import asdict, replace
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"

RESULTS = Path(__file__).resolve().parent / "results" / "strategies.json"
SEEDS, TUNING_SEED = (1, 2, 3), 0
STRATEGIES = ("scratch", "head", "gradual", "lora", "full")
SIZES = {"sentiment": (200, 600, 2000), "images": (100, 500, 2000)}
EPOCHS = {"sentiment": (8, 5, 3), "images": (10, 6, 4)}  # of each size; "scratch" gets twice as many
RATES = {
    "sentiment": {"scratch": (1e-4, 3e-4, 1e-3), "head": (1e-3, 3e-3, 1e-2), "gradual": (1e-4, 2e-4, 4e-4), "lora": (3e-4, 1e-3, 3e-3), "full": (5e-5, 1.5e-4, 4e-4)},
    "images": {"scratch": (1e-3, 3e-3, 1e-2), "head": (5e-3, 2e-2, 5e-2), "gradual": (1e-3, 2e-3, 4e-3), "lora": (2e-3, 5e-3, 1.5e-2), "full": (5e-4, 2e-3, 5e-3)},
}  # fmt: skip
SELECTION_ROWS, REPORTED_ROWS = 600, 1500
BASELINE = "no network"  # logistic regression on word counts (TF-IDF), or on pixels


def rows(task: str, size: int, seed: int):
    """Training rows, rows that choose the epoch, and rows that are reported; the last two share no group."""
    from helpers.data import splits
    from helpers.training.recipes import RunConfig, prepare

    parts = prepare(RunConfig(task=task, limit=0)).splits
    validation = splits.subsample(parts["validation"], 0)
    first = validation["group"].map({group: place % 3 == 0 for place, group in enumerate(validation["group"].unique())})
    selection, reported = validation[first].reset_index(drop=True), validation[~first].reset_index(drop=True)
    return (
        splits.subsample(parts["train"], size, seed=seed),
        splits.subsample(selection, SELECTION_ROWS),
        splits.subsample(reported, REPORTED_ROWS),
    )


def measure(job: dict) -> dict:
    """One run: `job` with its scores."""
    import torch

    torch.set_num_threads(1)
    train, selection, reported = rows(job["task"], job["size"], job["seed"])
    run = baseline if job["strategy"] == BASELINE else fine_tune
    return job | run(job, train, selection, reported)


def fine_tune(job: dict, train, selection, reported) -> dict:
    """Train the pretrained (or random) network as the job says; scores of its best epoch on the reported rows."""
    from helpers import environment
    from helpers.models.pretrained import image_classifier, text_classifier
    from helpers.training import recipes
    from helpers.training.loop import evaluate, fit, make_accelerator
    from helpers.tuning.freezing import num_trainable
    from helpers.tuning.lora import add_lora, merge_lora

    task, strategy = job["task"], job["strategy"]
    scratch = strategy == "scratch"
    environment.seed_everything(job["seed"])
    build = text_classifier if task == "sentiment" else image_classifier
    classifier = build(classes=tuple(sorted(train["label"].unique())), pretrained=not scratch)
    if strategy == "lora":
        add_lora(classifier.model)
    epochs = EPOCHS[task][SIZES[task].index(job["size"])] * (2 if scratch else 1)
    config = replace(
        recipes.default_training(task, "full" if scratch else strategy), batch_size=16, epochs=epochs, patience=epochs,
        learning_rate=job["learning_rate"], layer_decay=0.9 if strategy in ("full", "gradual") else 1.0, seed=job["seed"],
    )  # fmt: skip
    accelerator = make_accelerator(classifier.model, config.precision)
    loaders = recipes.training_loader(classifier, train, config), recipes.evaluation_loader(classifier, selection)
    curve, seconds, before = [], [], time.process_time()
    for step in fit(classifier.model, *loaders, config, accelerator=accelerator):
        if step.validation:
            curve.append((step.step, round(step.validation.macro_f1, 4)))
        else:
            seconds.append(time.process_time() - before)  # the last step of an epoch also evaluates: not counted
        before = time.process_time()
    trainable = num_trainable(classifier.model)
    if strategy == "lora":
        merge_lora(classifier.model)
    metrics = evaluate(classifier.model, recipes.evaluation_loader(classifier, reported), accelerator)
    return {
        "steps": step.step,
        "seconds": round(statistics.mean(seconds) * step.step, 1),
        "trainable_parameters": trainable,
        "precision": accelerator.mixed_precision,
        "selection_macro_f1": max(score for _, score in curve),
        "selection_curve": curve,
        "reported": asdict(metrics),
    }


def baseline(job: dict, train, _selection, reported) -> dict:
    """Logistic regression on the shares of words, or on pixels: what the same rows teach without any network."""
    import numpy as np
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer

    from helpers.data.datasets import encode_labels
    from helpers.training.metrics import classification_metrics

    classes = tuple(sorted(train["label"].unique()))
    if job["task"] == "sentiment":
        features, column = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True), "text"
    else:
        features, column = FunctionTransformer(lambda images: np.stack(list(images)).reshape(len(images), -1) / 255), "image"
    start = time.process_time()
    model = make_pipeline(features, LogisticRegression(C=10 if column == "text" else 0.01, max_iter=2000))
    model.fit(train[column], encode_labels(train, classes))
    seconds = time.process_time() - start
    metrics = classification_metrics(model.predict_log_proba(reported[column]), encode_labels(reported, classes))
    return {"steps": 0, "seconds": round(seconds, 1), "reported": asdict(metrics)}


def tuning_jobs() -> list[dict]:
    """One run for every task, strategy and candidate rate, at the middle size."""
    return [
        {"task": task, "strategy": strategy, "size": SIZES[task][1], "seed": TUNING_SEED, "learning_rate": rate}
        for task in SIZES
        for strategy in STRATEGIES
        for rate in RATES[task][strategy]
    ]


def jobs(tuned: list[dict]) -> list[dict]:
    """All runs to report, each with the learning rate that did best in `tuned`."""
    result = []
    for task, sizes in SIZES.items():
        rates = {BASELINE: None}
        for strategy in STRATEGIES:
            candidates = [run for run in tuned if (run["task"], run["strategy"]) == (task, strategy)]
            rates[strategy] = max(candidates, key=lambda run: run["selection_macro_f1"])["learning_rate"]
        result += [
            {"task": task, "strategy": strategy, "size": size, "seed": seed, "learning_rate": rates[strategy]}
            for size in sizes
            for strategy in (BASELINE, *STRATEGIES)
            for seed in SEEDS
        ]
    return result


def complete(results: dict, part: str, wanted: list[dict], pool) -> None:
    """Measure what is wanted and not yet in `results[part]`; the file grows with every run."""
    done = {json.dumps({key: run[key] for key in job}): run for run in results[part] for job in wanted[:1]}
    missing = [job for job in wanted if json.dumps(job) not in done]
    results[part] = [done[json.dumps(job)] for job in wanted if json.dumps(job) in done]
    for number, run in enumerate(pool.imap_unordered(measure, missing), 1):
        results[part].append(run)
        write(results)
        print(f"{part} {number}/{len(missing)}: {run['task']} {run['strategy']} {run['size']} seed {run['seed']} rate {run['learning_rate']} "
              f"macro-F1 {run['reported']['macro_f1']:.3f} in {run['seconds']} s", flush=True)  # fmt: skip
    order = {json.dumps(job): place for place, job in enumerate(wanted)}
    results[part].sort(key=lambda run: order[json.dumps({key: run[key] for key in wanted[0]})])
    write(results)


def write(results: dict) -> None:
    """Write the results so far."""
    RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


def main() -> None:
    """Tune, then measure, on all cores."""
    from helpers import environment

    settings = json.loads(
        json.dumps({"sizes": SIZES, "epochs": EPOCHS, "rates": RATES, "selection_rows": SELECTION_ROWS, "reported_rows": REPORTED_ROWS})
    )
    results = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    if results.get("settings") != settings:
        results = {"settings": settings, "versions": environment.versions(), "tuning": [], "runs": []}
    with multiprocessing.get_context("spawn").Pool(os.cpu_count(), maxtasksperchild=1) as pool:
        complete(results, "tuning", tuning_jobs(), pool)
        complete(results, "runs", jobs(results["tuning"]), pool)


if __name__ == "__main__":
    main()
