"""Measure what each part of the image recipe is worth, what a picture's size buys, and how long a step takes
(chapter 06).

usage: python benchmarks/images.py     (about 45 minutes of one core, shared by all cores; goes on where it
was stopped)

The task is the animals, the network EfficientNet-Lite0. Each run is one process on ONE core; times are those
of that core. The seed decides which training rows are drawn, their order, and the fresh weights. The rate was
tuned for the recipe, not for each variant. Validation rows are cut in two: the first part chooses the best
epoch, the second part is what is reported, for the best epoch and for the last. Test rows are not touched.
Results go to benchmarks/results/images.json; chapter 06 draws them.
"""

import os
import resource
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import runs

RESULTS = Path(__file__).resolve().parent / "results" / "images.json"
SEEDS, MORE_SEEDS = (1, 2, 3), (4, 5, 6, 7, 8)  # of all variants; of those compared closely
TRAINING_ROWS, SELECTION_ROWS, REPORTED_ROWS = 500, 200, 1000
EPOCHS, SIZE = 3, 96

# What each variant changes: `training` the configuration, `model` and `images` how network and pictures are
# made. Rates of "adam ..." are the same for all layers from the first step to the last, as beginners set
# them.
PLAIN_ADAM = {
    "optimizer": "adam",
    "layer_decay": 1.0,
    "schedule": "constant",
    "warmup_share": 0.0,
    "weight_decay": 0.0,
}
VARIANTS = {
    "the recipe": {},
    "no pretrained weights": {"pretrained": False, "training": {"layer_decay": 1.0, "epochs": 2 * EPOCHS}},
    "frozen network, new head": {"training": {"strategy": "head", "learning_rate": 2e-2}},
    "adam 1e-3": {"training": PLAIN_ADAM | {"learning_rate": 1e-3}},
    "no augmentation": {"images": "none"},
    "label smoothing 0.1": {"training": {"label_smoothing": 0.1}},
    "frozen BatchNorm": {"model": "frozen BatchNorm"},
    "RandAugment": {"images": "RandAugment"},
    "cosine schedule": {"training": {"schedule": "cosine"}},
    "64 pixels": {"sizes": [64, 64, 64]},
    "progressive: 64, 80, 96 pixels": {"sizes": [64, 80, 96]},
    "dropout 0.3": {"model": "dropout"},
    "constant schedule": {"training": {"schedule": "constant"}},
    "random erasing": {"images": "erasing"},
    "128 pixels": {"sizes": [128, 128, 128]},
    "brightness and contrast": {"images": "colour"},
    "adam 1e-4": {"training": PLAIN_ADAM | {"learning_rate": 1e-4}},
    "160 pixels": {"sizes": [160, 160, 160]},
}
CLOSELY = ("the recipe", "no augmentation")
PIXELS = (64, 80, 128, 160)  # besides SIZE
LADDER = (
    "planes (NCHW)", "channels_last", "channels_last, bf16", "checkpointing", "head only",
    "head, cached features", "compiled",
    *(f"{size} pixels" for size in PIXELS),
)  # fmt: skip
BATCH = 32
# What fine-tuning on five animals forgets about the five others: Adam's constant rate, and where BatchNorm's
# statistics come from. "frozen": those of pretraining, in training, too.
FORGETTING = {
    "before": None,
    "1e-4": {"learning_rate": 1e-4},
    "1e-3": {"learning_rate": 1e-3},
    "1e-4, frozen": {"learning_rate": 1e-4, "move_statistics": False},
    "1e-3, frozen": {"learning_rate": 1e-3, "move_statistics": False},
}
FORGETTING_SEEDS = range(1, 9)
# Three trainings with a fault each, for an exercise that finds the fault in the log.
LOGS = {
    "test is validation": {},
    "random validation": {},
    "rate too low": {"learning_rate": 1e-4, "layer_decay": 1.0},
}
LOG_SIZE = 64


def rows(seed: int):
    """Training rows of this seed, rows that choose the epoch, and rows that are reported."""
    from helpers.data import cleaning, sources, splits

    parts = splits.split(cleaning.clean_images(sources.animals())[0])
    validation = splits.subsample(parts["validation"], SELECTION_ROWS + REPORTED_ROWS)
    return (
        splits.subsample(parts["train"], TRAINING_ROWS, seed=seed),
        validation[:SELECTION_ROWS].reset_index(drop=True),
        validation[SELECTION_ROWS:].reset_index(drop=True),
    )


