"""Exercise of chapter 03 that diagnoses: five short trainings with their logs, four of them broken."""

import functools

import numpy as np
import pandas as pd
import torch
from torch.nn import functional as F

from helpers.data import sources
from lessons.ch03 import answers
from lessons.ch03.networks import CNN
from lessons.ch03.silhouettes import Silhouettes
from lessons.exercise import Exercise, check_diagnosis, check_keys

FAULTS = ("nothing", "no eval()", "no zero_grad()", "rate too high", "softmax twice")
EPOCHS = 4


@functools.cache
def _rows() -> tuple[Silhouettes, Silhouettes]:
    animals = sources.animals()  # sorted by class, and every class gets its share of both parts
    return Silhouettes(animals.iloc[::12]), Silhouettes(animals.iloc[5::40])


def train_with(fault: str, seed: int = 0) -> pd.DataFrame:
    """The log of a short training with one fault of `FAULTS`: one row per epoch."""
    train_rows, validation_rows = _rows()
    labels, log = torch.tensor(train_rows.labels), []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = CNN(len(sources.ANIMALS), width=8)
        rate = 5.0 if fault == "rate too high" else 0.05
        optimizer = torch.optim.SGD(model.parameters(), lr=rate, momentum=0.9)
        for epoch in range(1, EPOCHS + 1):
            summed, lengths = 0.0, []
            model.train()
            for rows in torch.randperm(len(train_rows)).split(50):
                if fault != "no zero_grad()":
                    optimizer.zero_grad()
                logits = model(train_rows.images[rows])
                if fault == "softmax twice":
                    logits = logits.softmax(1)
                loss = F.cross_entropy(logits, labels[rows])
                loss.backward()
                lengths.append(torch.cat([p.grad.flatten() for p in model.parameters()]).norm().item())
                optimizer.step()
                summed += loss.item() * len(rows)
            if fault != "no eval()":
                model.eval()
            log.append(
                {
                    "epoch": epoch,
                    "training loss": summed / len(train_rows),
                    "gradient": np.mean(lengths),
                    "accuracy by 250": _accuracy(model, validation_rows, 250),
                    "accuracy by 5": _accuracy(model, validation_rows, 5),
                }
            )
    return pd.DataFrame(log)


@torch.no_grad()
def _accuracy(model, rows: Silhouettes, batch_size: int) -> float:
    parts = torch.arange(len(rows)).split(batch_size)
    predictions = torch.cat([model(rows.images[part]).argmax(1) for part in parts])
    return float((predictions.numpy() == rows.labels).mean())


def show_logs() -> None:
    """Train the five networks of the exercise and print their logs."""
    for name, fault in answers.five_logs().items():
        print(f"run {name}")
        print(train_with(fault).to_string(index=False, float_format="{:.2f}".format), end="\n\n")


def _verify(attempt):
    found, truth = attempt(), answers.five_logs()
    check_keys(found, truth)
    if set(found.values()) <= set(FAULTS) and len(set(found.values())) < len(found):
        raise AssertionError("each fault occurs once, and one run is healthy")
    check_diagnosis(found, truth, "ask of each run which column cannot be, if all is well", words=FAULTS)


five_logs = Exercise(
    verify=_verify,
    hints=(
        "The same weights and the same rows: which run has two accuracies, and what may differ between them?",
        "In which run does the gradient get longer and longer? What does `backward` do with the old one?",
        "A loss that falls slowly towards a floor above 1 while the accuracy rises: section 3.5, last trap.",
        "A first epoch with an enormous loss: the first steps went too far.",
    ),
    answer=answers.five_logs,
    praise="You read the fault from the log: that is faster than reading the code.",
)
