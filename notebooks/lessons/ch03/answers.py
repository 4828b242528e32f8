"""One right answer to each exercise of chapter 03, written as a learner would write it."""

import copy

import torch
from torch.nn import functional as F


def masked_mean(states, attention_mask):
    mask = attention_mask[:, :, None]  # (B, L, 1), to meet states (B, L, D)
    return (states * mask).sum(1) / mask.sum(1)


def evaluate(model, loader):
    model.eval()
    hits, loss, rows = 0, 0.0, 0
    with torch.no_grad():
        for batch in loader:
            logits = model(batch["images"])
            loss += F.cross_entropy(logits, batch["labels"], reduction="sum").item()
            hits += (logits.argmax(1) == batch["labels"]).sum().item()
            rows += len(batch["labels"])
    return hits / rows, loss / rows


def snapshot(model, optimizer):
    return copy.deepcopy({"model": model.state_dict(), "optimizer": optimizer.state_dict()})
