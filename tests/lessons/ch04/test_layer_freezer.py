"""Chapter 04's layer freezer: what is open, what it costs, and that measuring leaves the model as it was."""

import html

import pytest
import torch

from helpers.runs import recipes
from helpers.training.config import TrainingConfig
from lessons.ch04 import layer_freezer


@pytest.fixture(scope="module")
def measured(small_run):
    torch.manual_seed(0)
    classifier = recipes.build_classifier(small_run[0], small_run[1].classes)
    batch = next(
        iter(
            recipes.training_loader(
                classifier, small_run[1].splits["train"].head(8), TrainingConfig(batch_size=8)
            )
        )
    )
    classifier.model.base_model.embeddings.requires_grad_(False)
    before = {name: tensor.clone() for name, tensor in classifier.model.state_dict().items()}
    return classifier, layer_freezer.measure(classifier, batch), before


def test_more_open_groups_move_more_parameters_and_take_longer(measured):
    classifier, settings, _ = measured
    *by_depth, lora = settings
    counts = layer_freezer.count_groups(classifier.model)
    assert [len(setting.open_groups) for setting in by_depth] == list(range(1, len(counts) + 1))
    for setting in by_depth:
        assert setting.trainable == sum(counts[name] for name in setting.open_groups)
    assert by_depth[-1].trainable == by_depth[-1].total
    assert by_depth[0].open_groups == lora.open_groups == ("head",)
    assert by_depth[0].trainable < lora.trainable < 0.05 * lora.total
    assert by_depth[0].seconds < 0.7 * by_depth[-1].seconds  # backward stops above the frozen layers


def test_measuring_leaves_the_model_as_it_was(measured):
    classifier, _, before = measured
    assert all(torch.equal(tensor, before[name]) for name, tensor in classifier.model.state_dict().items())
    for name, parameter in classifier.model.named_parameters():
        assert parameter.requires_grad == ("embeddings" not in name)
        assert parameter.grad is None


def test_extra_memory_is_that_of_gradients_and_optimizer():
    layer = torch.nn.Linear(30, 20)
    optimizer = torch.optim.AdamW(layer.parameters())
    layer(torch.randn(2, 30)).sum().backward()
    optimizer.step()
    kept = [p.grad for p in layer.parameters()] + [
        state[key] for state in optimizer.state.values() for key in ("exp_avg", "exp_avg_sq")
    ]
    assert layer_freezer.Setting("all", (), 620, 620, 1.0).extra_bytes == sum(
        tensor.nbytes for tensor in kept
    )


def test_widget_reacts_and_says_what_was_measured(measured):
    classifier, settings, _ = measured
    choice, output = layer_freezer.layer_freezer(classifier, settings).children
    assert f">{settings[0].sentence(settings[-2])}</p>" in output.value
    for place in (3, len(settings) - 1):
        before = output.value
        choice.value = place
        assert output.value != before
        assert f'alt="{settings[place].sentence(settings[-2])}"' in html.unescape(output.value)
    assert "LoRA: " in output.value
