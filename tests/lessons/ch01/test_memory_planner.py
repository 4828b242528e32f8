"""Chapter 01's memory planner: its arithmetic against a measured model, and the widget's reaction."""

import pytest
import torch

from lessons.ch01 import memory_planner, sizes

MINILM = "MiniLM (23 million)"


def test_every_size_is_near_its_name():
    for name in memory_planner.MODELS:
        number, unit = name[name.index("(") + 1 : -1].split()
        stated = float(number) * {"million": 1e6, "billion": 1e9}[unit]
        assert memory_planner.plan(name).parameters == pytest.approx(stated, rel=0.06), name


def test_plan_within_15_percent_of_measured(minilm):
    planned = memory_planner.plan(MINILM, precision="float32", batch_size=16, length=128).memory.total
    stored = memory_planner.plan(
        MINILM, precision="float32", batch_size=16, length=128, fused_attention=False
    ).memory.total
    texts = {name: torch.ones(16, 128, dtype=torch.long) for name in ("input_ids", "attention_mask")}
    measured = sizes.measured_training_memory(minilm, texts)
    assert stored == pytest.approx(measured, rel=0.15)
    assert planned < 0.85 * measured  # the attention matrix, which a CPU stores, must be missing here


def test_each_choice_moves_the_right_part():
    base = memory_planner.plan(MINILM, precision="float32").memory
    assert (
        memory_planner.plan(MINILM, precision="float32", batch_size=64).memory.activations
        == 2 * base.activations
    )
    assert memory_planner.plan(MINILM, precision="float32", optimizer="sgd").memory.optimizer == 0
    assert (
        memory_planner.plan(MINILM, precision="float32", recompute=True).memory.activations
        < base.activations / 2
    )
    assert (
        memory_planner.plan(MINILM, precision="float32", fused_attention=False).memory.activations
        > base.activations
    )
    mixed = memory_planner.plan(MINILM, precision="mixed").memory
    assert (mixed.weights, mixed.optimizer) == (base.weights, base.optimizer)
    assert mixed.activations < base.activations
    plain = memory_planner.plan(MINILM, precision="bfloat16").memory
    assert plain.weights == base.weights / 2
    assert plain.activations == mixed.activations - 2 * memory_planner.plan(MINILM).parameters


def test_fitting_compares_with_each_gpu():
    states = sizes.model_states(memory_planner.plan("GPT-2 XL (1.6 billion)").parameters)
    needed = memory_planner.plan("GPT-2 XL (1.6 billion)", precision="float32", batch_size=1, length=32)
    assert states.total < needed.memory.total
    assert needed.fitting() == [
        name for name, gigabytes in memory_planner.GPUS.items() if gigabytes * 1e9 >= needed.memory.total
    ]
    assert "T4" not in needed.fitting()
    assert "A100 40 GB" in needed.fitting()
    assert memory_planner.plan("GPT-3 (175 billion)").fitting() == []
    assert "none of" in memory_planner.plan("GPT-3 (175 billion)").sentence()


def controls(widget):
    return {child.description: child for child in widget.children[:-1]}, widget.children[-1]


def test_widget_reacts_to_every_control():
    by_name, output = controls(memory_planner.memory_planner())
    changes = [
        ("model", MINILM), ("precision", "mixed"), ("optimizer", "sgd"), ("batch size", 8),
        ("tokens per row", 512), ("fused attention", True), ("recompute activations", True),
    ]  # fmt: skip
    assert {name for name, _ in changes} == set(by_name)
    for name, value in changes:
        before = output.value
        by_name[name].value = value
        assert output.value != before, name


def test_widget_says_what_the_computation_says():
    by_name, output = controls(memory_planner.memory_planner())
    by_name["model"].value = "LLaMA-7B (6.7 billion)"
    by_name["precision"].value = "bfloat16"
    by_name["batch size"].value = 1
    sentence = memory_planner.plan(
        "LLaMA-7B (6.7 billion)", precision="bfloat16", batch_size=1, fused_attention=False
    ).sentence()
    assert f"<p>{sentence}</p>" in output.value
    assert f'alt="{sentence}"' in output.value


@pytest.mark.parametrize("name", memory_planner.MODELS)
def test_parts_in_the_picture_add_up(name):
    result = memory_planner.plan(name)
    axes = memory_planner.picture(result).axes[0]
    widths = [bar.get_width() for bar in axes.patches if bar.get_y() < 0.5]  # the first row
    assert sum(widths) == pytest.approx(result.memory.total / 1e9)
    assert axes.get_xlabel() == "memory (GB)"
