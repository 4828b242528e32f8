"""Chapter 07's exercises refuse the typical wrong attempts with a sentence that helps."""

import numpy as np
import pytest
import torch

from helpers.data.sources import rater_shares
from lessons.ch07 import answers, building
from lessons.ch07 import exercises as ch07


def shares_alone(ratings):
    return rater_shares([ratings])[0]


def label_alone(ratings):
    mean = np.mean(ratings)
    return np.array([mean <= -0.5, -0.5 < mean < 0.5, mean >= 0.5], dtype=float)


def not_halved(ratings):
    return shares_alone(ratings) + label_alone(ratings)


def one_number(ratings):
    return np.mean(ratings)


def all_shuffled():
    return {"a": "labels shuffled", "b": "labels shuffled", "c": "labels shuffled"}


def over_fitting_for_the_third():
    return {"a": "labels shuffled", "b": "mask not passed", "c": "over-fitting"}


def another_word():
    return {"a": "too few rows", "b": "mask not passed", "c": "test rows chose"}


def a_list():
    return ["labels shuffled", "mask not passed", "test rows chose"]


def answer_everything():
    return 0.0


def answer_nothing():
    return 1.0


def too_careful():
    return 0.97


def the_promise_itself():
    return 0.5


def a_pair():
    return 0.7, 0.8


def with_collate(change):
    """A right answer whose batches are changed."""

    def attempt(texts, labels, tokenizer, encoder):
        loader, model = answers.prepared(texts, labels, tokenizer, encoder)
        right = loader.collate_fn
        options = {"batch_size": 16, "shuffle": True}
        return torch.utils.data.DataLoader(
            loader.dataset, collate_fn=lambda samples: change(right(samples)), **options
        ), model

    return attempt


def with_forward(pool, width=2):
    """A right answer with another pooling."""

    def attempt(texts, labels, tokenizer, encoder):
        loader, model = answers.prepared(texts, labels, tokenizer, encoder)
        model.classifier = torch.nn.Linear(width * encoder.config.hidden_size, 3)
        model.forward = lambda input_ids, mask: model.classifier(pool(encoder, input_ids, mask))
        return loader, model

    return attempt


def hidden_of(encoder, input_ids, mask):
    return encoder(input_ids, attention_mask=mask).last_hidden_state


def maximum_over_padding(encoder, input_ids, mask):
    hidden = hidden_of(encoder, input_ids, mask)
    mean = (hidden * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
    return torch.cat([mean, (hidden * mask[..., None]).max(1).values], 1)


def mean_over_padding(encoder, input_ids, mask):
    hidden = hidden_of(encoder, input_ids, mask)
    maximum = hidden.masked_fill(mask[..., None] == 0, float("-inf")).max(1).values
    return torch.cat([hidden.mean(1), maximum], 1)


def without_mask(encoder, input_ids, mask):
    return maximum_over_padding(encoder, input_ids, torch.ones_like(mask))


def mean_alone(encoder, input_ids, mask):
    hidden = hidden_of(encoder, input_ids, mask)
    return (hidden * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)


def labels_in_another_order(batch):
    return batch | {"labels": batch["labels"].flip(0)}


def everything_is_a_token(batch):
    return batch | {"attention_mask": torch.ones_like(batch["attention_mask"])}


def padded_to_a_fixed_length(batch):
    wide = {name: torch.nn.functional.pad(batch[name], (0, 40)) for name in ("input_ids", "attention_mask")}
    return batch | wide


def not_shuffled(texts, labels, tokenizer, encoder):
    loader, model = answers.prepared(texts, labels, tokenizer, encoder)
    return torch.utils.data.DataLoader(loader.dataset, batch_size=16, collate_fn=loader.collate_fn), model


def only_the_model(texts, labels, tokenizer, encoder):
    return answers.prepared(texts, labels, tokenizer, encoder)[1]


WRONG = [
    (ch07.soft_targets, shares_alone, "the raters' shares alone"),
    (ch07.soft_targets, label_alone, "for the ratings [-1, 0, 1, 1, 0] expected"),
    (ch07.soft_targets, not_halved, "a distribution sums to 1, found 2.000"),
    (ch07.soft_targets, one_number, "expected three numbers"),
    (ch07.three_runs, all_shuffled, "1 of 3 are right"),
    (ch07.three_runs, over_fitting_for_the_third, "2 of 3 are right"),
    (ch07.three_runs, another_word, "found 'too few rows'"),
    (ch07.three_runs, a_list, "expected a dictionary with the keys"),
    (ch07.hand_over, answer_everything, "85% were promised"),
    (ch07.hand_over, the_promise_itself, "85% were promised"),
    (ch07.hand_over, answer_nothing, "not one hidden comment is so sure"),
    (ch07.hand_over, too_careful, "a lower limit keeps the promise"),
    (ch07.hand_over, a_pair, "expected one number between 0 and 1"),
    (ch07.prepared, only_the_model, "expected two things"),
    (ch07.prepared, not_shuffled, "shuffle the training rows"),
    (ch07.prepared, with_collate(labels_in_another_order), "lost its label"),
    (ch07.prepared, with_collate(everything_is_a_token), "which is none of the texts"),
    (ch07.prepared, with_collate(padded_to_a_fixed_length), "L the longest text of the batch"),
    (ch07.prepared, with_forward(maximum_over_padding), "in the maximum"),
    (ch07.prepared, with_forward(mean_over_padding), "in the mean"),
    (ch07.prepared, with_forward(without_mask), "padding is read somewhere"),
    (ch07.prepared, with_forward(mean_alone, width=1), "mean and maximum side by side"),
]


@pytest.mark.parametrize(("exercise", "attempt", "sentence"), WRONG)
def test_wrong_attempts_are_refused_with_a_reason(exercise, attempt, sentence, refused):
    refused(exercise, attempt, sentence)


def test_a_band_of_limits_keeps_the_promise():
    """Whoever keeps a margin passes, not one number alone."""
    passes = []
    for limit in np.arange(0.5, 1.0, 0.02):
        try:
            ch07.hand_over.verify(lambda limit=limit: float(limit))
            passes.append(limit)
        except AssertionError:
            continue
    assert len(passes) >= 4
    assert min(passes) <= answers.hand_over() <= max(passes)


def test_a_frozen_model_does_not_beat_the_words(monkeypatch):
    """The trained part of the check, with a small encoder: one that cannot learn is told so."""
    monkeypatch.setattr(building, "large_encoder", lambda: building.small_encoder(30522))

    def frozen(texts, labels, tokenizer, encoder):
        loader, model = answers.prepared(texts, labels, tokenizer, encoder)
        with torch.no_grad():
            model.classifier.weight.zero_()
        model.classifier.weight.requires_grad_(False)
        return loader, model

    with pytest.raises(AssertionError, match="do gradients reach both"):
        ch07.prepared.verify(frozen)
