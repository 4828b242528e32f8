"""Chapter 11's pictures, widget and stored results, and the layers that are computed once."""

import json

import ipywidgets as widgets
import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM

from lessons.ch11 import beta_explorer, pictures, results, stored_pictures
from lessons.ch11.lower_layers import LowerLayersOnce


def score(value, seeds=3):
    return {"value": value, "interval": [value - 0.05, value + 0.05], "seeds": [value] * seeds}


def measurement() -> dict:
    """A small measurement of the form that `benchmarks/preference.py` stores."""
    families = {"start": 0.5, "sft": 0.6, "dpo": 0.7, "dpo-0.03": 0.55, "dpo-1.0": 0.62, "dpo-long": 0.63}
    families |= {"grpo-exact": 0.66, "grpo-near_enough": 0.2}
    points = [
        {"step": step, "chosen": -3.0 - step, "rejected": -4.0 - 3 * step, "pair_accuracy": 0.6 + step / 10}
        | {"kl_answer": step / 2, "length": 20.0 + step}
        for step in range(3)
    ]
    rewarded = [
        {"step": step, "rewards": {"exact": 0.5, "near_enough": 0.5 + step / 20}} for step in range(1, 11)
    ]
    held = [{"step": step, "macro_f1": 0.5 - step / 30, "most_frequent": 0.4 + step / 20} for step in (0, 10)]
    return {
        "machine": {"device": "a card", "date": "2026-01-01"},
        "settings": {name: {"seeds": [1, 2, 3]} for name in families},
        "means": {name: {"macro_f1": score(value)} for name, value in families.items()},
        "minus_sft": {name: {"macro_f1": score(value - 0.6)} for name, value in families.items()},
        "curves": {
            name: {str(seed): {"curve": points, "losses": [0.7]} for seed in (1, 2, 3)}
            for name in families
            if name.startswith(("dpo", "sft"))
        },
        "rewards": {
            name: {str(seed): {"curve": rewarded, "held_out": held} for seed in (1, 2)}
            for name in families
            if name.startswith("grpo")
        },
        "before_training": {
            "constants": [{"answer": '{"sentiment": "neutral"}', "exact": 0.2, "near_enough": 1.0}],
            "start": {"exact": 0.6, "near_enough": 0.8},
        },
    }


@pytest.fixture
def found(tmp_path):
    file = tmp_path / "preference.json"
    file.write_text(json.dumps(measurement()), encoding="utf-8")
    return results.stored(file)


def test_missing_results_are_said_and_not_drawn(tmp_path, capsys):
    nothing = results.stored(tmp_path / "none.json")
    for drawn in (stored_pictures.tasks, stored_pictures.both_answers, stored_pictures.rewards):
        assert drawn(nothing) == (None, results.MISSING)
    for drawn in (stored_pictures.hacking, stored_pictures.control):
        assert drawn(nothing) == (None, results.MISSING)
    assert stored_pictures.constants(nothing) == results.machine_line(nothing) == results.MISSING
    stored_pictures.show(stored_pictures.tasks(nothing))
    assert capsys.readouterr().out.strip() == results.MISSING
    assert results.MISSING in beta_explorer.beta_explorer(nothing).value


def test_a_trade_holds_what_the_beta_brought(found):
    assert results.by_beta(found) == {0.03: "dpo-0.03", 0.1: "dpo", 1.0: "dpo-1.0"}
    one = beta_explorer.trade(found, 1.0)
    assert one["pair_accuracy"].tolist() == pytest.approx([0.6, 0.7, 0.8])
    assert (one["kl_answer"][-1], one["macro_f1"]["value"], one["start"], one["seeds"]) == (1.0, 0.62, 0.5, 3)


def test_the_explorer_says_the_trade_of_the_chosen_beta(found):
    box = beta_explorer.beta_explorer(found)
    slider, page = box.children
    assert isinstance(slider, widgets.SelectionSlider)
    assert "Beta 0.1, 3 seeds" in page.value
    slider.value = 0.03
    assert "Beta 0.03" in page.value
    assert "macro-F1 is 0.550" in page.value
    assert page.value.count("Beta 0.03") == 2  # the sentence, and the picture's alt text


