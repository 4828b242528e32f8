"""The loop and the gradient that chapter 03 writes by hand are those of the package."""

import copy
import itertools
import json

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from helpers.data.collate import collate_images
from helpers.files import ROOT
from helpers.training import loop
from helpers.training.config import TrainingConfig
from helpers.training.losses import Classification
from helpers.training.runtime import Runtime
from lessons.ch03.networks import CNN
from lessons.ch03.silhouettes import Silhouettes

NOTEBOOK = ROOT / "notebooks" / "03_training_loops.ipynb"


def cell_that_defines(name):
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    sources = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    found = [source for source in sources if f"def {name}(" in source]
    assert len(found) == 1, name
    return found[0]


@pytest.fixture(scope="module")
def rows(animals):
    return Silhouettes(animals.iloc[::25]), Silhouettes(animals.iloc[7::50])


@pytest.fixture(scope="module")
def by_hand(rows):
    names = {"torch": torch, "nn": nn, "F": F, "copy": copy, "device": "cpu"}
    for name in ("evaluate", "train", "accumulated_gradient"):
        exec(cell_that_defines(name), names)
    return names


def loaders(rows):
    order = torch.Generator().manual_seed(0)
    options = {"batch_size": 64, "collate_fn": collate_images}
    return DataLoader(rows[0], shuffle=True, generator=order, **options), DataLoader(rows[1], **options)


def test_the_loop_by_hand_is_fit(rows, by_hand):
    torch.manual_seed(0)
    ours = CNN(10, width=4, dropout=0.0)
    theirs = copy.deepcopy(ours)
    losses = by_hand["train"](ours, *loaders(rows), epochs=3, learning_rate=0.02)
    plain = {"weight_decay": 0.0, "warmup_share": 0.0, "select": "accuracy", "precision": "no"}
    config = TrainingConfig(epochs=3, learning_rate=0.02, **plain)
    steps = list(loop.fit_classifier(theirs, *loaders(rows), config))
    assert losses == [step.train_loss for step in steps]
    assert losses[-1] < losses[0]
    for name, tensor in ours.state_dict().items():
        assert torch.equal(tensor, theirs.state_dict()[name]), name


def test_the_evaluation_by_hand_is_that_of_the_package(rows, by_hand):
    torch.manual_seed(0)
    model, (_, validation) = CNN(10, width=4), loaders(rows)
    accuracy, loss = by_hand["evaluate"](model, validation)
    found = loop.evaluate(model, validation, Runtime(model, "no"))
    assert accuracy == pytest.approx(found["accuracy"])
    assert loss == pytest.approx(found["loss"], rel=1e-5)


def test_the_gradient_by_hand_is_that_of_the_package(rows, by_hand):
    torch.manual_seed(0)
    model = CNN(10, width=4).eval()
    samples = [rows[0][index] for index in range(100)]
    pieces = [collate_images(samples[start : start + 32]) for start in range(0, 100, 32)]
    ours = by_hand["accumulated_gradient"](model, pieces)
    loop.backward(model, pieces, Classification(), Runtime(model, "no"))
    theirs = torch.cat([p.grad.flatten() for p in model.parameters()])
    assert ours.norm() > 0
    assert torch.allclose(ours, theirs, atol=1e-6)


def test_endless_shuffles_anew_and_cycle_does_not(rows):
    names = {"nn": nn}
    exec(cell_that_defines("endless"), names)
    for endless, repeats in ((names["endless"], False), (itertools.cycle, True)):
        train_loader, _ = loaders(rows)
        batches = list(itertools.islice(endless(train_loader), 2 * len(train_loader)))
        first, second = (batches[place]["indices"] for place in (0, len(train_loader)))
        assert torch.equal(first, second) == repeats
