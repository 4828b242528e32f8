import pytest
import torch
from torch import nn

from helpers.errors import InputError
from helpers.models.pretrained import image_classifier
from helpers.tuning.freezing import apply_strategy, layer_groups, num_trainable, train_mode
from helpers.tuning.schedules import make_schedule, parameter_groups


@pytest.fixture(scope="module")
def image_model():
    return image_classifier(classes=("cat", "dog")).model


@pytest.mark.parametrize("kind", ["text", "image"])
def test_layer_groups_hold_every_parameter_once(kind, text_classifier, image_model):
    model = text_classifier.model if kind == "text" else image_model
    grouped = [p for _, modules in layer_groups(model) for m in modules for p in m.parameters()]
    assert len(grouped) == len(set(map(id, grouped)))
    assert set(map(id, grouped)) == set(map(id, model.parameters()))


def test_resnet_groups_hold_every_parameter_once():
    from torchvision.models import resnet50

    with torch.device("meta"):
        model = resnet50(weights=None)
    grouped = [p for _, modules in layer_groups(model) for m in modules for p in m.parameters()]
    assert set(map(id, grouped)) == set(map(id, model.parameters()))


def test_strategies_open_what_they_say(text_classifier):
    model = text_classifier.model
    total = sum(p.numel() for p in model.parameters())
    assert apply_strategy(model, "head", 0, 3)
    head = num_trainable(model)
    assert 0 < head < 0.02 * total
    counts = []
    for epoch in range(4):
        apply_strategy(model, "gradual", epoch, 4)
        counts.append(num_trainable(model))
    assert counts[0] == head
    assert counts == sorted(set(counts))
    assert counts[-1] == total
    assert not apply_strategy(model, "full", 0, 3)


def test_unknown_names_are_refused(text_classifier):
    with pytest.raises(InputError, match="one of full, head, gradual, found 'half'"):
        apply_strategy(text_classifier.model, "half", 0, 1)
    with pytest.raises(InputError, match="knows no layers of Linear"):
        layer_groups(nn.Linear(2, 2))
    with pytest.raises(InputError, match="one of linear, cosine, constant"):
        make_schedule("step", torch.optim.AdamW([nn.Parameter(torch.zeros(1))]), 10)


def test_frozen_batchnorm_keeps_its_statistics(image_model):
    apply_strategy(image_model, "head", 0, 1)
    train_mode(image_model)
    before = {name: buffer.clone() for name, buffer in image_model.named_buffers()}
    image_model(torch.randn(4, 3, 64, 64))
    assert all(torch.equal(buffer, before[name]) for name, buffer in image_model.named_buffers())
    apply_strategy(image_model, "full", 0, 1)
    train_mode(image_model)
    image_model(torch.randn(4, 3, 64, 64))
    assert not all(torch.equal(buffer, before[name]) for name, buffer in image_model.named_buffers())


def test_discriminative_rates_and_decay(text_classifier):
    groups = parameter_groups(text_classifier.model, 1e-3, weight_decay=0.1, layer_decay=0.5)
    rates = {group["name"].rsplit(" ", 1)[0]: group["lr"] for group in groups}
    assert rates["head"] == 1e-3
    assert rates["layer 5"] == 5e-4
    assert rates["embeddings"] == pytest.approx(1e-3 * 0.5**7)
    assert {group["weight_decay"] for group in groups if group["name"].endswith("vectors")} == {0.0}
    counted = sum(p.numel() for group in groups for p in group["params"])
    assert counted == sum(p.numel() for p in text_classifier.model.parameters())


@pytest.mark.parametrize(("name", "end"), [("linear", 0.0), ("cosine", 0.0), ("constant", 1.0)])
def test_schedules_warm_up_and_end(name, end):
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = make_schedule(name, optimizer, 100, warmup_share=0.1)
    rates = []
    for _ in range(101):
        rates.append(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
    assert rates[0] == 0
    assert rates[5] == pytest.approx(0.5)
    assert rates[10] == pytest.approx(1.0)
    assert rates[100] == pytest.approx(end, abs=1e-6)
