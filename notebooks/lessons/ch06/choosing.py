"""Exercise of chapter 06 that chooses: a plan is priced, trained, and scored on hidden rows."""

import json

import torch
from torch.nn import functional as F
from torchvision.transforms import v2

from helpers.data.transforms import ImagePreprocessing, evaluation_preset, training_preset
from helpers.files import ROOT
from lessons.ch06 import answers, small_rows
from lessons.exercise import Exercise, check_keys

BUDGET, LEAST, BATCH = 8.0, 0.82, 16  # seconds of one core; accuracy on the hidden rows; pictures per step
KEYS = ("train", "epochs", "body_rate", "head_rate")
HALVES = (0.5, 0.5, 0.5)
PREPROCESSING = ImagePreprocessing(small_rows.SIZE, HALVES, HALVES)


def seconds_per_epoch(train: str) -> float:
    """Of the 300 pictures, by the stored times of one core: all layers, or the head alone."""
    stored = json.loads((ROOT / "benchmarks" / "results" / "images.json").read_text(encoding="utf-8"))
    times = {row["timing"]: row["seconds_per_step"] for row in stored["ladder"]}
    share = times["head only"] / times["channels_last"] if train == "head" else 1.0
    return times["64 pixels"] * share * small_rows.TRAINING_ROWS / stored["settings"]["batch"]


def _checked(found) -> dict:
    check_keys(found, KEYS)
    if found["train"] not in ("all", "head"):
        raise AssertionError(f'`train` is "all" or "head", found {found["train"]!r}')
    if isinstance(found["epochs"], bool) or not isinstance(found["epochs"], int) or found["epochs"] < 1:
        raise AssertionError(f"`epochs` is a whole number of at least 1, found {found['epochs']!r}")
    for name in ("body_rate", "head_rate"):
        if isinstance(found[name], bool) or not isinstance(found[name], int | float) or found[name] < 0:
            raise AssertionError(f"`{name}` is a number of at least 0, found {found[name]!r}")
    return found


def trained(plan: dict) -> float:
    """Accuracy on the hidden rows after a training as planned."""
    pictures, labels = small_rows.rows()["train"]
    model, head = small_rows.network()
    body = [parameter for parameter in model.parameters() if parameter not in set(head.parameters())]
    groups = [{"params": list(head.parameters()), "lr": plan["head_rate"]}]
    if plan["train"] == "all":
        groups.append({"params": body, "lr": plan["body_rate"]})
    else:
        model.requires_grad_(False)
        head.requires_grad_(True)
    optimizer = torch.optim.AdamW(groups)
    steps_per_epoch = len(pictures) // BATCH
    steps, warm_up = plan["epochs"] * steps_per_epoch, max(1, plan["epochs"] * steps_per_epoch // 10)
    fall = lambda step: min(step / warm_up, (steps - step) / (steps - warm_up))
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, fall)
    transform, wanted = v2.Compose([v2.RGB(), training_preset(PREPROCESSING)]), torch.tensor(labels)
    for _ in range(plan["epochs"]):
        model.train(plan["train"] == "all")
        for rows in torch.randperm(len(pictures))[: steps_per_epoch * BATCH].split(BATCH):
            images = torch.stack([transform(pictures[row]) for row in rows])
            loss = F.cross_entropy(model(images.contiguous(memory_format=torch.channels_last)), wanted[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            scheduler.step()
    pictures, labels = small_rows.rows()["hidden"]
    see = evaluation_preset(PREPROCESSING)
    return small_rows.accuracy(model, torch.stack([see(one.convert("RGB")) for one in pictures]), labels)


def _verify_plan(attempt):
    plan = _checked(attempt())
    cost = plan["epochs"] * seconds_per_epoch(plan["train"])
    price = f"{plan['epochs']} epochs of {plan['train']!r} cost {cost:.1f} s of one core"
    if cost > BUDGET:
        raise AssertionError(f"{price}, the budget is {BUDGET:.0f} s")
    right = trained(plan)
    if right < LEAST:
        raise AssertionError(
            f"{price}; on {small_rows.HIDDEN_ROWS} hidden rows the accuracy is {right:.3f}, at least "
            f"{LEAST:.2f} can be had: is a rate too small to arrive, or too large, or an epoch unspent?"
        )
    return f"{price[0].upper()}{price[1:]}; accuracy on {small_rows.HIDDEN_ROWS} hidden rows {right:.3f}."


plan = Exercise(
    verify=_verify_plan,
    hints=(
        "The schedule falls to zero whatever you choose, so a few epochs at a small rate do not arrive. "
        "Spend the budget.",
        "Keep section 6.5's rate of the body, and give the head a few times that.",
    ),
    answer=answers.plan,
    praise="A rate, a number of epochs and a price, defended on rows that you have not seen.",
)
