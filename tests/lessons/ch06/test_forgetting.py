"""Half of the classes is trained on, the other half probed; a wild rate loses what was known."""

import torch

from helpers.data import cleaning, sources, splits
from helpers.models.pretrained import image_classifier
from lessons.ch06.forgetting import features, halves, probe, take_steps, tensors


def small_data(animals):
    parts = splits.split(cleaning.clean_images(animals)[0])
    few = {name: part.groupby("label").head(12).reset_index(drop=True) for name, part in parts.items()}
    classifier = image_classifier(classes=sources.ANIMALS, image_size=32)
    return (
        classifier.model,
        classifier.preprocessor,
        few,
        halves(few, sources.ANIMALS, classifier.preprocessor, size=60),
    )


def test_halves_share_no_class_and_a_wild_rate_forgets(animals):
    torch.manual_seed(0)
    model, preprocessing, few, data = small_data(animals)
    assert set(data.train[1].tolist()) == {0, 1, 2, 3, 4}
    assert set(data.probe_train[1].tolist()) | set(data.probe_validation[1].tolist()) == {5, 6, 7, 8, 9}
    assert len(data.probe_train[0]) == len(data.probe_validation[0]) == 60
    found = features(model, data.probe_train[0][:6])
    assert found.shape == (6, 1280)
    before = probe(model, data)
    weights, statistics = model.conv_stem.weight.clone(), model.bn1.running_mean.clone()
    take_steps(model, *data.train, learning_rate=0.0, move_statistics=False, steps=2)
    assert probe(model, data) == before
    take_steps(model, *data.train, learning_rate=0.0, steps=2)
    assert torch.equal(model.conv_stem.weight, weights)
    assert not torch.equal(model.bn1.running_mean, statistics)
    take_steps(model, *data.train, learning_rate=0.1, steps=6)
    assert not torch.equal(model.conv_stem.weight, weights)
    assert probe(model, data) < before - 0.1
    assert torch.equal(
        tensors(few["train"].head(3), preprocessing), tensors(few["train"].head(3), preprocessing, seed=5)
    )
