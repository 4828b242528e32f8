"""Losses are sums, and say what they are sums of."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from helpers.training.losses import CausalLM, Classification


class Fixed(nn.Module):
    """A model that answers what it was given, in any call."""

    def __init__(self, logits):
        super().__init__()
        self.logits = logits

    def forward(self, *_, **__):
        return self.logits


def batch(**tensors):
    size = len(next(iter(tensors.values())))
    return {"images": torch.zeros(size, 1), "indices": torch.arange(size)} | tensors


def test_classification_is_a_sum_over_rows():
    logits, labels = torch.randn(5, 3), torch.tensor([0, 1, 2, 0, 1])
    loss = Classification()
    expected = sum(-logits.log_softmax(-1)[row, label] for row, label in enumerate(labels))
    assert loss(Fixed(logits), batch(labels=labels)).item() == pytest.approx(expected.item(), rel=1e-5)
    assert loss.items(batch(labels=labels)) == 5


def test_label_smoothing_is_torchs_own():
    logits, labels = torch.randn(5, 3), torch.tensor([0, 1, 2, 0, 1])
    expected = F.cross_entropy(logits, labels, label_smoothing=0.1) * 5
    found = Classification(0.1)(Fixed(logits), batch(labels=labels))
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)


def test_blended_targets_take_the_labels_place():
    logits = torch.randn(2, 3)
    targets = torch.tensor([[0.7, 0.3, 0.0], [0.0, 0.0, 1.0]])
    expected = -(targets * logits.log_softmax(-1)).sum()
    found = Classification()(Fixed(logits), batch(labels=torch.tensor([0, 2]), targets=targets))
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)


def test_distributions_find_their_rows():
    shares = torch.tensor([[1.0, 0, 0], [0, 0.25, 0.75], [0.5, 0.5, 0]])
    logits = torch.randn(2, 3)
    rows = batch(labels=torch.tensor([0, 2])) | {"indices": torch.tensor([2, 1])}
    expected = -(shares[[2, 1]] * logits.log_softmax(-1)).sum()
    found = Classification(distributions=shares)(Fixed(logits), rows)
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)


def language_batch(labels):
    ids = torch.randint(0, 7, labels.shape)
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": labels}


def test_next_tokens_are_shifted_once_and_counted():
    """Position t predicts token t + 1; the first token's label and those of -100 are left out."""
    logits = torch.randn(2, 4, 7)
    labels = torch.tensor([[3, -100, 5, 6], [1, 2, -100, -100]])
    log_p = logits.log_softmax(-1)
    expected = -(log_p[0, 1, 5] + log_p[0, 2, 6] + log_p[1, 0, 2])
    rows, loss = language_batch(labels), CausalLM()
    assert loss(Fixed(logits), rows).item() == pytest.approx(expected.item(), rel=1e-5)
    assert loss.items(rows) == 3


def test_next_tokens_agree_with_transformers():
    from transformers import LlamaConfig, LlamaForCausalLM

    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=7, **sizes)).eval()
    rows, loss = language_batch(torch.tensor([[3, -100, 5, 6], [1, 2, -100, -100]])), CausalLM()
    theirs = model(**rows).loss  # a mean over the labelled tokens
    assert (loss(model, rows) / loss.items(rows)).item() == pytest.approx(theirs.item(), rel=1e-5)
