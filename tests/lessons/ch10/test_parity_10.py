"""What chapter 10 writes by hand is what the package holds: 50 real rows, the loss, the 4-bit blocks."""

import json

import numpy as np
import pytest
import torch

from helpers import assets
from helpers.data import sources
from helpers.files import ROOT

chat = pytest.importorskip("helpers.data.chat")
NOTEBOOK = ROOT / "notebooks" / "10_instruction_tuning.ipynb"


def cell_that_defines(name: str) -> str:
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    found = [
        source
        for source in ("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
        if f"class {name}(" in source or f"def {name}(" in source or source.startswith(f"{name} =")
    ]
    assert len(found) == 1, name
    return found[0]


def without_the_demonstration(source: str) -> str:
    """A cell without its last block, which prints."""
    return source.rpartition("\n\n\n")[0] or source


@pytest.fixture(scope="module")
def written_by_hand():
    from transformers import AutoTokenizer

    names = {"torch": torch, "json": json, "np": np, "sources": sources}
    names["tokenizer"] = AutoTokenizer.from_pretrained(assets.path("smollm2"))
    for name in ("answer_of", "messages_of"):
        exec(without_the_demonstration(cell_that_defines(name)), names)
    for name in ("ChatDataset", "answer_collate"):
        exec(cell_that_defines(name), names)
    return names


def test_fifty_real_rows_have_the_same_ids_and_labels(written_by_hand, clean):
    rows = clean.groupby("platform").head(13).head(50)
    tokenizer, answers = (
        written_by_hand["tokenizer"],
        [written_by_hand["answer_of"](r) for r in rows.itertuples()],
    )
    by_hand = written_by_hand["ChatDataset"](rows["text"], answers, tokenizer)
    conversations = [
        [*written_by_hand["messages_of"](text), {"role": "assistant", "content": answer}]
        for text, answer in zip(rows["text"], answers)
    ]
    package = chat.ChatDataset(conversations, tokenizer, max_length=512)
    assert len(by_hand) == len(package) == 50
    ours = written_by_hand["answer_collate"]([by_hand[i] for i in range(50)])
    theirs = chat.AnswerCollate(tokenizer.pad_token_id)([package[i] for i in range(50)])
    for name in ("input_ids", "attention_mask", "labels"):
        assert torch.equal(ours[name], theirs[name]), name


def test_prompts_are_the_same(written_by_hand):
    messages = written_by_hand["messages_of"]("It broke.")
    by_hand = written_by_hand["tokenizer"].apply_chat_template(
        messages, add_generation_prompt=True, return_dict=True
    )
    assert by_hand["input_ids"] == chat.prompt_ids(messages, written_by_hand["tokenizer"])


def test_the_loss_is_that_of_the_package():
    from transformers import LlamaConfig, LlamaForCausalLM

    from helpers.training.loop import to_device
    from helpers.training.losses import CausalLM

    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    base = LlamaForCausalLM(LlamaConfig(vocab_size=28, **sizes)).eval()
    names = {"F": torch.nn.functional, "base": base, "device": "cpu", "to_device": to_device}
    exec(cell_that_defines("answer_loss"), names)
    batch = {
        "input_ids": torch.tensor([[5, 6, 7, 2], [8, 9, 2, 2]]),
        "attention_mask": torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0]]),
        "labels": torch.tensor([[-100, -100, 7, 2], [-100, 9, 2, -100]]),
    }
    loss = CausalLM()
    assert loss.items(batch) == 4
    assert torch.isclose(names["answer_loss"](batch, reduction="sum"), loss(base, batch), atol=1e-5)
    assert torch.isclose(names["answer_loss"](batch), loss(base, batch) / 4, atol=1e-5)


def test_the_blocks_of_four_bits_are_those_of_the_package():
    low_bit = pytest.importorskip("helpers.models.low_bit")
    names = {"torch": torch}
    exec(cell_that_defines("quantise"), names)
    weight = torch.randn(6, 64, generator=torch.Generator().manual_seed(0))
    ours, theirs = names["quantise"](weight), low_bit.quantise(weight)
    assert all(torch.equal(one, other) for one, other in zip(ours, theirs))
    restored = names["dequantise"](*ours, torch.float32)
    assert torch.equal(restored, low_bit.dequantise(*theirs, torch.float32))
    assert (restored - weight).abs().max() < 0.25
