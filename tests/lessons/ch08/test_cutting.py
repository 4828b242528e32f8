"""Cutting computes what silenced parts would compute, and makes a model really smaller."""

import copy

import pytest
import torch

from helpers.errors import InputError
from helpers.models.pretrained import load_classifier, save_classifier
from lessons.ch08 import cutting

TOKENS = {
    "input_ids": torch.tensor([[101, 2023, 2003, 2204, 102], [101, 2919, 102, 0, 0]]),
    "attention_mask": torch.tensor([[1] * 5, [1, 1, 1, 0, 0]]),
}


def logits(model):
    with torch.inference_mode():
        return model.eval()(**TOKENS).logits


@pytest.mark.parametrize("share", [-0.1, 1.0])
def test_an_impossible_share_is_refused(share, text_classifier):
    for cut in (cutting.cut_neurons, cutting.cut_heads):
        with pytest.raises(InputError, match="found"):
            cut(text_classifier.model, share)


def test_kept_layers_compute_what_they_did_and_can_be_saved(text_classifier, tmp_path):
    whole, cut = copy.deepcopy(text_classifier.model), text_classifier.model
    cutting.cut_layers(cut, (0, 2, 4))
    for number in (1, 3, 5):  # a layer that hands on what it gets
        whole.base_model.encoder.layer[number].forward = lambda hidden, *args, **kwargs: hidden
    assert torch.allclose(logits(whole), logits(cut), atol=1e-6)
    save_classifier(text_classifier, tmp_path)
    assert torch.equal(logits(load_classifier(tmp_path).model), logits(cut))


@pytest.mark.parametrize("kept", [(), (0, 6), (-1,)])
def test_layers_that_are_not_there_are_refused(kept, text_classifier):
    with pytest.raises(InputError, match="layers 0 to 5"):
        cutting.cut_layers(text_classifier.model, kept)


def test_cutting_neurons_equals_zeroing_them_and_can_be_saved(text_classifier, tmp_path):
    whole, cut = copy.deepcopy(text_classifier.model), text_classifier.model
    size = cutting.stored_bytes(cut)
    cutting.cut_neurons(cut, 0.25)
    assert cut.config.intermediate_size == 1152
    for before, after in zip(whole.base_model.encoder.layer, cut.base_model.encoder.layer):
        rows, rows_left = before.intermediate.dense.weight, after.intermediate.dense.weight
        kept = (rows[:, None] == rows_left[None]).all(2).any(1)  # (1536,)
        assert kept.sum() == 1152
        with torch.no_grad():
            before.output.dense.weight[:, ~kept] = 0
    assert torch.allclose(logits(whole), logits(cut), atol=1e-5)
    assert cutting.stored_bytes(cut) < size - 4 * 6 * 384 * 384 * 2 + 10_000
    save_classifier(text_classifier, tmp_path)
    assert torch.equal(logits(load_classifier(tmp_path).model), logits(cut))


def test_the_neurons_that_say_nothing_are_cut_first(text_classifier):
    model = text_classifier.model
    with torch.no_grad():
        for number, layer in enumerate(model.base_model.encoder.layer):
            # Every fourth neuron is silent, another fourth in each layer.
            layer.output.dense.weight[:, number % 4 :: 4] = 0
    before = logits(model)
    cutting.cut_neurons(model, 0.25)
    assert torch.allclose(before, logits(model), atol=1e-5)


def test_cutting_heads_equals_silencing_them(text_classifier):
    whole, cut = copy.deepcopy(text_classifier.model), text_classifier.model
    cutting.cut_heads(cut, 0.5)
    for before, after in zip(whole.base_model.encoder.layer, cut.base_model.encoder.layer):
        assert after.attention.self.num_attention_heads == 6
        columns = before.attention.output.dense.weight.T  # (in, out)
        columns_left = after.attention.output.dense.weight.T
        kept = (columns[:, None, :8] == columns_left[None, :, :8]).all(2).any(1)  # (384,)
        assert kept.sum() == 192
        assert all(head.all() or not head.any() for head in kept.view(12, 32))
        with torch.no_grad():
            before.attention.output.dense.weight[:, ~kept] = 0
    assert torch.allclose(logits(whole), logits(cut), atol=1e-5)
