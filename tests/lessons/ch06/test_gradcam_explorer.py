"""Chapter 06's Grad-CAM explorer: every control changes the map or the sentence."""

import numpy as np
import pytest
import torch

from helpers.models.pretrained import image_classifier
from lessons.ch06 import gradcam_explorer

CLASSES = ("cat", "dog", "cow")


@pytest.fixture(scope="module")
def widget():
    torch.manual_seed(0)
    model = image_classifier(classes=CLASSES, image_size=64).model
    images = torch.randn(2, 3, 64, 64)
    pictures = gradcam_explorer.Pictures(images, images[:, 0].sigmoid().numpy(), np.array([0, 2]))
    return gradcam_explorer.gradcam_explorer(
        model, {"middle": model.blocks[4], "last": model.bn2}, pictures, CLASSES
    )


def shown(widget):
    return widget.children[-1].value


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [(0, 1, "A cow;"), (1, "dog", "what speaks for dog"), (2, "last", "map shows")],
)
def test_widget_reacts_to_every_control(widget, place, value, words):
    before = shown(widget)
    widget.children[place].value = value
    assert words in shown(widget)
    assert shown(widget).split("base64,")[1] != before.split("base64,")[1], "the picture did not change"


def test_controls_have_descriptions(widget):
    assert [control.description for control in widget.children[:-1]] == ["picture", "explain class", "layer"]


def test_the_sentence_tells_right_from_wrong():
    right = gradcam_explorer.sentence("dog", CLASSES, np.array([0.1, 0.7, 0.2]), 2)
    assert "says dog (p = 0.70), which is right" in right
    assert "speaks for cow (p = 0.20)" in right
    assert "which is wrong" in gradcam_explorer.sentence("cat", CLASSES, np.array([0.1, 0.7, 0.2]), 2)
