"""The cheat sheet's code runs from top to bottom on tiny data, its commands exist, and it fits two pages."""

import copy
import math
import re
import shlex

import pandas as pd
import pytest
import torch
from transformers import AutoTokenizer, BertConfig, BertModel

from helpers import assets
from helpers.cli import build_parser
from helpers.files import ROOT

SHEET = (ROOT / "docs" / "cheat_sheet.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```", SHEET, flags=re.DOTALL | re.MULTILINE)
WORDS = {"good": ["fine", "lovely", "great"], "bad": ["awful", "broken", "slow"], "so-so": ["usual", "plain"]}


def rows() -> pd.DataFrame:
    """120 short comments of three classes, two to a group, whose words tell the class."""
    found = []
    for number in range(120):
        label = list(WORDS)[number // 2 % 3]
        word = WORDS[label][number % len(WORDS[label])]
        found.append((f"the {word} phone " + "again " * (number % 5), label, number // 2))
    return pd.DataFrame(found, columns=["text", "label", "group"])


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """The names that the sheet's code leaves, run with a tiny encoder of random weights."""
    folder = tmp_path_factory.mktemp("encoder")
    tokenizer = AutoTokenizer.from_pretrained(assets.path("minilm"))
    shape = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    torch.manual_seed(0)
    BertModel(BertConfig(vocab_size=len(tokenizer), **shape)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    names = {"table": rows(), "CLASSES": tuple(WORDS), "NAME": str(folder)}
    for number, block in enumerate(BLOCKS):
        exec(compile(block, f"docs/cheat_sheet.md, block {number + 1}", "exec"), names)
    return names


def test_the_loader_pads_and_masks(ran):
    assert not set(ran["train"]["group"]) & set(ran["validation"]["group"])
    batch = ran["collate"]([ran["validation_loader"].dataset[number] for number in range(5)])
    assert batch["input_ids"].shape == batch["attention_mask"].shape
    padding = batch["input_ids"] == ran["tokenizer"].pad_token_id
    assert padding.any()
    assert torch.equal(padding, batch["attention_mask"] == 0)


def test_the_loop_learns_and_begins_near_guessing(ran):
    losses = ran["fit"](copy.deepcopy(ran["untrained"]), epochs=8, body_rate=3e-3)
    assert abs(losses[0] - math.log(3)) < 0.3
    assert sum(losses[-5:]) / 5 < 0.7 * losses[0]


def test_padding_changes_no_answer(ran):
    model, sample = ran["model"].eval(), ran["validation_loader"].dataset[0]
    longest = max(ran["validation_loader"].dataset, key=lambda one: len(one["input_ids"]))
    with torch.no_grad():
        alone, beside = (
            ran["logits_of"](model, ran["collate"](some)) for some in ([sample], [sample, longest])
        )
    assert torch.allclose(alone[0], beside[0], atol=1e-5)


def test_frozen_means_frozen_and_lora_moves_little(ran):
    before, after = ran["untrained"].state_dict(), ran["frozen"].state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"head.weight", "head.bias"}
    moving = sum(p.numel() for p in ran["adapted"].parameters() if p.requires_grad)
    assert 0 < moving < 0.2 * sum(p.numel() for p in ran["adapted"].parameters())


def test_the_merged_model_answers_as_the_adapted_one(ran):
    batch = next(iter(ran["validation_loader"]))
    with torch.no_grad():
        first, second, start = (
            ran["logits_of"](ran[name].eval(), batch) for name in ("adapted", "merged", "untrained")
        )
    assert torch.allclose(first, second, atol=1e-5)
    assert not torch.allclose(first, start, atol=1e-3)


def test_the_kept_weights_are_the_best(ran, monkeypatch):
    """With validation losses that fall and rise again, those after the second epoch."""
    model, seen = copy.deepcopy(ran["untrained"]), []
    losses = iter([0.9, 0.5, 0.7])

    def evaluate(network, loader):
        seen.append(network.head.weight.detach().clone())
        return next(losses), None

    monkeypatch.setitem(ran, "evaluate", evaluate)
    ran["fit"](model, epochs=3)
    assert torch.equal(model.head.weight, seen[1])
    assert not torch.equal(seen[1], seen[2])


def test_the_scores_are_of_all_validation_rows(ran):
    assert len(ran["said"]) == len(ran["rival"]) == len(ran["validation"])
    assert 0 <= ran["score"] <= 1
    assert -1 <= ran["low"] <= ran["high"] <= 1


def test_train_mode_keeps_frozen_batch_norm_still(ran):
    network = torch.nn.Sequential(torch.nn.BatchNorm1d(4), torch.nn.Linear(4, 4), torch.nn.BatchNorm1d(4))
    network[0].requires_grad_(False)
    ran["train_mode"](network)
    assert [part.training for part in network] == [False, True, True]


def test_the_commands_exist():
    table = SHEET.partition("## 5 Twelve commands")[2]
    lines = re.findall(r"^\| (?!job|---)(.+) \| (.+) \|$", table, flags=re.MULTILINE)
    assert len(lines) == 12
    for _, commands in lines:
        for command in re.findall(r"`python -m helpers ([^`]+)`", commands):
            build_parser().parse_args(shlex.split(command))


def test_it_fits_two_pages():
    """Of A4 at 7 points: so many lines were printed on two."""
    assert len(SHEET.splitlines()) <= 180
    assert max(len(line) for block in BLOCKS for line in block.splitlines()) <= 110
