"""Chapter 10's widget, pictures and stored results: what they compute, and say when nothing is there."""

import json
import os
import subprocess
import sys

import pytest
import torch

from helpers.files import ROOT
from lessons.ch10 import pictures, probes, results, stored_pictures, twin_chat


class Characters:
    """A tokenizer of single characters; 2 is the end sign."""

    eos_token, eos_token_id, pad_token_id = "<|im_end|>", 2, 2

    def decode(self, ids):
        return self.eos_token if ids == [2] else chr(96 + ids[0])

    def convert_ids_to_tokens(self, number):
        return self.decode([number])

    def convert_tokens_to_string(self, tokens):
        return "".join(tokens)


@pytest.fixture(scope="module")
def tiny():
    from peft import LoraConfig, get_peft_model
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=28, **sizes)).eval()
    model = get_peft_model(
        model, LoraConfig(r=2, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
    )
    return model.eval()


def test_a_reply_is_the_greedy_one_with_its_probabilities(tiny):
    prompt = [5, 6, 7]
    tokens = twin_chat.reply(tiny, Characters(), prompt, max_new_tokens=5)
    ids = list(prompt)
    for token in tokens:
        with torch.inference_mode():
            p = tiny(input_ids=torch.tensor([ids])).logits[0, -1].softmax(-1)  # without a cache
        best = p.topk(2)
        assert token.text == Characters().decode([int(best.indices[0])])
        assert token.probability == pytest.approx(float(best.values[0]), abs=1e-4)
        assert token.other_probability == pytest.approx(float(best.values[1]), abs=1e-4)
        ids.append(int(best.indices[0]))


def test_the_page_shows_both_and_escapes_what_was_typed(tiny):
    page = twin_chat.twins_html(tiny, Characters(), "<b>hello</b>", lambda text: [5, 6])
    assert "&lt;b&gt;hello" in page
    assert "<b>tuned</b>" in page
    assert "<b>untuned</b>" in page
    assert "empty" in twin_chat.twins_html(tiny, Characters(), "  ", lambda text: [5])
    assert "shorten" in twin_chat.twins_html(tiny, Characters(), "a" * 500, lambda text: [5])


def test_the_label_map_counts_the_labels():
    batch = {
        "input_ids": torch.tensor([[5, 6, 7, 2], [8, 2, 2, 2]]),
        "attention_mask": torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]]),
        "labels": torch.tensor([[-100, -100, 7, 2], [-100, 2, -100, -100]]),
    }
    figure, alt = pictures._drawn(batch, Characters(), rows=4)
    colors = [patch.get_facecolor() for patch in figure.axes[0].patches]
    assert len(colors) == 8
    assert len(set(colors)) == 3
    assert "3 tokens with a label" in alt


def test_probes_find_words_in_sentences():
    right = [words if isinstance(words, str) else words[-1] for words in probes.QUESTIONS.values()]
    assert len(right) == 20
    assert probes.share_right([f"It is {word.title()}, I think." for word in right]) == 1
    assert probes.share_right(["I do not know."] * 20) == 0


def test_missing_results_are_said_and_not_drawn(tmp_path, capsys):
    found = results.stored(tmp_path / "none.json")
    for drawn in (stored_pictures.ladder(found), stored_pictures.ranks(found), stored_pictures.ways(found)):
        assert drawn == (None, results.MISSING)
    stored_pictures.show(stored_pictures.kinds(found, "distilled"))
    assert capsys.readouterr().out.strip() == results.MISSING == results.machine_line(found)


def test_settings_are_sorted_and_their_verdict_follows_the_intervals(tmp_path):
    rows = [{"rung": "lora", "rows": 600, "seed": s, "macro_f1": 0.70 + 0.01 * s} for s in range(3)]
    rows += [{"rung": "minilm", "rows": 600, "seed": s, "macro_f1": 0.60 + 0.01 * s} for s in range(3)]
    rows += [{"rung": "majority", "rows": None, "seed": 0, "macro_f1": 0.2}]
    file = tmp_path / "chat.json"
    file.write_text(json.dumps({"machine": {"device": "cpu"}, "ladder": rows}), encoding="utf-8")
    found = results.stored(file)
    entries = results.by_setting(found["ladder"], "rung", "rows")
    assert [entry["rung"] for entry in entries] == ["majority", "minilm", "lora"]
    low, high = entries[2]["interval"]
    assert low == pytest.approx(0.71 - 4.303 * 0.01 / 3**0.5, abs=1e-4)
    assert high == pytest.approx(0.71 + 4.303 * 0.01 / 3**0.5, abs=1e-4)
    figure, sentence = stored_pictures.ladder(found)
    assert "lora, 600 rows and minilm, 600 rows do not overlap" in sentence
    assert figure.axes[0].get_yticklabels()[0].get_text() == "majority"
    close = stored_pictures.ladder(
        {"ladder": rows[:3] + [row | {"macro_f1": row["macro_f1"] + 0.09} for row in rows[3:6]]}
    )
    assert close[1].endswith("overlap.")
    assert "do not" not in close[1]
    assert "device cpu" in results.machine_line(found)
    assert results.MISSING in results.all_rows_line(found)
    scored = {"all_rows": {"macro_f1": 0.7123, "interval": [0.69, 0.73]}}
    assert "0.712 on the test rows (0.690 to 0.730)" in results.all_rows_line(scored)
    assert "too few" in stored_pictures.ladder({"ladder": rows[-1:]})[1]


KEPT = """
import time
import torch
from lessons.ch10 import memory

held = []
for _ in range(2):
    freed = [torch.ones(7_000_000) for _ in range(12)]
    held.append([torch.ones(100) for _ in range(1000)])  # so that the allocator keeps what lies below
    del freed


def work():
    tensor = torch.ones(60_000_000)
    time.sleep(0.5)  # a busy machine may let the watcher wait


print(memory.peak_bytes(work))
"""


def test_the_peak_sees_a_large_tensor_although_freed_memory_could_hold_it():
    many = {"MALLOC_MMAP_THRESHOLD_": str(2**30), "MALLOC_TRIM_THRESHOLD_": str(2**32)}  # of glibc
    paths = {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'notebooks'}"}
    found = subprocess.run(
        [sys.executable, "-c", KEPT],
        env=os.environ | many | paths,
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(found.stdout) > 230e6