def transform(kind: str, preprocessing):
    """The training preset, or a poorer or richer one."""
    from torchvision.transforms import v2

    from helpers.data.transforms import evaluation_preset, training_preset

    if kind == "none":
        return evaluation_preset(preprocessing)
    usual = training_preset(preprocessing)
    crop, flip, *to_tensor = usual.transforms
    return {
        "usual": usual,
        "RandAugment": v2.Compose([v2.RandAugment(), crop, flip, *to_tensor]),
        "colour": v2.Compose([v2.ColorJitter(0.4, 0.4), crop, flip, *to_tensor]),
        "erasing": v2.Compose([crop, flip, *to_tensor, v2.RandomErasing(p=0.5)]),
    }[kind]


def build(variant: dict):
    """The classifier of a variant; its head's weights are random, so seed before."""
    from timm.layers import freeze_batch_norm_2d

    from helpers.data.sources import ANIMALS
    from helpers.models.pretrained import image_classifier

    classifier = image_classifier(
        classes=ANIMALS,
        image_size=variant.get("sizes", [SIZE])[-1],
        pretrained=variant.get("pretrained", True),
    )
    if variant.get("model") == "dropout":
        classifier.model.drop_rate = 0.3
    elif variant.get("model") == "frozen BatchNorm":
        freeze_batch_norm_2d(classifier.model)  # statistics, scale and shift stay as pretraining left them
    return classifier


def measure(job: dict) -> dict:
    """One run or timing: `job` with what was measured."""
    import torch

    torch.set_num_threads(1)
    if "timing" in job:
        return job | time_step(job["timing"])
    if "fault" in job:
        return job | log_of(job["fault"])
    if "rate" in job:
        return job | forget(FORGETTING[job["rate"]], job["seed"])
    return job | fine_tune(VARIANTS[job["variant"]], job["seed"])


def fine_tune(variant: dict, seed: int) -> dict:
    """Train as the variant says; scores of its best epoch on the reported rows."""
    from helpers import environment
    from helpers.runs import recipes
    from helpers.training.loop import evaluate, fit_classifier
    from helpers.training.runtime import Runtime

    train, selection, reported = rows(seed)
    environment.seed_everything(seed)
    classifier = build(variant)
    changes = {"epochs": EPOCHS, "seed": seed} | variant.get("training", {})
    config = replace(recipes.default_training("images", "full"), patience=changes["epochs"], **changes)
    runtime = Runtime(classifier.model, config.precision)
    train_loader = recipes.training_loader(classifier, train, config)
    sizes = variant.get("sizes", [SIZE] * config.epochs)
    at_size = lambda size: transform(
        variant.get("images", "usual"), replace(classifier.preprocessor, size=size)
    )
    train_loader.dataset.transform = at_size(sizes[0])
    curve, steps = [], config.epochs * len(train_loader)
    for step in fit_classifier(
        classifier.model,
        train_loader,
        recipes.evaluation_loader(classifier, selection),
        config,
        runtime=runtime,
    ):
        if step.validation:
            curve.append(round(step.validation["accuracy"], 4))
            train_loader.dataset.transform = at_size(
                sizes[min(step.epoch, len(sizes) - 1)]
            )  # of the next epoch
        if step.step == steps:  # `fit` puts the best weights back when it ends
            last = evaluate(classifier.model, recipes.evaluation_loader(classifier, reported), runtime)
    metrics = evaluate(classifier.model, recipes.evaluation_loader(classifier, reported), runtime)
    return {
        "steps": steps,
        "selection_curve": curve,
        "reported": metrics,
        "reported_last": last,
    }


def forget(way: dict | None, seed: int) -> dict:
    """50 steps of Adam on five animals, at 64 pixels; then a probe of the five others."""
    from helpers import environment
    from helpers.data.sources import ANIMALS
    from helpers.models.pretrained import image_classifier
    from lessons.ch06.forgetting import halves, probe, take_steps

    train, _, reported = rows(seed)
    environment.seed_everything(seed)
    classifier = image_classifier(classes=ANIMALS, image_size=64)
    data = halves({"train": train, "validation": reported}, ANIMALS, classifier.preprocessor)
    if way:
        take_steps(classifier.model, *data.train, **way)
    return {"probe_accuracy": round(probe(classifier.model, data), 4)}


