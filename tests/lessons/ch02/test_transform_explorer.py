"""Chapter 02's transform explorer: the computation on a real animal, and the widget's reaction."""

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from helpers.data import sources
from lessons.ch02 import transform_explorer

NOTHING = {"flip": 0.0, "smallest_crop": 1.0, "rotation": 0, "colour": 0.0, "size": 28}


@pytest.fixture(scope="module")
def giraffe():
    return Image.fromarray(sources.animals()["image"][6010]).convert("RGB")


def pixels(image):
    return np.asarray(image)


def test_without_any_change_the_image_stays(giraffe):
    assert (pixels(transform_explorer.apply(giraffe, 0, **NOTHING)) == pixels(giraffe)).all()


def test_a_certain_flip_mirrors(giraffe):
    flipped = transform_explorer.apply(giraffe, 0, **NOTHING | {"flip": 1.0})
    assert (pixels(flipped) == pixels(ImageOps.mirror(giraffe))).all()


@pytest.mark.parametrize("change", [{"smallest_crop": 0.3}, {"rotation": 90}, {"colour": 0.8}])
def test_each_change_depends_on_the_seed_alone(giraffe, change):
    first, again, other = (
        pixels(transform_explorer.apply(giraffe, seed, **NOTHING | change)) for seed in (1, 1, 2)
    )
    assert (first == again).all()
    assert (first != other).any()
    assert (first != pixels(giraffe)).any()


def test_the_global_random_numbers_are_left_alone(giraffe):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    transform_explorer.apply(giraffe, 7, rotation=90)
    assert torch.equal(torch.rand(3), expected)


def test_picture_shows_the_image_and_its_draws(giraffe):
    figure = transform_explorer.picture(giraffe, 3, draws=2, rotation=45)
    assert [ax.get_title() for ax in figure.axes] == ["before", "seed 3", "seed 4"]
    shown = figure.axes[2].images[0].get_array()
    assert (shown == pixels(transform_explorer.apply(giraffe, 4, rotation=45))).all()


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [
        (0, 1.0, "probability 100%"),
        (1, 1.0, "not cropped"),
        (2, 90, "up to 90 degrees"),
        (3, 0.5, "up to 50%"),
        (4, 9, "from seed 9 on"),
    ],
)
def test_widget_reacts_to_every_control(giraffe, place, value, words):
    widget = transform_explorer.transform_explorer(giraffe)
    before = widget.children[-1].value
    widget.children[place].value = value
    after = widget.children[-1].value
    assert words in after
    assert after.split("base64,")[1].split('"')[0] != before.split("base64,")[1].split('"')[0], (
        "the picture did not change"
    )
