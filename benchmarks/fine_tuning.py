"""Measure what chapter 04 says of warm-up, rates per layer, range tests, over-fitting, and four faulty runs.

usage: python benchmarks/fine_tuning.py     (about 12 minutes of one core; goes on where it was stopped)

* runs: MiniLM with a mean-pooling head on 192 short comments, all weights, five seeds for each setting: the
  recipe; without warm-up; one rate for all layers.
* range: learning-rate range tests of the same model, three seeds, batches of 16.
* until: EfficientNet-Lite0 on 100 silhouettes until it knows 95% of them, pretrained and from random weights.
* logs: what a learner would see of runs with one fault each, and of a right one.

The seed decides which rows are drawn, their order and the fresh weights. Scores are those of validation rows;
test rows are not touched. Results go to benchmarks/results/fine_tuning.json.
"""

import functools
import itertools
import time
from pathlib import Path

import runs

RESULTS = Path(__file__).resolve().parent / "results" / "fine_tuning.json"
SEEDS, RANGE_SEEDS = (1, 2, 3, 4, 5), (1, 2, 3)
RATE, WORDS, ROWS, VALIDATION_ROWS, BATCH, EPOCHS = 1.5e-4, 16, 192, 500, 16, 3
SETTINGS = {  # rate, warm-up share, layer decay
    "recipe": (RATE, 0.1, 0.9),
    "no warm-up": (RATE, 0.0, 0.9),
    "one rate for all layers": (RATE, 0.1, 1.0),
}
LOWEST, HIGHEST, RANGE_STEPS, RANGE_BATCH = 1e-6, 1e-1, 40, 16
SIZE, PICTURES, ENOUGH, MOST_EPOCHS = 64, 100, 0.95, 40
FAULTS = {  # rate of the head, rate of the body (0: frozen)
    "none": (2e-2, 0.0),
    "BatchNorm not in evaluation mode": (2e-2, 0.0),
    "the body moves at the head's rate": (2e-2, 2e-2),
    "the head moves at the body's rate": (2e-5, 0.0),
    "validation rows are preprocessed in another way": (2e-2, 0.0),
}


@functools.cache
def short_comments() -> dict:
    """The splits of the comments, short ones alone."""
    from helpers.data import cleaning, sources, splits

    parts = splits.split(cleaning.clean_comments(sources.comments(), key=cleaning.letters_key)[0])
    return {name: part[part["text"].str.split().str.len() <= WORDS] for name, part in parts.items()}


def text_model(seed: int):
    """MiniLM with a fresh mean-pooling head, and its tokenizer."""
    from transformers import AutoModel, AutoTokenizer

    from helpers import assets, environment
    from lessons.ch04.mean_pooled import MeanPooled

    environment.seed_everything(seed)
    encoder = AutoModel.from_pretrained(assets.path("minilm"), add_pooling_layer=False)
    return MeanPooled(encoder, 3), AutoTokenizer.from_pretrained(assets.path("minilm"))


def optimizer_of(model, rate: float, layer_decay: float):
    """AdamW over the layers from the head down."""
    import torch

    from lessons.ch04.mean_pooled import layerwise_groups

    layers = [model.head, *reversed(model.encoder.encoder.layer), model.encoder.embeddings]
    return torch.optim.AdamW(layerwise_groups(layers, rate, layer_decay))


def batches_of(frame, tokenizer, seed: int, size: int):
    """Shuffled batches without end: inputs by name, labels (B,)."""
    import torch

    from helpers.data import sources
    from helpers.data.datasets import encode_labels

    labels = torch.tensor(encode_labels(frame, sources.SENTIMENTS))
    texts, generator = frame["text"].tolist(), torch.Generator().manual_seed(seed)
    while True:
        for rows in torch.randperm(len(texts), generator=generator).split(size):
            chosen = [texts[row] for row in rows]
            batch = tokenizer(chosen, padding=True, truncation=True, max_length=128, return_tensors="pt")
            yield {name: batch[name] for name in ("input_ids", "attention_mask")}, labels[rows]


