"""Random first weights: the right scheme keeps the signal alive, the wrong one loses or explodes it."""

import numpy as np
import pytest
import torch
from torch import nn

from helpers.errors import InputError
from lessons.ch04.initialisation import SCHEMES, activation_statistics, deep_stack, fans, initialise


@pytest.fixture(scope="module")
def pictures(animals):
    pixels = torch.from_numpy(np.stack(animals["image"].iloc[::100].tolist()))[
        :, None
    ].float()  # (100, 1, 28, 28)
    return (pixels - pixels.mean()) / pixels.std()


def last_std(pictures, kind, activation, scheme, **options):
    torch.manual_seed(0)
    model = deep_stack(kind, activation, width=16 if kind == "conv" else 256)
    initialise(model, scheme, **options)
    found = activation_statistics(model, pictures[:40])
    assert list(found["depth"]) == list(range(1, 21))
    return found["std"].iloc[-1] / found["std"].iloc[0]


@pytest.mark.parametrize("kind", ["linear", "conv"])
def test_kaiming_keeps_the_signal_with_relu_and_fixed_spreads_do_not(pictures, kind):
    assert 0.3 < last_std(pictures, kind, "relu", "kaiming") < 3
    # Xavier loses half of the variance at each of 20 layers.
    assert last_std(pictures, kind, "relu", "xavier") < 0.01
    assert last_std(pictures, kind, "relu", "normal", spread=0.01) < 1e-6
    assert last_std(pictures, kind, "relu", "uniform", spread=0.6) > 1e3


def test_xavier_keeps_the_signal_with_tanh(pictures):
    assert 0.15 < last_std(pictures, "linear", "tanh", "xavier") < 1
    assert last_std(pictures, "linear", "tanh", "normal", spread=0.01) < 1e-6


def test_schemes_have_the_spread_they_promise():
    expected = {
        "normal": 0.03,
        "uniform": 0.03 / 3**0.5,
        "xavier": (2 / 1000) ** 0.5,
        "kaiming": (2 / 600) ** 0.5,
    }
    for scheme in SCHEMES:
        torch.manual_seed(0)
        layer = nn.Linear(600, 400)
        initialise(layer, scheme, spread=0.03)
        assert layer.weight.std().item() == pytest.approx(expected[scheme], rel=0.01), scheme
        assert not layer.bias.any()


def test_random_schemes_depend_on_the_seed_alone():
    draws = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        layer = nn.Linear(8, 8)
        initialise(layer, "kaiming")
        draws.append(layer.weight.detach().clone())
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])


@pytest.mark.parametrize("layer", [nn.Linear(5, 7), nn.Conv2d(3, 8, 5)])
def test_fans_are_those_of_the_library(layer):
    assert fans(layer.weight) == nn.init._calculate_fan_in_and_fan_out(layer.weight)


def test_statistics_count_zeros_and_leave_no_hooks(pictures):
    model = nn.Sequential(nn.Flatten(), nn.Linear(784, 64), nn.ReLU())
    initialise(model, "kaiming")
    found = activation_statistics(model, pictures)
    output = model(pictures)
    assert found["zeros"].item() == pytest.approx((output == 0).float().mean().item())
    assert found["mean"].item() == pytest.approx(output.mean().item(), rel=1e-4)
    assert not any(module._forward_hooks for module in model.modules())


def test_bad_arguments_are_refused():
    with pytest.raises(InputError, match="one of normal, uniform, xavier, kaiming, found 'he'"):
        initialise(nn.Linear(2, 2), "he")
    with pytest.raises(InputError, match="above 0"):
        initialise(nn.Linear(2, 2), "normal", spread=0.0)
    with pytest.raises(InputError, match="relu or tanh, found 'linear' and 'gelu'"):
        deep_stack("linear", "gelu")
