"""Activation checkpointing: the same numbers, dropout and BatchNorm included, and less that is kept."""

import copy

import pytest
import timm
import torch
from torch import nn
from transformers import BertConfig, BertForSequenceClassification, LlamaConfig, LlamaForCausalLM

from helpers.errors import InputError
from helpers.training.recomputing import recompute
from helpers.tuning.lora import add_lora
from lessons.kept_tensors import kept_bytes

SIZES = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 4, "num_attention_heads": 4}


def text():
    return BertForSequenceClassification(BertConfig(vocab_size=50, **SIZES)), torch.arange(48).view(4, 12)


def chat():
    model = LlamaForCausalLM(LlamaConfig(vocab_size=50, **SIZES))
    add_lora(model, rank=4, dropout=0.1)
    return model, torch.arange(48).view(4, 12)


def vision():
    return timm.create_model("vit_tiny_patch16_224", img_size=64, drop_rate=0.1, proj_drop_rate=0.1), 64


def convolutions():
    return timm.create_model("test_efficientnet", drop_path_rate=0.2), 64


def residual():
    from torchvision.models import resnet18

    return resnet18(), 64


def trained(model, inputs):
    """Bytes that a forward pass keeps, and the loss; the gradients are in the model."""
    output = []

    def forward():
        found = model(inputs)
        output.append(getattr(found, "logits", found).square().mean())

    torch.manual_seed(1)
    kept = kept_bytes(forward, [*model.train().parameters(), *model.buffers()])
    output[0].backward()
    return kept, output[0].item()


@pytest.mark.parametrize("build", [text, chat, vision, convolutions, residual])
def test_the_same_numbers_and_less_is_kept(build):
    torch.manual_seed(0)
    model, inputs = build()
    inputs = torch.randn(4, 3, inputs, inputs) if isinstance(inputs, int) else inputs
    again = copy.deepcopy(model)
    recompute(again, on=True)
    plain_kept, plain_loss = trained(model, inputs)
    kept, loss = trained(again, inputs)
    assert loss == plain_loss
    assert kept < 0.6 * plain_kept
    for name, parameter in model.named_parameters():
        other = again.get_parameter(name).grad
        assert (parameter.grad is None) == (other is None)
        assert parameter.grad is None or torch.allclose(parameter.grad, other, atol=1e-6), name
    buffers = dict(again.named_buffers())
    assert all(torch.equal(buffer, buffers[name]) for name, buffer in model.named_buffers())
    recompute(again, on=False)
    copy.deepcopy(again)
    assert trained(again, inputs)[0] > 0.95 * plain_kept


def test_a_model_without_layers_is_refused():
    with pytest.raises(InputError, match="no layers were found in Linear"):
        recompute(nn.Linear(2, 2), on=True)
