"""Chapter 01's memory planner: it asks `helpers.planner`, names the cards that fit, and its widget reacts."""

import pytest

from helpers import planner
from lessons.ch01 import memory_planner

LARGE = "llama-3.1-8b"


def test_it_is_the_planner_of_the_command_line():
    workload = planner.Workload(planner.SHAPES[LARGE], 2, 4096, strategy="lora", base_bits=4)
    planned = memory_planner.plan(LARGE, strategy="LoRA, base in 4 bits (QLoRA)", rows=2, tokens=4096)
    assert planned.memory == planner.memory(workload)


def test_only_cards_with_room_fit():
    for strategy in memory_planner.STRATEGIES:
        result = memory_planner.plan(LARGE, strategy=strategy, rows=1, tokens=2048)
        for name, gigabytes in memory_planner.GPUS.items():
            assert (name in result.fitting()) == (result.memory.total <= 0.95 * gigabytes * 1e9)
    assert memory_planner.plan(LARGE).fitting() == []
    assert "none of" in memory_planner.plan(LARGE).sentence()
    assert "T4" in memory_planner.plan("smollm2-135m", rows=1, tokens=128).sentence()


def controls(widget):
    return {child.description: child for child in widget.children[:-1]}, widget.children[-1]


def test_widget_reacts_to_every_control():
    by_name, output = controls(memory_planner.memory_planner())
    changes = [
        ("model", "smollm2-360m"), ("what is trained", "LoRA, base in 16 bits"), ("rows", 4),
        ("tokens per row", 4096), ("recompute activations", True),
    ]  # fmt: skip
    assert {name for name, _ in changes} == set(by_name)
    for name, value in changes:
        before = output.value
        by_name[name].value = value
        assert output.value != before, name


def test_widget_says_what_the_computation_says():
    by_name, output = controls(memory_planner.memory_planner())
    by_name["model"].value = LARGE
    by_name["tokens per row"].value = 32768
    sentence = memory_planner.plan(LARGE, rows=8, tokens=32768).sentence()
    assert f">{sentence}</p>" in output.value
    assert f'alt="{sentence}"' in output.value


@pytest.mark.parametrize("strategy", memory_planner.STRATEGIES)
def test_parts_in_the_picture_add_up(strategy):
    result = memory_planner.plan(LARGE, strategy=strategy)
    axes = memory_planner.picture(result).axes[0]
    widths = [bar.get_width() for bar in axes.patches if bar.get_y() < 0.5]  # the first row
    assert sum(widths) == pytest.approx(
        sum(getattr(result.memory, part) for part in memory_planner.PARTS) / 1e9
    )
    assert axes.get_xlabel() == "memory (GB)"
