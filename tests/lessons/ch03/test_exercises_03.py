"""Wrong attempts at chapter 03's exercises are refused with a sentence that points the right way."""

import re

import pytest
import torch
from torch.nn import functional as F

from lessons.ch03 import exercises as ch03


def said(capsys, exercise, attempt):
    exercise.check(attempt)
    return capsys.readouterr().out


def evaluation(*, mode=True, batch_means=False, last_only=False):
    def attempt(model, loader):
        if mode:
            model.eval()
        hits, losses, rows = 0, [], 0
        with torch.no_grad():
            for batch in loader:
                logits = model(batch["images"])
                losses.append(
                    F.cross_entropy(
                        logits, batch["labels"], reduction="mean" if batch_means else "sum"
                    ).item()
                )
                hits += (logits.argmax(1) == batch["labels"]).sum().item()
                rows += len(batch["labels"])
        loss = sum(losses) / (len(losses) if batch_means else rows)
        return (logits.argmax(1) == batch["labels"]).float().mean().item() if last_only else hits / rows, loss

    return attempt


@pytest.mark.parametrize(
    ("attempt", "sentence"),
    [
        (lambda states, mask: states.mean(1), "the mean over all its positions"),
        (lambda states, mask: (states * mask[:, :, None]).mean(1), "still divide by the length of the batch"),
        (lambda states, mask: states[:, 0], r"expected their mean \[2, 20\], found \[1, 10\]"),
        (
            lambda states, mask: (states * mask[:, :, None]).sum(1) / mask.sum(),
            r"row 0 has the real states|expected the plain mean",
        ),
        (lambda states, mask: states * mask[:, :, None], r"expected a tensor of shape \(B, D\)"),
        (lambda states, mask: (states * mask).sum(1), "your code stopped with RuntimeError"),
    ],
)
def test_mean(capsys, attempt, sentence):
    found = said(capsys, ch03.mean, attempt)
    assert found.startswith("Not yet: ")
    assert re.search(sentence, found), found


def test_evaluation_accepts_the_right_form_only(capsys):
    assert said(capsys, ch03.evaluation, evaluation()).startswith("Right. ")
    assert "in which mode was it?" in said(capsys, ch03.evaluation, evaluation(mode=False))
    assert "the mean of the batches' means" in said(capsys, ch03.evaluation, evaluation(batch_means=True))
    assert "right rows / 130" in said(capsys, ch03.evaluation, evaluation(last_only=True))
    assert "a pair of numbers" in said(capsys, ch03.evaluation, lambda model, loader: 0.5)


def test_resume(capsys):
    live = lambda model, optimizer: {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
    assert "holds the weights themselves" in said(capsys, ch03.resume, live)

    def half(model, optimizer):
        return {
            "model": {name: tensor.clone() for name, tensor in model.state_dict().items()},
            "optimizer": optimizer.state_dict(),
        }

    assert "is the optimizer's state complete, and a copy, too?" in said(capsys, ch03.resume, half)

    def fresh_optimizer(model, optimizer):
        weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        return {"model": weights, "optimizer": torch.optim.AdamW(model.parameters(), lr=0.01).state_dict()}

    assert "is the optimizer's state complete" in said(capsys, ch03.resume, fresh_optimizer)
    only = lambda model, optimizer: {"model": model.state_dict()}
    assert 'the keys "model" and "optimizer"' in said(capsys, ch03.resume, only)