def tune(job: dict) -> dict:
    """One training of all weights with one of `SETTINGS`; scores after the last step."""
    import torch
    from torch.nn import functional as F
    from torch.optim.lr_scheduler import LambdaLR

    from helpers.data import sources, splits
    from helpers.data.datasets import encode_labels
    from helpers.training.metrics import classification_metrics
    from lessons.ch04.mean_pooled import text_logits, warmup_then_line

    torch.set_num_threads(1)
    parts, (model, tokenizer) = short_comments(), text_model(job["seed"])
    train = splits.subsample(parts["train"], ROWS, seed=job["seed"])
    validation = splits.subsample(parts["validation"], VALIDATION_ROWS)
    rate, warmup, layer_decay = SETTINGS[job["setting"]]
    num_steps = EPOCHS * ROWS // BATCH
    optimizer = optimizer_of(model, rate, layer_decay)
    scheduler = LambdaLR(optimizer, warmup_then_line(num_steps, warmup))
    start, losses = time.process_time(), []
    batches = batches_of(train, tokenizer, job["seed"], BATCH)
    for inputs, labels in itertools.islice(batches, num_steps):
        loss = F.cross_entropy(model(**inputs), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scheduler.step()
        losses.append(round(loss.item(), 4))
    seconds = time.process_time() - start
    logits = text_logits(model.eval(), validation["text"].tolist(), tokenizer, "cpu").log_softmax(1)
    metrics = classification_metrics(logits.numpy(), encode_labels(validation, sources.SENTIMENTS))
    reported = {"macro_f1": metrics.macro_f1, "accuracy": metrics.accuracy, "loss": metrics.loss}
    return job | {"seconds": round(seconds, 1), "losses": losses, "reported": reported}


def range_test(job: dict) -> dict:
    """Loss and smoothed loss while the rate rises from step to step."""
    import torch
    from torch.nn import functional as F
    from torch.optim.lr_scheduler import LambdaLR

    from helpers.data import splits
    from lessons.ch04.mean_pooled import rising

    torch.set_num_threads(1)
    model, tokenizer = text_model(job["seed"])
    train = splits.subsample(short_comments()["train"], RANGE_BATCH * RANGE_STEPS, seed=job["seed"])
    optimizer = optimizer_of(model, HIGHEST, 0.9)
    scheduler = LambdaLR(optimizer, rising(LOWEST, HIGHEST, RANGE_STEPS))
    rates, losses = [], []
    batches = batches_of(train, tokenizer, job["seed"], RANGE_BATCH)
    for inputs, labels in itertools.islice(batches, RANGE_STEPS):
        loss = F.cross_entropy(model(**inputs), labels)
        rates.append(optimizer.param_groups[0]["lr"])
        losses.append(round(loss.item(), 4))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scheduler.step()
        if losses[-1] > 4 * min(losses):
            break
    return job | {"rates": rates, "losses": losses}


@functools.cache
def silhouettes() -> dict:
    """The splits of the animals."""
    from helpers.data import cleaning, sources, splits

    return splits.split(cleaning.clean_images(sources.animals())[0])


def pictures(size: int, seed: int) -> tuple:
    """Training and validation pictures (N, 3, SIZE, SIZE) with labels (N,)."""
    import torch

    from helpers.data import sources, splits
    from helpers.data.collate import collate_images
    from helpers.data.datasets import ImageDataset
    from helpers.data.transforms import ImagePreprocessing, evaluation_preset

    torch.set_num_threads(1)
    parts = silhouettes()
    preset = evaluation_preset(ImagePreprocessing(SIZE, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)))
    found = []
    chosen = splits.subsample(parts["train"], size, seed=seed), splits.subsample(parts["validation"], 300)
    for frame in chosen:
        dataset = ImageDataset(frame, preset, sources.ANIMALS)
        batch = collate_images([dataset[index] for index in range(len(dataset))])
        found.append((batch["images"], batch["labels"]))
    return tuple(found)


def image_model(seed: int, pretrained: bool):
    """EfficientNet-Lite0 with a fresh head for the ten animals."""
    from helpers import environment
    from helpers.data import sources
    from helpers.models.pretrained import image_classifier

    environment.seed_everything(seed)
    return image_classifier(classes=sources.ANIMALS, image_size=SIZE, pretrained=pretrained).model


def accuracy(model, images, labels) -> float:
    """Share of right answers, in evaluation mode."""
    import torch

    model.eval()
    with torch.no_grad():
        answers = torch.cat([model(part).argmax(1) for part in images.split(100)])
    return round((answers == labels).double().mean().item(), 4)


