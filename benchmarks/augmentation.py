"""Measure what augmentation brings: 200 animals or 200 comments to learn from, one change at a time.

usage: python benchmarks/augmentation.py     (about 14 minutes of one core; goes on where it was stopped)

Pictures: EfficientNet-Lite0 at 64 pixels is fine-tuned with each of five presets, six seeds, the same
number of steps for all. The seed decides which rows are drawn, their order, the fresh head and every random
change. Validation rows are cut in two by group: the first part chooses the best epoch, the second is
reported, plain, rotated and noisy, as a user's pictures might be. Comments: a probe (logistic regression) on
MiniLM's features of 200 comments and three changed copies of each, six seeds. Test rows are not touched.
Each run takes ONE core. Results go to benchmarks/results/augmentation.json; chapter 05 prints them.
"""

import functools
import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

import runs

RESULTS = Path(__file__).resolve().parent / "results" / "augmentation.json"
SEEDS = range(1, 7)
IMAGES = {
    "none": (),
    "upside_down": ("upside_down",),
    "rotate": ("rotate",),
    "noise": ("noise",),
    "crop + flip": ("crop", "flip"),
}
IMAGE_ROWS, IMAGE_SIZE, IMAGE_EPOCHS = 200, 64, 6
TEXT_ROWS, TEXT_COPIES, TEXT_SHARE = 200, 3, 0.15
SELECTION_ROWS, REPORTED_ROWS = 150, 500


def all_rows(task: str) -> dict:
    """The cleaned rows of a task, split."""
    from helpers.runs.recipes import RunConfig, prepare

    return prepare(RunConfig(task=task, limit=0)).splits


def measure(job: dict) -> dict:
    """One run: `job` with its scores and its seconds of one core."""
    import torch

    from helpers import environment

    torch.set_num_threads(1)
    environment.seed_everything(job["seed"])
    start = time.process_time()
    found = image_run(job["variant"], job["seed"])
    return job | {"seconds": round(time.process_time() - start, 1)} | found


def image_run(variant: str, seed: int) -> dict:
    """Fine-tune on augmented pictures; scores on plain, rotated and noisy validation pictures."""
    from torchvision.transforms import v2

    from helpers.data.collate import collate_images
    from helpers.data.datasets import ImageDataset
    from helpers.data.loaders import make_loader
    from helpers.data.sources import ANIMALS
    from helpers.data.transforms import evaluation_preset, training_preset
    from helpers.models.pretrained import image_classifier
    from helpers.runs import recipes
    from helpers.training.loop import evaluate
    from helpers.training.runtime import Runtime

    train, selection, reported = runs.three_parts(
        all_rows("images"), IMAGE_ROWS, seed, SELECTION_ROWS, REPORTED_ROWS
    )
    classifier = image_classifier(classes=ANIMALS, image_size=IMAGE_SIZE)
    preprocessing = classifier.preprocessor
    config = replace(
        recipes.default_training("images", "full"),
        epochs=IMAGE_EPOCHS,
        patience=IMAGE_EPOCHS,
        batch_size=20,
        seed=seed,
    )
    dataset = ImageDataset(
        train, training_preset(preprocessing, augmentations=IMAGES[variant]), ANIMALS, seed=seed
    )
    loader = make_loader(dataset, config.batch_size, collate_images, shuffle=True, seed=seed)
    runtime = Runtime(classifier.model, config.precision)
    fine_tune(classifier, loader, selection, config, runtime)
    # A dataset draws the same changes for the same seed and epoch: each model is judged on the same rotated
    # pictures.
    views = {
        "plain": evaluation_preset(preprocessing),
        "rotated": training_preset(preprocessing, augmentations=("rotate",)),
        "noisy": v2.Compose(
            [evaluation_preset(preprocessing), v2.GaussianNoise(sigma=0.1 / preprocessing.std[0], clip=False)]
        ),
    }
    datasets = {name: ImageDataset(reported, transform, ANIMALS, seed=0) for name, transform in views.items()}
    loaders = {
        name: make_loader(dataset, recipes.EVALUATION_BATCH, collate_images)
        for name, dataset in datasets.items()
    }
    return {
        "reported": {name: evaluate(classifier.model, loader, runtime) for name, loader in loaders.items()}
    }


