"""Chapter 04's exercises refuse the typical wrong attempts with a sentence that helps."""

import pytest
import torch
from torch import nn

from lessons.ch04 import answers, stored
from lessons.ch04 import exercises as ch04


class _Head(nn.Module):
    """What the wrong heads share."""

    def __init__(self, encoder, layer, num_classes):
        super().__init__()
        self.encoder, self.layer = encoder, layer
        self.head = nn.Linear(encoder.config.hidden_size, num_classes)

    def states(self, input_ids, attention_mask):
        return self.encoder(input_ids, attention_mask, output_hidden_states=True).hidden_states


class OneLayerTooLow(_Head):
    def forward(self, input_ids, attention_mask):
        hidden, mask = self.states(input_ids, attention_mask)[self.layer - 1], attention_mask[..., None]
        return self.head((hidden * mask).sum(1) / mask.sum(1))


class LastLayer(_Head):
    def forward(self, input_ids, attention_mask):
        hidden, mask = self.states(input_ids, attention_mask)[-1], attention_mask[..., None]
        return self.head((hidden * mask).sum(1) / mask.sum(1))


class PaddingToo(_Head):
    def forward(self, input_ids, attention_mask):
        return self.head(self.states(input_ids, attention_mask)[self.layer].mean(1))


class FirstToken(_Head):
    def forward(self, input_ids, attention_mask):
        return self.head(self.states(input_ids, attention_mask)[self.layer][:, 0])


class DividedByLength(_Head):
    def forward(self, input_ids, attention_mask):
        hidden = self.states(input_ids, attention_mask)[self.layer] * attention_mask[..., None]
        return self.head(hidden.mean(1))


class NoHead(_Head):
    def forward(self, input_ids, attention_mask):
        return self.states(input_ids, attention_mask)[self.layer].mean(1)


def only_gradients(model, head):
    model.requires_grad_(False)
    head.requires_grad_(True)


def evaluation_once(model, head):
    only_gradients(model, head)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.eval()


def pictures_alone(model, head):
    only_gradients(model, head)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
            module.train = lambda mode=True, module=module: module


def no_momentum(model, head):
    only_gradients(model, head)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.momentum = 0.0


def everything_in_evaluation(model, head):
    only_gradients(model, head)
    model.eval()
    model.train = lambda mode=True: model


def head_too(model, head):
    model.requires_grad_(False)


def nothing_frozen(model, head):
    answers.freeze(model, head)
    model.requires_grad_(True)


def not_all_letters():
    return {"a": "BatchNorm not in evaluation mode"}


def another_word():
    return dict.fromkeys("abcd", "bad luck")


def one_fault_for_all():
    return dict.fromkeys("abcd", "the head moves at the body's rate")


def two_letters_swapped():
    right = answers.three_runs()
    return right | {"a": right["d"], "d": right["a"]}


def all_weights_everywhere():
    return dict.fromkeys(ch04.SITUATIONS, ("full", 1.5e-4))


def scratch_without_limit():
    return answers.plan() | {"no limit": ("scratch", 1e-4)}


def head_at_the_rate_of_all_weights():
    return answers.plan() | {"half the time": ("head", 1.5e-5)}


def unknown_strategy():
    return answers.plan() | {"no limit": ("luck", 1e-4)}


WRONG = [
    (ch04.layer_mean, OneLayerTooLow, "for layer 1 the head reads hidden_states[0]"),
    (ch04.layer_mean, LastLayer, "for layer 1 the head reads hidden_states[3]"),
    (ch04.layer_mean, PaddingToo, "padding is averaged"),
    (ch04.layer_mean, FirstToken, "the first token alone"),
    (ch04.layer_mean, DividedByLength, "not those of a head on the masked mean"),
    (ch04.layer_mean, NoHead, "expected logits of shape (2, 4)"),
    (ch04.freeze, only_gradients, "in epoch 1"),
    (ch04.freeze, evaluation_once, "after the loop's model.train(), 1.running_mean"),
    (ch04.freeze, pictures_alone, "6.running_mean"),
    (ch04.freeze, no_momentum, "num_batches_tracked"),
    (ch04.freeze, everything_in_evaluation, "dropout is switched off"),
    (ch04.freeze, head_too, "the head's weights should move"),
    (ch04.freeze, nothing_frozen, "still have requires_grad=True"),
    (ch04.three_runs, not_all_letters, "the keys a, b, c, d"),
    (ch04.three_runs, another_word, "'bad luck' is not one of"),
    (ch04.three_runs, one_fault_for_all, "look again at its lines"),
    (ch04.three_runs, two_letters_swapped, "run a: look again"),
    (ch04.plan, all_weights_everywhere, "half the time: full takes"),
    (ch04.plan, scratch_without_limit, "another choice within the limits"),
    (ch04.plan, head_at_the_rate_of_all_weights, "is not the rate for head"),
    (ch04.plan, unknown_strategy, "'luck' is none of"),
]


@pytest.mark.parametrize(
    ("exercise", "attempt", "sentence"), WRONG, ids=lambda value: getattr(value, "__name__", None)
)
def test_wrong_attempts_are_refused_with_a_reason(exercise, attempt, sentence, refused):
    refused(exercise, attempt, sentence)


def test_other_ways_to_keep_a_frozen_network_are_right_too(capsys):
    def by_a_method(model, head):
        only_gradients(model, head)
        usual = type(model).train

        def train(mode=True):
            usual(model, mode)
            for module in model.modules():
                if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
                    module.eval()
            return model

        model.train = train

    ch04.freeze.check(by_a_method)
    assert capsys.readouterr().out.startswith("Right.")


def test_a_band_of_choices_passes(capsys):
    ch04.plan.check(lambda: answers.plan() | {"no limit": ("lora", 1e-3)})
    assert capsys.readouterr().out.startswith("Right.")


def test_the_logs_show_what_the_exercise_asks_about():
    runs = {run["fault"]: run for run in stored.results("fine_tuning")["logs"]}
    assert set(ch04.LOOK_AT) == set(runs) - {"none"}
    thawed, right = runs["BatchNorm not in evaluation mode"], runs["none"]
    assert thawed["weights_changed"] == 0 < thawed["buffers_changed"]
    assert right["weights_changed"] == right["buffers_changed"] == 0
    slow = runs["the head moves at the body's rate"]
    assert slow["epochs"][-1][0] > 1.8 > right["epochs"][-1][0]
    assert runs["the body moves at the head's rate"]["weights_changed"] > 0
    assert (
        max(run["epochs"][-1][1] for fault, run in runs.items() if fault != "none") < right["epochs"][-1][1]
    )


def test_checking_draws_no_random_number_of_the_learner():
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    ch04.freeze.check(ch04.freeze.answer)
    ch04.layer_mean.check(ch04.layer_mean.answer)
    assert torch.equal(torch.rand(1), expected)


def test_the_two_read_outs_are_two_measurements():
    heads = {}
    for name, file in stored.READ_OUTS.items():
        runs = [run for run in stored.results(file)["runs"] if run["strategy"] == "head"]
        heads[name] = {run["trainable_parameters"] for run in runs}
    assert heads == {"masked mean": {1155}, "pooler": {148995}}, "run benchmarks/strategies.py"