def epoch(model, images, labels, optimizer) -> float:
    """One epoch in batches of 20; mean loss."""
    import torch
    from torch.nn import functional as F

    losses = []
    for rows in torch.randperm(len(images)).split(20):
        loss = F.cross_entropy(model(images[rows]), labels[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return round(sum(losses) / len(losses), 4)


def until(job: dict) -> dict:
    """Train all weights until nearly all training pictures are known, then look at validation pictures."""
    from helpers.tuning.optimization import make_optimizer, parameter_groups

    (images, labels), validation = pictures(PICTURES, job["seed"])
    pretrained = job["start"] == "pretrained"
    model = image_model(job["seed"], pretrained)
    rate, layer_decay = (4e-3, 0.9) if pretrained else (3e-3, 1.0)
    optimizer = make_optimizer("adamw", parameter_groups(model, rate, layer_decay=layer_decay))
    seconds, known, epochs = 0.0, 0.0, 0
    while known < ENOUGH and epochs < MOST_EPOCHS:
        start = time.process_time()
        epoch(model.train(), images, labels, optimizer)
        seconds += time.process_time() - start
        known, epochs = accuracy(model, images, labels), epochs + 1
    scores = {"training_accuracy": known, "validation_accuracy": accuracy(model, *validation)}
    return job | {"epochs": epochs, "seconds": round(seconds, 1)} | scores


def log(job: dict) -> dict:
    """Loss and validation accuracy by epoch of a run with one of `FAULTS`; what changed below the head."""
    import torch

    from helpers.tuning.freezing import train_mode

    (images, labels), (seen, wanted) = pictures(300, 1)
    model, (head_rate, body_rate) = image_model(1, True), FAULTS[job["fault"]]
    if job["fault"].startswith("validation"):
        seen = seen * 0.5 + 0.5  # 0 to 1, not standardised
    body = [p for name, p in model.named_parameters() if not name.startswith("classifier")]
    for parameter in body:
        parameter.requires_grad_(body_rate > 0)
    groups = [{"params": list(model.classifier.parameters()), "lr": head_rate}]
    groups += [{"params": body, "lr": body_rate}] if body_rate else []
    optimizer, rows = torch.optim.AdamW(groups), []
    below = {name: t.clone() for name, t in model.state_dict().items() if not name.startswith("classifier")}
    for _ in range(6):
        set_mode = torch.nn.Module.train if job["fault"].startswith("BatchNorm") else train_mode
        set_mode(model)
        rows.append([epoch(model, images, labels, optimizer), accuracy(model, seen, wanted)])
    after = model.state_dict()
    changed = {name for name, tensor in below.items() if not torch.equal(tensor, after[name])}
    weights = {name for name, _ in model.named_parameters()} & set(below)
    return job | {
        "epochs": rows,
        "weights_changed": len(changed & weights),
        "weights": len(weights),
        "buffers_changed": len(changed - weights),
        "buffers": len(set(below) - weights),
    }


def wanted() -> dict[str, list[dict]]:
    """What makes each run, by part."""
    settings = itertools.product(SETTINGS, SEEDS)
    starts = itertools.product(("pretrained", "scratch"), SEEDS)
    return {
        "logs": [{"fault": fault} for fault in FAULTS],
        "range": [{"seed": seed} for seed in RANGE_SEEDS],
        "until": [{"start": start, "seed": seed} for start, seed in starts],
        "runs": [{"setting": setting, "seed": seed} for setting, seed in settings],
    }


def main() -> None:
    """Measure what is missing, one run at a time."""
    settings = {
        "runs": [ROWS, VALIDATION_ROWS, WORDS, BATCH, EPOCHS],
        "rates": {name: list(values) for name, values in SETTINGS.items()},
        "range": [LOWEST, HIGHEST, RANGE_STEPS, RANGE_BATCH],
        "until": [SIZE, PICTURES, ENOUGH, MOST_EPOCHS],
        "faults": {name: list(values) for name, values in FAULTS.items()},
    }
    measures = {"logs": log, "range": range_test, "until": until, "runs": tune}
    results = runs.opened(RESULTS, settings, tuple(measures))
    for part, jobs in wanted().items():
        runs.complete(RESULTS, results, part, jobs, measures[part], processes=1)


if __name__ == "__main__":
    main()