def text_runs(seeds: list[int]) -> Iterator[dict]:
    """Macro-F1 of a probe on plain validation comments, for each change of the training comments."""
    import torch
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import f1_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from transformers import AutoModel, AutoTokenizer

    from helpers import assets
    from lessons.ch05.labels import text_features
    from lessons.ch05.text_augmentation import with_copies

    torch.set_num_threads(1)
    folder = assets.path("minilm")
    encoder = (AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval())
    parts, changes = all_rows("sentiment"), text_changes(*encoder)
    for seed in seeds:
        train, _, reported = runs.three_parts(parts, TEXT_ROWS, seed, SELECTION_ROWS, REPORTED_ROWS)
        seen = text_features(reported["text"].tolist(), *encoder)
        plain = text_features(train["text"].tolist(), *encoder)
        scores = {}
        for variant, change in changes.items():
            features, labels = plain, train["label"]
            if change:
                rows = with_copies(train, change, copies=TEXT_COPIES, seed=seed)  # the originals come first
                made = text_features(rows["text"].tolist()[len(train) :], *encoder)
                features, labels = np.concatenate([plain, made]), rows["label"]
            probe = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=500))
            probe.fit(features, labels)
            scores[variant] = f1_score(reported["label"], probe.predict(seen), average="macro")
        yield {"seed": seed, "macro_f1": scores}


def text_changes(tokenizer, model) -> dict:
    """The changes of a text, by name."""
    from torch.nn import functional as F

    from lessons.ch05 import text_augmentation as change

    words = change.whole_words(tokenizer)
    vectors = F.normalize(model.get_input_embeddings().weight.detach()[list(words.values())], dim=1)
    rows = {word: row for row, word in enumerate(words)}
    near = functools.cache(lambda word: change.neighbours_of(word, rows, vectors))
    return {
        "none": None,
        "swap": functools.partial(change.swap_words, share=TEXT_SHARE),
        "delete": functools.partial(change.delete_words, share=TEXT_SHARE),
        "replace": functools.partial(change.replace_words, alternatives=near, share=TEXT_SHARE),
    }


def fine_tune(classifier, loader, selection, config, runtime) -> None:
    """Train; the model keeps the weights of the epoch that was best on the `selection` rows."""
    from helpers.runs import recipes
    from helpers.training.loop import fit_classifier

    for _step in fit_classifier(
        classifier.model,
        loader,
        recipes.evaluation_loader(classifier, selection),
        config,
        runtime=runtime,
    ):
        pass


def image_jobs() -> list[dict]:
    """Every preset with every seed; the seeds take turns, so that a stopped run has whole rounds."""
    return [{"task": "images", "variant": name, "seed": seed} for seed in SEEDS for name in IMAGES]


def main() -> None:
    """Measure what is not yet in the results file."""
    settings = {
        "images": {"rows": IMAGE_ROWS, "size": IMAGE_SIZE, "epochs": IMAGE_EPOCHS},
        "texts": {"rows": TEXT_ROWS, "copies": TEXT_COPIES, "share": TEXT_SHARE},
        "selection_rows": SELECTION_ROWS,
        "reported_rows": REPORTED_ROWS,
    }
    results = runs.opened(RESULTS, settings, ("images", "texts"))
    measured = [run["seed"] for run in results["texts"]]
    for run in text_runs([seed for seed in SEEDS if seed not in measured]):
        results["texts"].append(run)
        RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    runs.complete(RESULTS, results, "images", image_jobs(), measure)


if __name__ == "__main__":
    main()
