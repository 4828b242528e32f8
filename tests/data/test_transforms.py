"""The image presets: evaluation is never random, training is, and each augmentation does what its name
says.
"""

import numpy as np
import pytest
import torch
from PIL import Image

from helpers.data.transforms import AUGMENTATIONS, ImagePreprocessing, evaluation_preset, training_preset
from helpers.errors import InputError

EXPECTED = ImagePreprocessing(size=64, mean=(0.5, 0.4, 0.3), std=(0.5, 0.4, 0.3))


@pytest.fixture(scope="module")
def giraffe(animals):
    return Image.fromarray(animals["image"][6010]).convert("RGB")


def draws(preset, image, number=8):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return [preset(image) for _ in range(number)]


def test_evaluation_is_never_random(giraffe):
    first, *others = draws(evaluation_preset(EXPECTED), giraffe, 4)
    assert first.shape == (3, 64, 64)
    assert first.dtype == torch.float32
    assert all(torch.equal(first, other) for other in others)


def test_values_are_scaled_then_standardised():
    white = evaluation_preset(EXPECTED)(Image.new("RGB", (64, 64), (255, 0, 0)))
    assert torch.allclose(white[:, 0, 0], torch.tensor([1.0, -1.0, -1.0]), atol=1e-6)


def test_training_without_augmentation_is_evaluation(giraffe):
    plain = evaluation_preset(EXPECTED)(giraffe)
    assert all(
        torch.equal(plain, found) for found in draws(training_preset(EXPECTED, augmentations=()), giraffe, 3)
    )


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_each_augmentation_is_random_and_keeps_the_shape(name, giraffe):
    found = draws(training_preset(EXPECTED, augmentations=(name,)), giraffe)
    assert {tuple(image.shape) for image in found} == {(3, 64, 64)}
    assert len({image.numpy().tobytes() for image in found}) > 1


@pytest.mark.parametrize(("name", "axis"), [("flip", 2), ("upside_down", 1)])
def test_flips_mirror_or_leave(name, axis, giraffe):
    plain = evaluation_preset(EXPECTED)(giraffe)
    kinds = {
        torch.equal(found, plain)
        for found in draws(training_preset(EXPECTED, augmentations=(name,)), giraffe)
    }
    assert kinds == {True, False}
    for found in draws(training_preset(EXPECTED, augmentations=(name,)), giraffe):
        assert torch.equal(found, plain) or torch.equal(found, plain.flip(axis))


def test_noise_spares_every_second_picture_and_has_its_size():
    grey = Image.fromarray(np.full((64, 64, 3), 128, dtype=np.uint8))
    plain = evaluation_preset(EXPECTED)(grey)
    spreads = [
        (found - plain).std(dim=(1, 2)) * torch.tensor(EXPECTED.std)
        for found in draws(training_preset(EXPECTED, augmentations=("noise",)), grey, 40)
    ]
    noisy = [spread for spread in spreads if spread.max() > 0]
    assert 10 < len(noisy) < 30
    assert torch.allclose(torch.stack(noisy).mean(0), torch.full((3,), 0.1), atol=0.005)


def test_the_usual_preset_is_crop_and_flip(giraffe):
    usual, named = (
        draws(training_preset(EXPECTED, **options), giraffe, 3)
        for options in ({}, {"augmentations": ["flip", "crop"]})
    )
    assert all(torch.equal(a, b) for a, b in zip(usual, named))


def test_an_unknown_name_is_refused():
    with pytest.raises(InputError, match="found blur"):
        training_preset(EXPECTED, augmentations=("crop", "blur"))
