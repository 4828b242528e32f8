"""Four bits a weight: how far off they are, that the layers compute what they keep, and what trains above."""

import copy

import pytest
import torch
from torch import nn

from helpers.errors import InputError
from helpers.models.low_bit import LowBitLinear, dequantise, from_low_bit, quantise, to_low_bit
from helpers.tuning.freezing import begin_strategy
from helpers.tuning.lora import add_lora


def kept(weight):
    return dequantise(*quantise(weight), torch.float32)


@pytest.mark.parametrize("size", [1e-6, 0.02, 1.0, 300.0])
def test_no_weight_is_further_off_than_half_a_step(size):
    torch.manual_seed(0)
    weight = size * torch.randn(7, 96)
    blocks = weight.unflatten(1, (-1, 32))
    step = (blocks.amax(-1) - blocks.amin(-1)) / 15
    # Scale and minimum are half precision: 11 bits, and nothing below 6e-8.
    slack = blocks.abs().amax(-1) * 2**-10 + 15 * 6e-8
    error = (kept(weight) - weight).abs().unflatten(1, (-1, 32)).amax(-1)
    assert (error <= step / 2 + slack).all()


@pytest.mark.parametrize("value", [0.0, -0.0, 0.5, -3.0, 1e-9])
def test_equal_weights_stay_equal(value):
    found = kept(torch.full((2, 64), value))
    assert torch.allclose(found, torch.full((2, 64), value), atol=6e-8)
    assert (found == found[0, 0]).all()


def test_a_block_knows_nothing_of_its_neighbours():
    torch.manual_seed(0)
    weight = torch.randn(3, 64)
    other = weight.clone()
    other[:, 32:] *= 1000
    other[1] = 0
    assert torch.equal(kept(weight)[0, :32], kept(other)[0, :32])
    assert torch.equal(kept(weight)[2, :32], kept(other)[2, :32])


def test_what_was_quantised_before_changes_no_more():
    torch.manual_seed(0)
    once = kept(torch.randn(5, 64))
    assert torch.allclose(kept(once), once, atol=2e-3)


def test_two_codes_share_a_byte():
    codes, scale, minimum = quantise(torch.randn(3, 64))
    assert (codes.dtype, scale.dtype, minimum.dtype) == (torch.uint8, torch.float16, torch.float16)
    assert (codes.shape, scale.shape, minimum.shape) == ((3, 32), (3, 2), (3, 2))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("precision", "inputs"), [("no", torch.float32), ("bf16", torch.float32),
                                                   ("bf16", torch.bfloat16)])  # fmt: skip
def test_a_layer_computes_what_an_ordinary_one_with_its_matrix_does(precision, inputs, bias):
    torch.manual_seed(0)
    layer = nn.Linear(64, 48, bias=bias)
    low = LowBitLinear(layer)
    plain = nn.Linear(64, 48, bias=bias)
    plain.load_state_dict({"weight": low.weight} | ({"bias": layer.bias} if bias else {}))
    x, seed = torch.randn(2, 5, 64, dtype=inputs), torch.randn(2, 5, 48)
    found = []
    for module in (plain, low):
        given = x.clone().requires_grad_()
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            out = module(given)
        (out.float() * seed).sum().backward()
        found.append((out, given.grad))
    for one, other in zip(*found):
        assert one.dtype == other.dtype
        assert torch.equal(one, other)


@pytest.fixture
def model(small_llama):
    torch.manual_seed(0)
    return small_llama(97, initializer_range=0.2)


IDS = torch.tensor([[1, 5, 9, 44, 2]])


def test_a_model_without_low_bits_again_gives_equal_logits(model):
    plain, last = copy.deepcopy(model), model.lm_head
    assert to_low_bit(model) == 14
    assert model.lm_head is last
    low = model(IDS).logits
    assert 0 < (low - plain(IDS).logits).abs().mean() < 0.5
    from_low_bit(model)
    assert not any(isinstance(module, LowBitLinear) for module in model.modules())
    assert torch.equal(model(IDS).logits, low)
    plain.load_state_dict(model.state_dict())  # the same names and shapes


def test_only_adapters_above_four_bits_move(model):
    to_low_bit(model)
    add_lora(model, rank=2)
    begin_strategy(model, "lora")
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.01)
    losses = []
    for _ in range(12):
        loss = model(IDS, labels=IDS).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]
    moved = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert moved == {name for name in before if "lora_" in name}


def test_layers_that_no_block_divides_stay_and_a_model_of_such_is_refused(small_llama):
    sizes = {"hidden_size": 32, "intermediate_size": 40}
    model = small_llama(97, **sizes)
    assert to_low_bit(model) == 12
    assert type(model.model.layers[0].mlp.down_proj) is nn.Linear
    with pytest.raises(InputError, match="multiple of 32"):
        to_low_bit(small_llama(97, hidden_size=24, intermediate_size=40))
