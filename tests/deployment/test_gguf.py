"""Exports of language models: read by transformers' own readers, the same answers, and there whole or not."""

import copy
from dataclasses import replace

import gguf
import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from helpers.deployment import gguf as export
from helpers.errors import InputError
from helpers.generation import Sampling, generate
from helpers.models.language import LanguageModel, language_model
from helpers.models.low_bit import to_low_bit
from helpers.tuning.lora import has_lora


@pytest.fixture(scope="module")
def lm(tokenizer, small_llama):
    """A model with an adapter that matters, and a tokenizer of 300 tokens: a file is read in a second."""
    backend = Tokenizer(models.BPE())
    cuts = [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    backend.pre_tokenizer, backend.decoder = pre_tokenizers.Sequence(cuts), decoders.ByteLevel()
    signs = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=300, special_tokens=signs, initial_alphabet=alphabet)
    backend.train_from_iterator(["the rain in Spain stays mainly in the plain"] * 9, trainer)
    named = {"bos_token": signs[1], "eos_token": signs[2], "pad_token": signs[2], "unk_token": signs[0]}
    small = PreTrainedTokenizerFast(tokenizer_object=backend, chat_template=tokenizer.chat_template, **named)
    torch.manual_seed(0)
    return adapted(
        LanguageModel(
            "tiny", small_llama(len(small), head_dim=16, initializer_range=0.2), small, 512, "Be brief."
        )
    )


def adapted(lm):
    from peft import LoraConfig, inject_adapter_in_model

    names = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    torch.manual_seed(1)
    options = {"target_modules": names, "init_lora_weights": False}
    inject_adapter_in_model(LoraConfig(r=4, lora_alpha=8, **options), lm.model)
    return replace(lm, model=lm.model.eval())


def answers(lm):
    return [row.text for row in generate(lm, export.QUESTIONS, Sampling(max_new_tokens=20))]


@pytest.mark.parametrize(("kind", "difference"), [("f16", 0.01), ("bf16", 0.1), ("q8_0", 0.2)])
def test_transformers_reads_the_gguf_file_as_the_model_it_was(kind, difference, lm, tmp_path):
    done = export.export_gguf(lm, tmp_path / "tiny.gguf", kind=kind)
    assert has_lora(lm.model)  # the model itself is as it was
    read = AutoModelForCausalLM.from_pretrained(tmp_path, gguf_file="tiny.gguf", dtype=torch.float32).eval()
    assert read.config.head_dim == 16
    ids = torch.randint(3, len(lm.tokenizer), (1, 60), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        one, other = (model(input_ids=ids).logits.softmax(-1) for model in (lm.model, read))
    assert (one - other).abs().max() < difference
    assert (one.argmax(-1) == other.argmax(-1)).float().mean() > 0.9
    if kind == "f16":
        assert answers(replace(lm, model=read)) == answers(lm)
    assert (done.bytes, done.parity.agreement > 0.9) == ((tmp_path / "tiny.gguf").stat().st_size, True)
    assert [file.name for file in tmp_path.iterdir()] == ["tiny.gguf"]


def test_the_gguf_file_tells_what_llama_cpp_asks_for(lm, tmp_path):
    export.export_gguf(lm, tmp_path / "tiny.gguf")
    fields = {
        name: field.contents() for name, field in gguf.GGUFReader(tmp_path / "tiny.gguf").fields.items()
    }
    assert fields["tokenizer.ggml.model"] == "gpt2"
    assert fields["tokenizer.ggml.pre"] == "smollm"
    assert fields["tokenizer.ggml.tokens"] == lm.tokenizer.convert_ids_to_tokens(range(len(lm.tokenizer)))
    assert fields["tokenizer.ggml.token_type"][:4] == [3, 3, 3, 1]
    assert fields["tokenizer.chat_template"] == lm.tokenizer.chat_template
    assert fields["tokenizer.ggml.eos_token_id"] == lm.tokenizer.eos_token_id
    assert fields["tokenizer.ggml.add_bos_token"] is False
    assert fields["llama.attention.head_count_kv"] == 2


@pytest.mark.parametrize("is_low", [False, True])
def test_a_merged_folder_is_a_plain_model_that_answers_the_same(is_low, tokenizer, small_llama, tmp_path):
    torch.manual_seed(0)
    model = small_llama(len(tokenizer), num_hidden_layers=1)
    if is_low:
        to_low_bit(model)
    tuned = adapted(LanguageModel("tiny", model, tokenizer, 512))
    done = export.export_merged(tuned, tmp_path / "plain")
    read = language_model(str(tmp_path / "plain"), max_length=512)
    assert not has_lora(read.model)
    assert all(type(module).__name__ != "LowBitLinear" for module in read.model.modules())
    assert answers(read) == answers(tuned)
    assert done.parity.max_difference < 1e-3
    export.export_merged(tuned, tmp_path / "plain")  # an earlier export is replaced
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "model.safetensors").write_bytes(b"a trained model")
    with pytest.raises(InputError, match="neither empty nor"):
        export.export_merged(tuned, tmp_path / "other")


def test_an_export_that_answers_otherwise_does_not_come_to_be(lm, tmp_path, monkeypatch):
    def damaged(lm):
        other = copy.deepcopy(lm.model)
        torch.nn.init.normal_(other.model.layers[0].self_attn.q_proj.base_layer.weight)
        return merged(replace(lm, model=other))

    merged = export.merged
    monkeypatch.setattr(export, "merged", damaged)
    for call, name in ((export.export_gguf, "tiny.gguf"), (export.export_merged, "plain")):
        with pytest.raises(InputError, match=r"agrees with the model on .* nothing is kept"):
            call(lm, tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_what_a_gguf_file_cannot_hold_is_refused(lm, small_llama, tmp_path):
    gpt2 = GPT2LMHeadModel(GPT2Config(vocab_size=300, n_layer=1, n_head=2, n_embd=32)).eval()
    with pytest.raises(InputError, match=r"plain architecture .* found tiny \(gpt2"):
        export.export_gguf(replace(lm, model=gpt2), tmp_path / "a.gguf")
    scaled = {"rope_type": "linear", "factor": 2.0, "rope_theta": 1e4}
    long = small_llama(300, rope_parameters=scaled)
    with pytest.raises(InputError, match="plain architecture"):
        export.export_gguf(replace(lm, model=long), tmp_path / "a.gguf")
    biased = small_llama(300, attention_bias=True)
    with pytest.raises(InputError, match=r"no place for .*bias"):
        export.export_gguf(replace(lm, model=biased), tmp_path / "a.gguf")
    (tmp_path / "b.gguf").write_text("a diary")
    for name in ("b.gguf", "model.bin"):
        with pytest.raises(InputError, match="new or earlier GGUF file"):
            export.export_gguf(lm, tmp_path / name)
    assert [file.name for file in tmp_path.iterdir()] == ["b.gguf"]
