"""Chapter 04's schedule explorer: the rates are those that training uses, and the widget reacts."""

import numpy as np
import pytest

from helpers.runs import recipes
from helpers.training.config import TrainingConfig
from helpers.training.loop import fit
from helpers.training.losses import Classification
from helpers.training.runtime import Runtime
from helpers.tuning.optimization import SCHEDULES
from lessons.ch04 import schedule_explorer


def test_rates_are_those_that_fit_reports(text_classifier, small_run):
    model, rows = text_classifier.model, small_run[1].splits["train"].head(24)
    config = TrainingConfig(epochs=2, batch_size=8, schedule="cosine", strategy="head", learning_rate=3e-3)
    loader, loss = recipes.training_loader(text_classifier, rows, config), Classification()
    score, runtime = lambda model: {"macro_f1": 0.0}, Runtime(model)
    trained = [
        step.learning_rate for step in fit(model, loader, config, loss=loss, score=score, runtime=runtime)
    ]
    assert len(trained) == 6
    assert schedule_explorer.rates("cosine", learning_rate=3e-3, num_steps=6) == pytest.approx(trained)


@pytest.mark.parametrize("name", SCHEDULES)
def test_highest_rate_and_warm_up(name):
    rates = schedule_explorer.rates(name, learning_rate=0.02, num_steps=200, warmup_share=0.25)
    assert rates.shape == (200,)
    assert rates.max() == pytest.approx(0.02)
    assert rates.argmax() == (60 if name == "one-cycle" else 50)
    assert (np.diff(rates[: rates.argmax()]) > 0).all()


def test_sentence_reads_the_rates():
    text = schedule_explorer.sentence(
        "linear", schedule_explorer.rates("linear", learning_rate=0.01, num_steps=100, warmup_share=0.0)
    )
    assert "first step has rate 0.01, step 1 of 100" in text
    assert "the last step has 0.0001. The mean rate is 50% of the highest." in text


def test_widget_reacts_to_every_control_and_says_what_it_draws():
    widget = schedule_explorer.schedule_explorer()
    by_name, output = {child.description: child for child in widget.children[:-1]}, widget.children[-1]
    for name, value in (
        ("schedule", "step"),
        ("warm-up share", 0.3),
        ("highest rate", 0.01),
        ("steps in all", 100),
    ):
        before = output.value
        by_name[name].value = value
        assert output.value != before, name
    text = schedule_explorer.sentence(
        "step", schedule_explorer.rates("step", learning_rate=0.01, num_steps=100, warmup_share=0.3)
    )
    assert f">{text}</p>" in output.value
    assert f'alt="{text}"' in output.value
