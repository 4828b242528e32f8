"""What chapter 11 writes by hand is what the package and the benchmark hold: pairs, the two losses, GRPO."""

import json
import sys

import pytest
import torch
from torch.nn import functional as F
from transformers import LlamaConfig, LlamaForCausalLM

from helpers import assets
from helpers.data import sources
from helpers.data.pairs import PairCollate, PairDataset
from helpers.files import ROOT
from helpers.training.losses import Preference, pair_log_probabilities

NOTEBOOK = ROOT / "notebooks" / "11_preference_tuning.ipynb"
SYSTEM = "Negative, neutral or positive?"
PAIRS = [
    ("Love it.", "positive", "negative"),
    ("It broke after two days. :(", "negative", "neutral, I think"),
]


def run_cell(mark: str, names: dict) -> None:
    """Run the part of the cell that holds `mark` which defines: up to its last function or class."""
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    sources_ = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    (found,) = [source for source in sources_ if mark in source]
    blocks = [block for block in found.split("\n\n\n") if block.startswith(("def ", "class ", "@"))]
    exec("\n\n".join(blocks), names)


@pytest.fixture(scope="module")
def by_hand():
    from transformers import AutoTokenizer

    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(assets.path("smollm2"))
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    base = LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), **sizes)).eval()
    names = {"torch": torch, "F": F, "tokenizer": tokenizer, "base": base, "device": "cpu", "SYSTEM": SYSTEM}
    for mark in ("def prompt_ids", "class PairDataset", "def pair_collate", "def token_log_probabilities"):
        run_cell(mark, names)
    for mark in ("def dpo_loss(", "def grpo_loss"):
        run_cell(mark, names)
    return names


def conversations():
    asked = lambda text: [{"role": "system", "content": SYSTEM}, {"role": "user", "content": text}]
    answer = lambda text, word: [*asked(text), {"role": "assistant", "content": word}]
    return [(answer(text, chosen), answer(text, rejected)) for text, chosen, rejected in PAIRS]


@pytest.fixture(scope="module")
def batches(by_hand):
    tokenizer = by_hand["tokenizer"]
    ours, theirs = by_hand["PairDataset"](PAIRS, tokenizer), PairDataset(conversations(), tokenizer, 100)
    ours.reference = theirs.reference = torch.tensor([[-3.0, -4.0], [-9.0, -7.5]])
    collate = PairCollate(tokenizer.pad_token_id)
    return by_hand["pair_collate"]([ours[0], ours[1]]), collate([theirs[0], theirs[1]])


def test_pairs_become_the_same_batch(batches):
    ours, theirs = batches
    assert set(ours) == set(theirs)
    for name in theirs:
        assert torch.equal(ours[name], theirs[name]), name


def test_log_probabilities_and_loss_are_those_of_the_package(by_hand, batches):
    ours, theirs = batches
    with torch.no_grad():
        log_p = by_hand["pair_log_probabilities"](by_hand["base"].model, ours)
        assert torch.allclose(log_p, pair_log_probabilities(by_hand["base"], theirs), atol=1e-4)
        for beta in (0.1, 1.0):
            loss = by_hand["dpo_loss"](log_p, ours["reference"], beta).sum()
            assert torch.allclose(loss, Preference(beta)(by_hand["base"], theirs), atol=1e-4)


def test_the_benchmark_uses_the_same_arithmetic(by_hand, monkeypatch):
    monkeypatch.setattr(sys, "path", [str(ROOT / "benchmarks"), *sys.path])
    grpo = pytest.importorskip("grpo")
    rewards = torch.tensor([1.0, 0, 0, 0, 1, 1, 1, 1, 0.5, 0, 1, 0])
    advantage = grpo.advantages(rewards, 4)
    assert torch.allclose(by_hand["advantages"](rewards, 4), advantage)
    new, old, reference = (
        -torch.rand(12, 5, generator=torch.Generator().manual_seed(seed)) for seed in range(3)
    )
    is_answer = torch.arange(5) < torch.tensor([5, 3, 2, 1] * 3)[:, None]
    ours = by_hand["grpo_loss"](new, old, reference, advantage, is_answer)
    assert torch.allclose(ours, grpo.grpo_loss(new, old, reference, advantage, is_answer), atol=1e-6)
    beyond = by_hand["grpo_loss"](new + 1, new, new + 1, torch.ones(12), is_answer)
    assert torch.allclose(beyond, torch.tensor(-1.2), atol=1e-6)  # clipped, and no drift


def test_the_stated_words_are_one_token_each(by_hand):
    for word in sources.SENTIMENTS:
        assert len(by_hand["tokenizer"](word, add_special_tokens=False)["input_ids"]) == 1
