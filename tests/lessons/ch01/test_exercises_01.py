"""Chapter 01's exercises refuse the typical wrong attempts with a sentence that helps."""

from dataclasses import replace

import pytest

from helpers import planner
from lessons.ch01 import answers, exercises

RIGHT = (("by_child", answers.by_child), ("three_plans", answers.three_plans), ("choose", answers.choose))


def by_state_dict(model):
    counts = {}
    for name, tensor in model.state_dict().items():
        child = name.split(".")[0] if "." in name else ""
        counts[child] = counts.get(child, 0) + tensor.numel()
    return counts


def child_by_child(model):
    return {name: sum(p.numel() for p in child.parameters()) for name, child in model.named_children()}


def each_module_once(model):
    seen, counts = set(), {}
    for name, child in model.named_children():
        fresh = [p for p in child.parameters() if id(p) not in seen]
        seen |= set(map(id, fresh))
        counts[name] = sum(p.numel() for p in fresh)
    return counts


def by_full_name(model):
    return {name: p.numel() for name, p in model.named_parameters()}


def one_number(model):
    return sum(p.numel() for p in model.parameters())


def all_logits():
    return dict.fromkeys("abc", "logits")


def two_mixed_up():
    return {"a": "text length", "b": "optimizer state", "c": "logits"}


def other_words():
    return {"a": "momentum", "b": "text length", "c": "logits"}


def incomplete():
    return {"a": "optimizer state"}


def always_everything(shape, tokens, room):
    return planner.Workload(shape, rows=4, tokens=tokens)


def always_the_cheapest(shape, tokens, room):
    cheapest = {"strategy": "lora", "base_bits": 4, "activation_checkpointing": True}
    return planner.Workload(shape, rows=1, tokens=tokens, **cheapest)


def from_the_weights_alone(shape, tokens, room):
    if 16 * shape.parameters < room:
        return always_everything(shape, tokens, room)
    return planner.Workload(shape, rows=4, tokens=tokens, strategy="lora", base_bits=4)


def for_short_texts(shape, tokens, room):
    return replace(answers.choose(shape, 128, room), tokens=tokens)


def shorter_texts(shape, tokens, room):
    return answers.choose(shape, 128, room)


def no_plan(shape, tokens, room):
    return {"rows": 4}


def two_cards(shape, tokens, room):
    return planner.Workload(shape, rows=4, tokens=tokens, processes=2, shard=True)


def few_labels(shape, tokens, room):
    return planner.Workload(shape, rows=4, tokens=tokens, learnt_share=0.01)


WRONG = [
    ("by_child", by_state_dict, "counted twice"),
    ("by_child", child_by_child, "counted twice"),
    ("by_child", each_module_once, 'its part is ""'),
    ("by_child", by_full_name, "a stack of layers: expected"),
    ("by_child", one_number, "expected a dictionary"),
    ("three_plans", all_logits, "1 of 3 are right"),
    ("three_plans", two_mixed_up, "1 of 3 are right"),
    ("three_plans", other_words, "the forgotten parts are"),
    ("three_plans", incomplete, "expected a dictionary"),
    ("choose", always_everything, "do not fit"),
    ("choose", always_the_cheapest, "are enough"),
    ("choose", from_the_weights_alone, "do not fit"),
    ("choose", for_short_texts, "do not fit"),
    ("choose", shorter_texts, "text length are given"),
    ("choose", no_plan, "expected a planner.Workload"),
    ("choose", two_cards, "one card"),
    ("choose", few_labels, "every token has a label"),
]


@pytest.mark.parametrize(
    ("name", "attempt", "sentence"), WRONG, ids=lambda one: getattr(one, "__name__", None)
)
def test_wrong_attempts_are_refused_with_a_reason(name, attempt, sentence, refused):
    refused(getattr(exercises, name), attempt, sentence)


@pytest.mark.parametrize(("name", "answer"), RIGHT)
def test_right_answers_pass(name, answer, capsys):
    getattr(exercises, name).check(answer)
    assert capsys.readouterr().out.startswith("Right.")


def test_other_plans_within_the_band_pass(capsys):
    def by_the_planners_remedy(shape, tokens, room):
        return planner.remedy(planner.Workload(shape, rows=4, tokens=tokens), room)

    exercises.choose.check(by_the_planners_remedy)
    assert capsys.readouterr().out.startswith("Right.")


def test_each_plan_lacks_what_its_answer_says():
    for name, (options, forgotten) in exercises._PLANS.items():
        assert {"moments": "optimizer state", "tokens": "text length", "logits": "logits"}[forgotten] == (
            answers.three_plans()[name]
        )
        needed = planner.memory(exercises._workload(**options)).total
        assert exercises._planned(options, forgotten) < 0.6 * needed