def log_of(fault: str) -> dict:
    """What the log of a training with this fault says: accuracies, and the mean loss of each epoch."""
    from helpers import environment
    from helpers.data.loaders import set_epoch
    from helpers.runs import recipes
    from helpers.training.loop import evaluate, fit_classifier
    from helpers.training.runtime import Runtime

    train, selection, reported = rows(1)
    environment.seed_everything(0)
    classifier = build({"sizes": [LOG_SIZE]})
    config = replace(recipes.default_training("images", "full", epochs=EPOCHS), **LOGS[fault])
    runtime = Runtime(classifier.model, config.precision)
    validation = recipes.evaluation_loader(classifier, selection)
    if fault == "random validation":
        validation.dataset.transform = transform("usual", classifier.preprocessor)
    test_rows = selection if fault == "test is validation" else reported
    losses, epochs = [], []
    train_loader = recipes.training_loader(classifier, train, config)
    for step in fit_classifier(classifier.model, train_loader, validation, config, runtime=runtime):
        losses.append(step.train_loss)
        if step.validation:
            mean = sum(losses) / len(losses)
            epochs.append({"loss": round(mean, 3), "validation": round(step.validation["accuracy"], 4)})
            losses.clear()
            set_epoch(validation, step.epoch)  # other draws, if there are any
    again = []
    for draw in range(2):
        set_epoch(validation, EPOCHS + draw)
        again.append(round(evaluate(classifier.model, validation, runtime)["accuracy"], 4))
    test = evaluate(classifier.model, recipes.evaluation_loader(classifier, test_rows), runtime)
    return {"epochs": epochs, "again": again, "test": round(test["accuracy"], 4)}


def time_step(name: str) -> dict:
    """Median processor seconds of one training step of 32 pictures, the bytes kept for its backward pass,
    seconds to get ready.
    """
    import torch

    from helpers.tuning.freezing import apply_strategy, train_mode
    from lessons.ch06.performance import saved_bytes, time_calls, training_step

    model = build({}).model
    layout = torch.contiguous_format if "NCHW" in name else torch.channels_last
    size = int(name.split()[0]) if name.endswith("pixels") else SIZE
    images = torch.randn(BATCH, 3, size, size).contiguous(memory_format=layout)
    labels = torch.arange(BATCH) % 10
    model.to(memory_format=layout)
    model.set_grad_checkpointing(name == "checkpointing")
    apply_strategy(model, "head" if name.startswith("head") else "full", 0, 1)
    train_mode(model)
    if name == "head, cached features":
        with torch.no_grad():
            images = model.forward_head(
                model.forward_features(images), pre_logits=True
            )  # (B, 1280), computed once for all epochs
        model = model.classifier
    ready = 0.0
    if name == "compiled":
        before = processor_seconds()
        model = torch.compile(model)
        with tempfile.TemporaryDirectory() as empty:  # what an earlier run has compiled would be found again
            os.environ["TORCHINDUCTOR_CACHE_DIR"] = empty
            training_step(model, images, labels)()
        ready = processor_seconds() - before
    bf16 = "bf16" in name
    timing = time_calls(
        training_step(model, images, labels, bf16=bf16),
        items=BATCH,
        repeats=7,
        warmup=2,
        clock=time.process_time,
    )
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
        kept = None if name == "compiled" else round(saved_bytes(model, images) / 1e6, 1)
    return {
        "seconds_per_step": round(timing.seconds, 4),
        "ready_seconds": round(ready, 1),
        "saved_megabytes": kept,
    }


def processor_seconds() -> float:
    """Processor time of this process and of those it has started: the compiler is one of them."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def forgetting_jobs() -> list[dict]:
    """Every way to fine-tune with every seed."""
    return [{"rate": name, "seed": seed} for name in FORGETTING for seed in FORGETTING_SEEDS]


def jobs() -> list[dict]:
    """Every variant of the recipe with its seeds."""
    few = [{"variant": name, "seed": seed} for name in VARIANTS for seed in SEEDS]
    return few + [{"variant": name, "seed": seed} for name in CLOSELY for seed in MORE_SEEDS]


def main() -> None:
    """Measure what fine-tuning forgets, the ladder of speed, and the variants, on all cores."""
    os.environ["TORCHINDUCTOR_COMPILE_THREADS"] = "1"
    settings = {
        "training_rows": TRAINING_ROWS,
        "selection_rows": SELECTION_ROWS,
        "reported_rows": REPORTED_ROWS,
        "epochs": EPOCHS,
    }
    settings |= {"size": SIZE, "batch": BATCH, "variants": VARIANTS, "forgetting": FORGETTING}
    results = runs.opened(RESULTS, settings, ("forgetting", "ladder", "runs", "logs"))
    runs.complete(RESULTS, results, "forgetting", forgetting_jobs(), measure)
    runs.complete(RESULTS, results, "ladder", [{"timing": name} for name in LADDER], measure, processes=1)
    runs.complete(RESULTS, results, "runs", jobs(), measure)
    runs.complete(RESULTS, results, "logs", [{"fault": fault} for fault in LOGS], measure)


if __name__ == "__main__":
    main()
