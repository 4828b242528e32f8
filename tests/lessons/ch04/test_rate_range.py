import pytest
import torch

from helpers.errors import InputError
from helpers.runs import recipes
from helpers.training.config import TrainingConfig
from lessons.ch04.rate_range import learning_rate_range_test, suggested_rate


@pytest.fixture
def setting(text_classifier, small_run):
    config = TrainingConfig(batch_size=8, precision="no")
    return (
        text_classifier.model,
        recipes.training_loader(text_classifier, small_run[1].splits["train"].head(64), config),
        config,
    )


def test_it_finds_where_training_breaks_and_leaves_no_trace(setting):
    model, loader, config = setting
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    result = learning_rate_range_test(model, loader, config, lowest=1e-6, highest=1.0, num_steps=40)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert result["learning_rate"].iloc[0] == pytest.approx(1e-6)
    ratios = result["learning_rate"].iloc[1:].to_numpy() / result["learning_rate"].iloc[:-1].to_numpy()
    assert ratios == pytest.approx(ratios[0])
    assert (
        result["loss"].iloc[-5:].mean() > 1.5 * result["smoothed"].min()
    )  # a rate near 1 destroys the model
    assert 1e-6 < suggested_rate(result) < 1e-2


def test_bad_arguments_are_refused(setting):
    with pytest.raises(InputError, match="lowest < highest"):
        learning_rate_range_test(*setting, lowest=1e-2, highest=1e-3)
    with pytest.raises(InputError, match="at least 10 steps"):
        learning_rate_range_test(*setting, num_steps=3)
