"""Measure what augmentation brings: 200 animals and 200 comments to learn from, one change at a time, three
seeds.

usage: python benchmarks/augmentation.py     (about 15 minutes of one core; goes on where it was stopped)

The seed decides which training rows are drawn, their order, the fresh head and every random change. All
variants of a task
take the same number of optimizer steps: without augmentation the same picture is seen in each epoch, and the
same comment is there four times in place of itself and three changed copies. Validation rows are cut in two
by group: the first part chooses the best epoch, the second part is reported; pictures are also reported
rotated and noisy, as a user's might be. Test rows are not touched. Each run is one process on ONE core.
Results go to benchmarks/results/augmentation.json; chapter 05 draws them.
"""

import time
from dataclasses import replace
from pathlib import Path

import runs

RESULTS = Path(__file__).resolve().parent / "results" / "augmentation.json"
SEEDS = (1, 2, 3)
IMAGES = {
    "none": (),
    "crop": ("crop",),
    "flip": ("flip",),
    "upside_down": ("upside_down",),
    "rotate": ("rotate",),
    "colour": ("colour",),
    "noise": ("noise",),
    "crop + flip": ("crop", "flip"),
}
TEXTS = ("none", "swap", "delete", "replace", "replace half")
IMAGE_ROWS, IMAGE_SIZE, IMAGE_EPOCHS = 200, 64, 6
TEXT_ROWS, TEXT_COPIES, TEXT_EPOCHS, TEXT_SHARE = 200, 3, 2, 0.15
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
    found = (image_run if job["task"] == "images" else text_run)(job["variant"], job["seed"])
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


def text_run(variant: str, seed: int) -> dict:
    """Fine-tune on comments and their changed copies; scores on plain validation comments."""
    from helpers.models.pretrained import text_classifier
    from helpers.runs import recipes
    from helpers.training.loop import evaluate
    from helpers.training.runtime import Runtime
    from lessons.ch05.text_augmentation import with_copies

    train, selection, reported = runs.three_parts(
        all_rows("sentiment"), TEXT_ROWS, seed, SELECTION_ROWS, REPORTED_ROWS
    )
    classifier = text_classifier()
    train = with_copies(train, text_change(variant, classifier), copies=TEXT_COPIES, seed=seed)
    config = replace(
        recipes.default_training("sentiment", "full"), epochs=TEXT_EPOCHS, patience=TEXT_EPOCHS, seed=seed
    )
    runtime = Runtime(classifier.model, config.precision)
    fine_tune(classifier, recipes.training_loader(classifier, train, config), selection, config, runtime)
    return {
        "reported": {
            "plain": evaluate(classifier.model, recipes.evaluation_loader(classifier, reported), runtime)
        }
    }


def text_change(variant: str, classifier):
    """The change of a text that a variant's name stands for."""
    from lessons.ch05 import text_augmentation

    neighbours = text_augmentation.WordNeighbours(
        classifier.preprocessor, classifier.model.get_input_embeddings().weight.clone()
    )
    return {
        "none": lambda text, _rng: text,
        "swap": lambda text, rng: text_augmentation.swap_words(text, rng, share=TEXT_SHARE),
        "delete": lambda text, rng: text_augmentation.delete_words(text, rng, share=TEXT_SHARE),
        "replace": lambda text, rng: text_augmentation.replace_words(text, rng, neighbours, share=TEXT_SHARE),
        "replace half": lambda text, rng: text_augmentation.replace_words(text, rng, neighbours, share=0.5),
    }[variant]


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


def jobs() -> list[dict]:
    """Every variant of both tasks with every seed; the seeds take turns, so that a stopped run has whole
    rounds.
    """
    variants = [("images", variant) for variant in IMAGES] + [("sentiment", variant) for variant in TEXTS]
    return [{"task": task, "variant": variant, "seed": seed} for seed in SEEDS for task, variant in variants]


def main() -> None:
    """Measure what is not yet in the results file."""
    settings = {
        "images": {"rows": IMAGE_ROWS, "size": IMAGE_SIZE, "epochs": IMAGE_EPOCHS},
        "sentiment": {"rows": TEXT_ROWS, "copies": TEXT_COPIES, "epochs": TEXT_EPOCHS, "share": TEXT_SHARE},
        "selection_rows": SELECTION_ROWS,
        "reported_rows": REPORTED_ROWS,
    }
    results = runs.opened(RESULTS, settings)
    runs.complete(RESULTS, results, "runs", jobs(), measure)


if __name__ == "__main__":
    main()
