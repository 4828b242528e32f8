"""Pruning removes the smallest and keeps the rest; cutting computes what zeroed parts would compute."""

import copy

import pytest
import torch

from helpers.errors import InputError
from helpers.models.pretrained import load_classifier, save_classifier
from lessons.ch08 import pruning

TOKENS = {
    "input_ids": torch.tensor([[101, 2023, 2003, 2204, 102], [101, 2919, 102, 0, 0]]),
    "attention_mask": torch.tensor([[1] * 5, [1, 1, 1, 0, 0]]),
}


def logits(model):
    with torch.inference_mode():
        return model.eval()(**TOKENS).logits


@pytest.mark.parametrize("sparsity", [0.0, 0.25, 0.5, 0.99])
def test_the_smallest_of_all_matrices_together_go(sparsity):
    generator = torch.Generator().manual_seed(0)
    matrices = {
        "a": torch.randn(20, 30, generator=generator),
        "b": 5 * torch.randn(10, 10, generator=generator),
    }
    masks = pruning.magnitude_masks(matrices, sparsity)
    keep, sizes = (
        torch.cat([found[name].flatten() for name in ("a", "b")])
        for found in (masks, {n: m.abs() for n, m in matrices.items()})
    )
    assert (~keep).sum() == round(sparsity * 700)
    if sparsity:
        assert sizes[~keep].max() < sizes[keep].min()


def test_equal_weights_are_counted_not_compared():
    assert (~pruning.magnitude_masks({"a": torch.ones(4, 5)}, 0.5)["a"]).sum() == 10


@pytest.mark.parametrize("sparsity", [-0.1, 1.0])
def test_an_impossible_share_is_refused(sparsity, text_classifier):
    with pytest.raises(InputError, match="found"):
        pruning.magnitude_masks({"a": torch.ones(2, 2)}, sparsity)
    with pytest.raises(InputError, match="found"):
        pruning.cut_neurons(text_classifier.model, sparsity)


def test_zeros_save_no_byte_and_leave_embeddings_and_head(text_classifier):
    model = text_classifier.model
    before, size = (
        {name: tensor.clone() for name, tensor in model.state_dict().items()},
        pruning.stored_bytes(model),
    )
    pruning.prune_weights(model, 0.4)
    assert pruning.stored_bytes(model) == size
    changed = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed
    assert all(
        name.startswith("bert.encoder.") and name.endswith("weight") and "LayerNorm" not in name
        for name in changed
    )
    weights = pruning.linear_weights(model.base_model.encoder)
    zeros = sum((weight == 0).sum().item() for weight in weights.values())
    assert zeros == pytest.approx(0.4 * sum(weight.numel() for weight in weights.values()), abs=2)


def test_held_zeros_survive_training_and_are_plain_weights_afterwards(text_classifier):
    model = text_classifier.model
    names = set(model.state_dict())
    masks = pruning.prune_weights(model, 0.5)
    pruning.hold_zeros(model, masks)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    for _ in range(2):
        model.train()(**TOKENS).logits.square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()
    pruning.release(model)
    assert set(model.state_dict()) == names
    weights = pruning.linear_weights(model.base_model.encoder)
    for name, keep in masks.items():
        assert (weights[name][~keep] == 0).all()
        assert (weights[name][keep] != 0).any()


def test_cutting_neurons_equals_zeroing_them_and_can_be_saved(text_classifier, tmp_path):
    whole, cut = copy.deepcopy(text_classifier.model), text_classifier.model
    size = pruning.stored_bytes(cut)
    pruning.cut_neurons(cut, 0.25)
    assert cut.config.intermediate_size == 1152
    for before, after in zip(whole.base_model.encoder.layer, cut.base_model.encoder.layer):
        rows, rows_left = before.intermediate.dense.weight, after.intermediate.dense.weight
        kept = (rows[:, None] == rows_left[None]).all(2).any(1)  # (1536,)
        assert kept.sum() == 1152
        with torch.no_grad():
            before.output.dense.weight[:, ~kept] = 0
    assert torch.allclose(logits(whole), logits(cut), atol=1e-5)
    assert pruning.stored_bytes(cut) < size - 4 * 6 * 384 * 384 * 2 + 10_000
    save_classifier(text_classifier, tmp_path)
    assert torch.equal(logits(load_classifier(tmp_path).model), logits(cut))


def test_the_neurons_that_say_nothing_are_cut_first(text_classifier):
    model = text_classifier.model
    with torch.no_grad():
        for number, layer in enumerate(model.base_model.encoder.layer):
            # Every fourth neuron is silent, another fourth in each layer.
            layer.output.dense.weight[:, number % 4 :: 4] = 0
    before = logits(model)
    pruning.cut_neurons(model, 0.25)
    assert torch.allclose(before, logits(model), atol=1e-5)


def test_cutting_heads_equals_silencing_them(text_classifier):
    whole, cut = copy.deepcopy(text_classifier.model), text_classifier.model
    pruning.cut_heads(cut, 0.5)
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
