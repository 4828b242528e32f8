"""Appendix B's stepper: what comes after each step is what the charts say; the widget follows both lists."""

import pytest

from lessons.appendix_b import stepper
from lessons.workflows import APPLICATION, CHARTS, DEVELOPMENT, FINE_TUNING


def test_a_step_with_two_questions_names_both_and_the_next_step():
    text = stepper.what_next(DEVELOPMENT, "Train")
    assert text.startswith(
        "Train is step 7 of 10. Ask: Does the training loss fall? (chapter 03, section 3.10) If yes, go on; "
        "if no, go back to Train."
    )
    assert (
        "Validation much worse than training? (chapter 03, section 3.14) If no, go on; if yes, go back to "
        "Collect." in text
    )
    assert text.endswith("Next: Evaluate (chapter 06, section 6.5).")


def test_a_step_without_a_question_goes_on():
    assert (
        stepper.what_next(FINE_TUNING, "Adapt the head")
        == "Adapt the head is step 2 of 8. Next: Preprocess (chapter 04, section 4.4)."
    )


def test_the_ends():
    assert (
        stepper.what_next(DEVELOPMENT, "Deploy")
        == "Deploy is step 10 of 10. This was the last step, until something changes."
    )
    last = stepper.what_next(APPLICATION, "Measure on new labels")
    assert last.endswith("If yes, go back to Monitor; if no, go back to Data.")
    assert "last step" not in last


@pytest.mark.parametrize("chart", CHARTS, ids=lambda chart: chart.name)
def test_widget_offers_every_step_and_says_what_it_draws(chart):
    box = stepper.stepper()
    name, done, output = box.children
    assert (name.description, done.description) == ("workflow", "just finished")
    name.value = chart.name
    assert list(done.options) == chart.steps
    for step in chart.steps:
        done.value = step
        text = stepper.what_next(chart, step)
        assert f">{text}</p>" in output.value
        assert f'alt="{text}"' in output.value