def test_stored_figures_say_what_they_show(found):
    assert "GRPO (near enough) 0.200, DPO (beta 0.1) 0.700" in stored_pictures.tasks(found)[1]
    said = stored_pictures.both_answers(found)[1]
    assert "DPO (beta 0.1): chosen -2.0 nats, rejected -6.0, length +2.0 tokens" in said
    figure, said = stored_pictures.hacking(found)
    assert len(figure.axes) == 1
    assert "from 0.57 to 0.97" in said
    assert "from 0.50 to 0.17" in said
    assert "from 40% to 90%" in said
    assert "near_enough" not in stored_pictures.rewards(found)[1]
    assert "always neutral 1.00" in stored_pictures.constants(found).splitlines()[1]
    said = stored_pictures.control(found)[1]
    assert "surely better: GRPO (exact label), DPO (beta 0.1);" in said
    assert "surely worse: GRPO (near enough), the start;" in said
    assert "a card, 2026-01-01; up to 3 seeds" in results.machine_line(found)


def test_seeds_that_ended_early_shorten_the_mean(found):
    found["curves"]["dpo"]["2"]["curve"] = found["curves"]["dpo"]["2"]["curve"][:2]
    assert len(results.over_seeds(found, "curves", "dpo", "curve", "chosen")["step"]) == 2


class Characters:
    def decode(self, ids):
        return "<|im_end|>" if ids == [2] else chr(96 + ids[0])


def test_the_pair_map_counts_what_is_summed():
    batch = {
        "input_ids": torch.tensor([[[5, 6, 7, 2], [5, 6, 2, 2]]]),
        "attention_mask": torch.tensor([[[1, 1, 1, 1], [1, 1, 1, 0]]]),
        "labels": torch.tensor([[[-100, -100, 7, 2], [-100, -100, 2, -100]]]),
    }
    figure, alt = pictures._drawn(batch, Characters())
    colors = [patch.get_facecolor() for patch in figure.axes[0].patches]
    assert len(colors) == 8
    assert len(set(colors)) == 3
    assert "([2, 1] tokens)" in alt


def test_the_sureness_of_raters_is_told(monkeypatch):
    told = []
    monkeypatch.setattr(pictures.plots, "show", lambda figure, alt: told.append(alt))
    pictures.sureness(np.array([0.5, 0.6, 1.0, 1.0]))
    assert "in 50% of the comments" in told[0]


@pytest.fixture
def tiny():
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 4, "num_attention_heads": 2}
    return LlamaForCausalLM(LlamaConfig(vocab_size=28, **sizes)).eval().requires_grad_(False)


def test_layers_computed_once_give_what_the_whole_decoder_gives(tiny):
    once = LowerLayersOnce(tiny.model, 2)  # before the adapter hangs on the layers
    config = LoraConfig(r=2, target_modules=["q_proj"], layers_to_transform=[2, 3], init_lora_weights=False)
    model = get_peft_model(tiny, config).eval()
    kept_rows = None
    ids = torch.tensor([[5, 6, 7, 8, 2], [9, 3, 2, 2, 2]])
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])
    for rows, cut in ((slice(None), 5), (slice(1, 2), 3)):  # the second time alone, with less padding
        wanted = tiny.model(ids[rows, :cut], attention_mask=mask[rows, :cut]).last_hidden_state
        found = once(ids[rows, :cut], mask[rows, :cut]).last_hidden_state
        is_text = mask[rows, :cut].bool()
        assert torch.allclose(found[is_text], wanted[is_text], atol=1e-5)
        kept = kept_rows or list(once.kept.values())
        assert all(one is other for one, other in zip(kept, once.kept.values(), strict=True))
        kept_rows = kept
    with model.disable_adapter():
        plain = once(ids, mask).last_hidden_state
    assert not torch.allclose(plain, once(ids, mask).last_hidden_state, atol=1e-3)
    once(ids, mask).last_hidden_state.sum().backward()
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)
