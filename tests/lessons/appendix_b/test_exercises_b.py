"""Appendix B's exercises refuse the typical wrong attempts with a sentence that helps."""

import pytest

from lessons.appendix_b import answers
from lessons.appendix_b import exercises as ch_b
from lessons.appendix_b.cases import CASES, CURVES, curves
from lessons.workflows import CHARTS


def boxes(**changes):
    return lambda: answers.next_boxes() | changes


def watching(labels, alarm_below):
    return lambda: {"labels": labels, "alarm_below": alarm_below}


def trusts_drift(week):
    return "Data" if week["drifted"] else "Monitor"


def forgets_the_release(week):
    return answers.next_step(week | {"errors": 0})


def looks_at_inputs_alone(week):
    return answers.next_step(week) if week["drifted"] or week["errors"] > 0.01 else "Monitor"


def takes_the_middle(week):
    found = answers.next_step(week)
    if week["interval"] is None or found == "Deploy":
        return found
    return "Monitor" if sum(week["interval"]) / 2 >= week["success"] else "Data"


def rolls_back_for_little(week):
    return "Deploy" if week["errors"] > week["errors_before"] else answers.next_step(week)


@pytest.mark.parametrize(
    ("exercise", "attempt", "expected"),
    [
        (ch_b.next_boxes, dict, "expected a dictionary with the keys A, B"),
        (ch_b.next_boxes, boxes(A="Debug"), "found 'Debug'"),
        (ch_b.next_boxes, boxes(A="Collect"), "nothing is learnt at all"),
        (ch_b.next_boxes, boxes(B="Train"), "knows its rows by heart"),
        (ch_b.next_boxes, boxes(B="Augment"), "needs more of them"),
        (ch_b.next_boxes, boxes(C="Test once"), "a simple method is better"),
        (ch_b.next_boxes, boxes(D="Tune"), "no learning rate is to blame"),
        (ch_b.next_boxes, boxes(E="Optimise"), "not beaten yet"),
        (ch_b.next_boxes, boxes(F="Data"), "that must be measured"),
        (ch_b.next_boxes, boxes(G="Data"), "no new model is needed"),
        (ch_b.next_boxes, boxes(H="Data"), "the last good version"),
        (ch_b.next_boxes, boxes(I="Test once"), "the test rows stay shut"),
        (ch_b.next_step, lambda week: "Retrain", "found 'Retrain'"),
        (ch_b.next_step, trusts_drift, "a drift alone does not say"),
        (ch_b.next_step, forgets_the_release, "errors rose"),
        (ch_b.next_step, looks_at_inputs_alone, "while the inputs look as ever"),
        (ch_b.next_step, takes_the_middle, "more labels are needed"),
        (ch_b.next_step, rolls_back_for_little, "is chance"),
        (ch_b.watch, dict, "expected a dictionary with the keys labels"),
        (ch_b.watch, watching(1000, 0.75), "from 1 to 250"),
        (ch_b.watch, watching(200, 75), "between 0 and 1"),
        (ch_b.watch, watching(50, 0.75), "no limit is good with so few labels"),
        (ch_b.watch, watching(200, 0.79), "come for nothing"),
        (ch_b.watch, watching(200, 0.70), "must not pass so often"),
    ],
)
def test_wrong_attempts_are_refused_with_a_reason(exercise, attempt, expected, refused):
    refused(exercise, attempt, expected)


@pytest.mark.parametrize("plan", [(200, 0.75), (250, 0.75), (250, 0.74), (180, 0.75)])
def test_a_band_of_plans_is_right(plan, capsys):
    ch_b.watch.check(watching(*plan))
    assert capsys.readouterr().out.startswith("Right. ")


def test_every_box_of_a_case_is_a_way_of_its_chart():
    steps = {chart.name: chart for chart in CHARTS}
    for case in CASES.values():
        chart = steps[case.workflow]
        ways = [step for node in chart.nodes for _, step in node.back]
        ways += [after.text for node, after in zip(chart.nodes, chart.nodes[1:]) if node.back]
        assert case.box in ways


def test_curves_show_what_the_cases_say():
    figure, alt = curves()
    assert [ax.get_title() for ax in figure.axes] == [f"curve {name}" for name in CURVES]
    training, validation = CURVES["B"]
    assert training[-1] < 0.1 < 1.8 < validation[-1] > min(validation)
    assert max(max(losses) for losses in CURVES["A"]) - min(min(losses) for losses in CURVES["A"]) < 0.05
    assert len(alt) > 50
