"""One right answer to each exercise of chapter 03, written as a learner would write it."""

import itertools

from torch.nn import functional as F


def five_logs():
    return {
        "A": "softmax twice",
        "B": "nothing",
        "C": "no zero_grad()",
        "D": "no eval()",
        "E": "rate too high",
    }


def settings():
    return {"learning_rate": 0.02, "batch_size": 128, "epochs": 7}


def train_epoch(model, loader, optimizer, accumulate):
    model.train()
    batches, summed, rows = iter(loader), 0.0, 0
    while group := list(itertools.islice(batches, accumulate)):
        count = sum(len(batch["labels"]) for batch in group)
        optimizer.zero_grad()
        for batch in group:
            loss = F.cross_entropy(model(batch["images"]), batch["labels"], reduction="sum")
            (loss / count).backward()
            summed += loss.item()
        optimizer.step()
        rows += count
    return summed / rows
