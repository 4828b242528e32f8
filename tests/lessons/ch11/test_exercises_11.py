"""Chapter 11's exercises refuse the typical wrong attempts with a sentence that helps."""

import numpy as np
import pytest
import torch

from lessons.ch11 import answers, choosing
from lessons.ch11 import exercises as ch11


def mean_of_tokens(logits, labels):
    return answers.log_probabilities(logits, labels) / (labels[:, 1:] != -100).sum(1)


def a_loss(logits, labels):
    return -answers.log_probabilities(logits, labels)


def not_shifted(logits, labels):
    picked = logits.log_softmax(-1).gather(-1, labels.clamp(min=0)[..., None])[..., 0]
    return (picked * (labels != -100)).sum(1)


def padding_counted(logits, labels):
    return logits.log_softmax(-1)[:, :-1].gather(-1, labels[:, 1:].clamp(min=0)[..., None])[..., 0].sum(1)


def labels_changed(logits, labels):
    labels[labels == -100] = 0
    return answers.log_probabilities(logits, labels)


def one_number(logits, labels):
    return answers.log_probabilities(logits, labels).mean()


def without_reference(log_p, reference, beta):
    return answers.pair_loss(log_p, torch.zeros_like(log_p), beta)


def sides_swapped(log_p, reference, beta):
    return answers.pair_loss(log_p.flip(1), reference.flip(1), beta)


def without_beta(log_p, reference, beta):
    return answers.pair_loss(log_p, reference, 1.0)


def summed(log_p, reference, beta):
    if torch.equal(log_p, reference):
        return answers.pair_loss(log_p, reference, beta)
    return len(log_p) * answers.pair_loss(log_p, reference, beta)


def two_roundings(log_p, reference, beta):
    changes = log_p - reference
    return -torch.log(torch.sigmoid(beta * (changes[:, 0] - changes[:, 1]))).mean()


def beta_outside(log_p, reference, beta):
    return answers.pair_loss(log_p, reference, 1.0) * beta


def two_confused():
    return answers.three_curves() | {"b": "rate too high", "c": "swapped"}


def unknown_fault():
    return answers.three_curves() | {"a": "bad luck"}


def one_rater():
    return {"raters": 1, "agree": 1.0}


def all_ten():
    return {"raters": 10, "agree": 1.0}


def half_a_rater():
    return {"raters": 2.5, "agree": 1.0}


def percent():
    return {"raters": 3, "agree": 100}


def one_of_the_rows(reward, rows, names):
    return max(((name, reward(name, rows[0])) for name in names), key=lambda pair: pair[1])


def the_least(reward, rows, names):
    earned = {name: float(np.mean([reward(name, label) for label in rows])) for name in names}
    return min(earned.items(), key=lambda pair: pair[1])


def the_sum(reward, rows, names):
    best, mean = answers.audit(reward, rows, names)
    return best, mean * len(rows)


def the_mean_alone(reward, rows, names):
    return answers.audit(reward, rows, names)[1]


def half_a_point(answer, label):
    return (
        answers.partial_credit(answer, label)
        if answer == label
        else 2.5 * answers.partial_credit(answer, label)
    )


def all_or_nothing(answer, label):
    return float(answer == label)


def anything_counts(answer, label):
    return answers.partial_credit(answer if answer in ("negative", "neutral") else "positive", label)


WRONG = [
    (ch11.log_probabilities, mean_of_tokens, "mean over the tokens"),
    (ch11.log_probabilities, a_loss, "never above zero"),
    (ch11.log_probabilities, not_shifted, "shift once"),
    (ch11.log_probabilities, padding_counted, "as if their token were 0"),
    (ch11.log_probabilities, labels_changed, "belong to the batch"),
    (ch11.log_probabilities, one_number, "one number per row"),
    (ch11.pair_loss, without_reference, "the policy is the reference"),
    (ch11.pair_loss, sides_swapped, "are swapped"),
    (ch11.pair_loss, without_beta, "beta changes nothing"),
    (ch11.pair_loss, summed, "the mean was asked for"),
    (ch11.pair_loss, two_roundings, "F.logsigmoid does not"),
    (ch11.pair_loss, beta_outside, "the loss is log 2"),
    (ch11.three_curves, two_confused, "1 of 3 are right"),
    (ch11.three_curves, unknown_fault, "the faults are"),
    (ch11.buying, one_rater, "95% were promised"),
    (ch11.buying, all_ten, "at least 400 are needed"),
    (ch11.buying, half_a_rater, "a whole number from 1 to 10"),
    (ch11.buying, percent, "a share from 0 to 1"),
    (ch11.audit, one_of_the_rows, "take the mean over the rows"),
    (ch11.audit, the_least, "the constant answer that earns most"),
    (ch11.audit, the_sum, "take the mean over the rows"),
    (ch11.audit, the_mean_alone, "expected a pair"),
    (ch11.partial_credit, half_a_point, "without reading a comment"),
    (ch11.partial_credit, all_or_nothing, "one step off should earn more"),
    (ch11.partial_credit, anything_counts, "should earn 0"),
]


@pytest.mark.parametrize(
    ("exercise", "attempt", "sentence"), WRONG, ids=lambda value: getattr(value, "__name__", None)
)
def test_wrong_attempts_are_refused_with_a_reason(exercise, attempt, sentence, refused):
    refused(exercise, attempt, sentence)


@pytest.mark.parametrize(("raters", "agree"), [(3, 0.7), (3, 1.0), (4, 0.8), (5, 0.8)])
def test_a_band_of_choices_passes(raters, agree, capsys):
    ch11.buying.check(lambda: {"raters": raters, "agree": agree})
    out = capsys.readouterr().out
    assert out.startswith("Right. ")
    assert "hidden comments you keep" in out


def test_clicks_are_spent_and_agreement_is_counted():
    counts = np.array([[20, 0, 0]] * 40 + [[0, 10, 10]] * 60)
    one = choosing.bought(counts, 4, 1.0, clicks=400)
    assert one["pairs"] >= 40  # the sure ones, and some of the others by luck
    assert choosing.bought(counts, 4, 1.0, clicks=40)["pairs"] <= 10
    assert choosing.bought(counts[:40], 4, 1.0, clicks=160) == {"pairs": 40, "right": 1.0}


def test_the_hidden_rows_are_whole():
    counts = choosing.hidden_counts()
    assert counts.shape == (3000, 3)
    assert counts.sum(1).min() > 10  # more raters than can be asked
