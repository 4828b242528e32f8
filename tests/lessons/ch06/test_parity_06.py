"""What chapter 06 writes by hand is what the package does: pixels, batches of a dataset, head, losses."""

import copy
import json
import warnings

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from helpers.data.collate import collate_images
from helpers.data.datasets import ImageDataset
from helpers.data.loaders import make_loader, set_epoch
from helpers.data.sources import ANIMALS
from helpers.data.transforms import ImagePreprocessing, evaluation_preset, training_preset
from helpers.files import ROOT
from helpers.models.pretrained import image_classifier
from helpers.training.config import TrainingConfig
from helpers.training.loop import fit_classifier, predict_logits
from helpers.training.runtime import Runtime

NOTEBOOK = ROOT / "notebooks" / "06_image_case_study.ipynb"
HALVES = (0.5, 0.5, 0.5)


def cells_that_define(*names: str) -> list[str]:
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    sources = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    found = []
    for name in names:
        starts = (f"def {name}(", f"class {name}(", f"{name} = ")
        chosen = [source for source in sources if any(f"\n{start}" in f"\n{source}" for start in starts)]
        assert len(chosen) == 1, name
        found.append(chosen[0])
    return found


@pytest.fixture(scope="module")
def by_hand():
    """The names that the chapter's imports and these cells define."""
    imports, *cells = cells_that_define(
        "device", "pretrained_network", "Pictures", "predict", "two_rates", "fine_tune"
    )
    names = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exec(f"from helpers import environment\n{imports}", names)
    names |= {"mean": HALVES, "std": HALVES, "device": "cpu"}
    for cell in [*cells_that_define("for_training"), *cells]:
        exec(cell, names)
    return names


@pytest.fixture(scope="module")
def few(animals):
    return animals.groupby("label").head(4).reset_index(drop=True)


def test_the_pixels_are_those_of_the_presets(by_hand, few):
    preprocessing = ImagePreprocessing(96, HALVES, HALVES)
    for transform, preset in (("for_evaluation", evaluation_preset), ("for_training", training_preset)):
        ours = by_hand["Pictures"](few, ANIMALS, by_hand[transform])
        theirs = ImageDataset(few, preset(preprocessing), ANIMALS)
        assert len(ours) == len(theirs) == 40
        for index in (0, 7, 39):
            torch.manual_seed(index)
            image, label = ours[index]
            torch.manual_seed(index)
            assert torch.equal(image, theirs.transform(theirs._opened(index)))
            assert label == theirs[index]["label"]


def test_the_network_with_its_head_is_the_packages(by_hand):
    torch.manual_seed(0)
    ours, head = by_hand["classifier_for"]("efficientnet_lite0", ANIMALS)
    torch.manual_seed(0)
    theirs = image_classifier("efficientnet_lite0", ANIMALS).model
    images = torch.randn(2, 3, 64, 64)
    assert head.out_features == len(ANIMALS)
    assert torch.equal(head.weight, theirs.classifier.weight)
    assert torch.equal(ours.eval()(images), theirs.eval()(images))


class Small(nn.Module):
    """A convolution, BatchNorm, and a head: what the loop must treat rightly."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 8, 5, stride=4), nn.BatchNorm2d(8), nn.ReLU())
        self.fc = nn.Linear(8, len(ANIMALS))

    def forward(self, images):
        return self.fc(self.body(images).mean((2, 3)))


class AsPairs:
    """The package's loader as the chapter's loop reads one: pairs, a new epoch each time."""

    def __init__(self, loader):
        self.loader, self.dataset, self.epoch = loader, loader.dataset, 0

    def __len__(self):
        return len(self.loader)

    def __iter__(self):
        set_epoch(self.loader, self.epoch)
        self.epoch += 1
        return ((batch["images"], batch["labels"]) for batch in self.loader)


def loaders(few):
    preprocessing = ImagePreprocessing(32, HALVES, HALVES)
    train = ImageDataset(few, training_preset(preprocessing), ANIMALS)
    validation = ImageDataset(few.tail(20), evaluation_preset(preprocessing), ANIMALS)
    return make_loader(train, 8, collate_images, shuffle=True), make_loader(validation, 20, collate_images)


def test_the_loop_has_the_loss_curve_and_the_weights_of_the_package(by_hand, few):
    torch.manual_seed(0)
    ours = Small()
    theirs = copy.deepcopy(ours)
    rates = {"body_rate": 3e-3, "head_rate": 3e-3, "weight_decay": 0.0}
    optimizer = by_hand["two_rates"](ours, ours.fc, **rates)
    train, validation = loaders(few)
    losses, history = by_hand["fine_tune"](ours, AsPairs(train), AsPairs(validation), optimizer, epochs=4)
    config = TrainingConfig(
        epochs=4, learning_rate=3e-3, weight_decay=0.0, select="accuracy", patience=4, precision="no"
    )
    train, validation = loaders(few)
    steps = list(fit_classifier(theirs, train, validation, config))
    expected = torch.tensor([step.train_loss for step in steps])
    torch.testing.assert_close(torch.tensor(losses), expected, atol=1e-4, rtol=1e-4)
    scores = [step.validation["accuracy"] for step in steps if step.validation]
    assert [row["validation_accuracy"] for row in history] == pytest.approx(scores)
    logits = predict_logits(theirs, validation, Runtime(theirs, "no"))
    found = by_hand["predict"](ours, AsPairs(validation))
    torch.testing.assert_close(found, torch.from_numpy(logits), atol=1e-3, rtol=1e-3)


def test_the_head_moves_faster_and_its_rate_falls_to_zero(by_hand):
    model = Small()
    optimizer = by_hand["two_rates"](model, model.fc, body_rate=1e-3, head_rate=5e-3)
    assert [group["lr"] for group in optimizer.param_groups] == [1e-3, 5e-3]
    assert sum(p.numel() for group in optimizer.param_groups for p in group["params"]) == sum(
        p.numel() for p in model.parameters()
    )
    scheduler, rates = by_hand["warm_up_and_fall"](optimizer, 20), []
    for _ in range(20):
        rates.append(scheduler.get_last_lr()[1])
        optimizer.step()
        scheduler.step()
    assert rates[0] == 0
    assert max(rates) == rates[2] == 5e-3
    assert scheduler.get_last_lr() == [0, 0]


def test_the_best_weights_are_put_back(by_hand, few):
    torch.manual_seed(5)
    model = Small()
    train, validation = (AsPairs(loader) for loader in loaders(few))
    wanted = torch.tensor(validation.dataset.labels)
    optimizer = by_hand["two_rates"](model, model.fc, body_rate=0.3, head_rate=0.3)  # far too high
    _, history = by_hand["fine_tune"](model, train, validation, optimizer, epochs=5)
    scores = [row["validation_accuracy"] for row in history]
    best = max(scores)
    assert scores[-1] < best
    assert (by_hand["predict"](model, validation).argmax(1) == wanted).float().mean().item() == pytest.approx(
        best
    )
    assert F.cross_entropy(by_hand["predict"](model, validation), wanted).isfinite()
