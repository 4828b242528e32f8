"""The shared space of pictures and words: its loss, what training may touch, features in the right order."""

import math

import numpy as np
import pytest
import torch

from lessons.ch08 import multimodal


def test_loss_of_perfect_and_of_meaningless_similarities():
    assert multimodal.contrastive_loss(torch.zeros(8, 8)).item() == pytest.approx(math.log(8))
    assert multimodal.contrastive_loss(torch.eye(8), temperature=0.01).item() == pytest.approx(0, abs=1e-6)
    assert multimodal.contrastive_loss(torch.eye(8).roll(1, 0), temperature=0.1) > 5


def test_loss_looks_both_ways():
    """A text that all pictures like is a fault, even where each picture's own row looks fine."""
    similarities = torch.tensor([[0.5, 0.4], [0.9, 1.0]])
    one_way = torch.nn.functional.cross_entropy(similarities / 0.1, torch.arange(2))
    assert not torch.isclose(multimodal.contrastive_loss(similarities), one_way)
    assert torch.isclose(
        multimodal.contrastive_loss(similarities), multimodal.contrastive_loss(similarities.T)
    )


def features():
    generator = torch.Generator().manual_seed(0)
    labels = np.arange(60) % 6
    centres, words = torch.randn(6, 20, generator=generator), torch.randn(6, 3, 12, generator=generator)
    return centres[labels] + 0.3 * torch.randn(60, 20, generator=generator), labels, words


def test_seen_classes_find_their_words():
    pictures, labels, words = features()
    space = multimodal.fit_shared_space(pictures, labels, words, range(6), steps=150)
    with torch.no_grad():
        similarities = space(pictures, words.mean(1))
    assert similarities.shape == (60, 6)
    assert similarities.abs().max() <= 1 + 1e-5
    assert (similarities.argmax(1).numpy() == labels).mean() > 0.9


def test_left_out_classes_are_never_touched():
    pictures, labels, words = features()
    seen = [0, 1, 3, 4]
    first = multimodal.fit_shared_space(pictures, labels, words, seen, steps=5)
    pictures[np.isin(labels, [2, 5])], words[[2, 5]] = float("nan"), float("nan")
    second = multimodal.fit_shared_space(pictures, labels, words, seen, steps=5)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters()))


def test_text_features_keep_the_order_and_ignore_padding(text_classifier):
    texts = ["a rather long comment about nothing in particular", "short", "of middle length, perhaps"]
    together = multimodal.text_features(text_classifier, texts)
    alone = torch.cat([multimodal.text_features(text_classifier, [text]) for text in texts])
    assert together.shape == (3, 384)
    assert torch.allclose(together, alone, atol=1e-5)


def test_image_features_do_not_depend_on_the_batch(animals):
    from helpers.models.pretrained import image_classifier

    network, frame = image_classifier(classes=("a", "b")), animals.head(5)
    one, two = (multimodal.image_features(network, frame, batch_size=size) for size in (5, 2))
    assert one.shape == (5, 1280)
    assert not one.requires_grad
    assert torch.allclose(one, two, atol=1e-4)
