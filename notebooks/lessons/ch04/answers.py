"""One right answer to each exercise of chapter 04, written as a learner would write it."""

import math

from torch import nn


def factor(step, num_steps, warmup):
    if step < warmup:
        return step / warmup
    done = (step - warmup) / (num_steps - warmup)  # share of what follows the warm-up
    return (1 + math.cos(math.pi * done)) / 2


def freeze(model, head):
    model.train()
    model.requires_grad_(False)
    head.requires_grad_(True)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()


def merge(weight, a, b, alpha):
    rank = a.shape[0]
    return weight + alpha / rank * b @ a
