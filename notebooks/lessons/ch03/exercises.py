"""Exercises of chapter 03: a mean without padding, an evaluation to trust, a snapshot to resume from."""

import copy
import math

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from helpers.data import sources
from helpers.data.collate import collate_images
from lessons.ch03 import answers
from lessons.ch03.networks import CNN
from lessons.ch03.silhouettes import Silhouettes
from lessons.exercise import Exercise
from lessons.one_step import take_step


def _verify_masked_mean(attempt):
    # (2, 3, 2)
    states = torch.tensor([[[1.0, 10.0], [3.0, 30.0], [500.0, 500.0]], [[2.0, 4.0], [4.0, 8.0], [6.0, 12.0]]])
    attention_mask = torch.tensor([[1, 1, 0], [1, 1, 1]])
    found = attempt(states, attention_mask)
    if not isinstance(found, torch.Tensor) or found.shape != (2, 2):
        raise AssertionError(f"expected a tensor of shape (B, D) = (2, 2), found {_what(found)}")
    if torch.allclose(found[0], states[0].mean(0)):
        raise AssertionError(
            "row 0 is the mean over all its positions: the one with mask 0 must not be added"
        )
    if torch.allclose(found[0], states[0, :2].sum(0) / 3):
        raise AssertionError(
            "padding is not added any more, but you still divide by the length of the batch, 3; row 0 has 2 "
            "real tokens"
        )
    if not torch.allclose(found[0], torch.tensor([2.0, 20.0])):
        raise AssertionError(
            "row 0 has the real states [1, 10] and [3, 30], so expected their mean [2, 20], found "
            f"{_numbers(found[0])}"
        )
    if not torch.allclose(found[1], torch.tensor([4.0, 8.0])):
        raise AssertionError(
            f"row 1 has no padding, so expected the plain mean [4, 8], found {_numbers(found[1])}"
        )


def _verify_evaluate(attempt):
    rows = Silhouettes(sources.animals().iloc[::77])  # 130 rows
    torch.manual_seed(0)
    model = CNN(len(sources.ANIMALS), width=4, dropout=0.5)
    model(rows.images)  # gives BatchNorm something to remember
    nn.init.normal_(model.head.weight, std=0.5)
    batches = [
        collate_images([rows[i] for i in part]) for part in (range(64), range(64, 128), range(128, 130))
    ]
    before = copy.deepcopy(model.state_dict())
    found = attempt(model, batches)
    if (
        not isinstance(found, tuple)
        or len(found) != 2
        or not all(isinstance(value, int | float) for value in found)
    ):
        raise AssertionError(f"expected a pair of numbers (accuracy, mean loss), found {_what(found)}")
    if any(not torch.equal(before[name], tensor) for name, tensor in model.state_dict().items()):
        raise AssertionError(
            "the evaluation has changed the model: BatchNorm's running mean moved; in which mode was it?"
        )
    with torch.no_grad():
        logits, labels = model.eval()(rows.images), torch.tensor(rows.labels)  # all rows as one batch
    accuracy = (logits.argmax(1) == labels).float().mean().item()
    loss = F.cross_entropy(logits, labels).item()
    means = [F.cross_entropy(model(batch["images"]), batch["labels"]).item() for batch in batches]
    if math.isclose(found[1], float(np.mean(means)), rel_tol=1e-4):
        raise AssertionError(
            "the loss is the mean of the batches' means; the last batch has 2 rows and counts as much as one "
            "of 64"
        )
    if not math.isclose(found[1], loss, rel_tol=1e-4):
        raise AssertionError(
            f"expected a mean loss of {loss:.3f} over 130 rows, found {found[1]:.3f}; add up sums, divide "
            "once"
        )
    if not math.isclose(found[0], accuracy, abs_tol=1e-6):
        raise AssertionError(f"expected accuracy {accuracy:.3f} (right rows / 130), found {found[0]:.3f}")


def _verify_snapshot(attempt):
    rows = Silhouettes(sources.animals().iloc[::100])
    batch = collate_images([rows[i] for i in range(len(rows))])

    def fresh():
        torch.manual_seed(0)
        model = CNN(len(sources.ANIMALS), width=4, dropout=0.0)
        return model, torch.optim.AdamW(model.parameters(), lr=0.01)

    def train(model, optimizer):
        losses = []
        for _ in range(3):
            loss = F.cross_entropy(model(batch["images"]), batch["labels"])
            losses.append(take_step(loss, optimizer).item())
        return losses

    model, optimizer = fresh()
    train(model, optimizer)
    saved = attempt(model, optimizer)
    if not isinstance(saved, dict) or set(saved) != {"model", "optimizer"}:
        raise AssertionError(
            f'expected a dictionary with the keys "model" and "optimizer", found {_what(saved)}'
        )
    expected = train(model, optimizer)  # the training goes on before anybody restores
    again, its_optimizer = fresh()
    again.load_state_dict(saved["model"])
    if all(torch.equal(a, b) for a, b in zip(again.state_dict().values(), model.state_dict().values())):
        raise AssertionError(
            "the snapshot changed while the training went on: it holds the weights themselves, not a copy of "
            "them"
        )
    its_optimizer.load_state_dict(saved["optimizer"])
    found = train(again, its_optimizer)
    if found != expected:
        raise AssertionError(
            f"three steps after the snapshot the losses were {_numbers(expected)}; three steps after "
            "restoring it they are "
            f"{_numbers(found)}: is the optimizer's state complete, and a copy, too?"
        )


def _what(value) -> str:
    if isinstance(value, torch.Tensor):
        return f"a tensor of shape {tuple(value.shape)}"
    if isinstance(value, dict):
        return f"a dictionary with {sorted(map(str, value))}"
    return f"{type(value).__name__} {value!r}"[:80]


def _numbers(values) -> str:
    return "[" + ", ".join(f"{float(value):.4g}" for value in values) + "]"


mean = Exercise(
    verify=_verify_masked_mean,
    hints=(
        "The mask has the shape (B, L), the states (B, L, D). Give the mask a third dimension of size 1, and "
        "you can multiply them.",
        "Two sums over dimension 1: that of the states with padding set to zero, and that of the mask. "
        "Divide the first by the second.",
    ),
    answer=answers.masked_mean,
    praise="Padding can hold anything now, and your mean does not notice.",
)

evaluation = Exercise(
    verify=_verify_evaluate,
    hints=(
        "Two switches before the first batch: one for the mode of the model, one for gradients.",
        'Use reduction="sum" for each batch, count the rows, and divide once, after the loop. `.item()` '
        "turns a tensor into a number.",
        "hits += (logits.argmax(1) == batch['labels']).sum().item()",
    ),
    answer=answers.evaluate,
    praise="This number does not depend on how the rows are batched, and taking it changes nothing.",
)

resume = Exercise(
    verify=_verify_snapshot,
    hints=(
        "Model and optimizer both have a method `state_dict()`.",
        "A state dict refers to the live tensors. `copy.deepcopy` makes copies of everything inside.",
    ),
    answer=answers.snapshot,
    praise="You can go back to this moment, and the training goes on from it as if nothing had happened.",
)
