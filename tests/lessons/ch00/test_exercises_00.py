"""Chapter 00's exercises refuse the typical wrong attempts with a sentence that helps."""

import numpy as np
import pytest

from lessons.ch00 import answers as solutions
from lessons.ch00 import exercises as ch00

CLASSES = ("negative", "neutral", "positive")


def softmax(logits):
    powers = np.exp(np.array(logits) - np.max(logits, axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def fixed_names(logits, names):
    return [(CLASSES[row.argmax()], row.max()) for row in softmax(logits)]


def the_smallest(logits, names):
    return [(names[row.argmin()], row.min()) for row in softmax(logits)]


def places(logits, names):
    return [(row.argmax(), row.max()) for row in softmax(logits)]


def logits_as_probabilities(logits, names):
    return [(names[int(np.argmax(row))], max(row)) for row in logits]


def divided_by_all(logits, names):
    powers = np.exp(np.array(logits))
    return [(names[row.argmax()], row.max()) for row in powers / powers.sum()]


def overflowing(logits, names):
    powers = np.exp(np.array(logits))
    return [(names[row.argmax()], row.max()) for row in powers / powers.sum(axis=1, keepdims=True)]


def only_names(logits, names):
    return [names[int(np.argmax(row))] for row in logits]


def only_the_first(logits, names):
    return fixed_names(logits[:1], names)


def all_by_heart():
    return dict.fromkeys("abc", "learnt by heart")


def two_mixed_up():
    return {"a": "learnt by heart", "b": "steps too large", "c": "wrong names"}


def other_words():
    return {"a": "overfitting", "b": "learnt by heart", "c": "wrong names"}


WRONG = [
    (ch00.three_runs, all_by_heart, "1 of 3 are right"),
    (ch00.three_runs, two_mixed_up, "1 of 3 are right"),
    (ch00.three_runs, other_words, "the faults are"),
    (ch00.three_runs, lambda: None, "expected a dictionary"),
    (ch00.limit, lambda: None, "expected one number"),
    (ch00.limit, lambda: True, "expected one number"),
    (ch00.limit, lambda: 0.0, "were promised"),
    (ch00.limit, lambda: 0.5, "were promised"),
    (ch00.limit, lambda: 0.97, "saves nobody's time"),
    (ch00.limit, lambda: 1.1, "nobody is answered"),
    (ch00.limit, lambda: 80, "nobody is answered"),
    (ch00.answers, fixed_names, "the place of the largest number decides"),
    (ch00.answers, the_smallest, "the place of the largest number decides"),
    (ch00.answers, places, "the place of the largest number decides"),
    (ch00.answers, logits_as_probabilities, "exp of each logit"),
    (ch00.answers, divided_by_all, "exp of each logit"),
    (ch00.answers, overflowing, "exp(1000)"),
    (ch00.answers, only_names, "a pair"),
    (ch00.answers, only_the_first, "expected a list of 3 pairs"),
]


@pytest.mark.parametrize(
    ("exercise", "attempt", "sentence"), WRONG, ids=lambda one: getattr(one, "__name__", None)
)
def test_wrong_attempts_get_a_helpful_sentence(exercise, attempt, sentence, refused):
    refused(exercise, attempt, sentence)


@pytest.mark.parametrize("name", ["three_runs", "limit", "answers"])
def test_right_answers_pass(name, capsys):
    getattr(ch00, name).check(getattr(solutions, name))
    assert capsys.readouterr().out.startswith("Right.")


def test_a_band_of_limits_passes(capsys):
    """Numbers of numpy, too: a learner's limit may come out of a calculation."""
    answer = solutions.limit()
    for chosen in (answer - 0.02, answer, np.float32(answer + 0.02)):
        ch00.limit.check(lambda chosen=chosen: chosen)
        assert capsys.readouterr().out.startswith("Right.")


def test_the_recorded_trainings_show_their_faults():
    runs = ch00._recorded()["runs"]
    faults = {fault: runs[name] for name, fault in solutions.three_runs().items()}
    assert faults["steps too large"]["errors"][-1] > 1.0
    assert faults["learnt by heart"]["errors"][-1] < 0.2
    assert faults["learnt by heart"]["learnt from"] > faults["learnt by heart"]["put aside"] + 0.3
    assert faults["wrong names"]["errors"][-1] < 0.8
    assert faults["wrong names"]["learnt from"] < 0.3


def test_the_hidden_comments_are_whole():
    recorded = ch00._recorded()
    assert tuple(recorded["classes"]) == CLASSES
    probabilities = np.array(recorded["probabilities"])
    assert probabilities.shape == (len(recorded["labels"]), 3)
    np.testing.assert_allclose(probabilities.sum(1), 1, atol=0.003)
    assert set(recorded["labels"]) == {0, 1, 2}
