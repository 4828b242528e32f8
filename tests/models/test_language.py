"""Language models and their adapters as folders: what peft reads and writes, and what is refused."""

import copy
import json
import shutil

import peft
import pytest
import torch
from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel

from helpers.errors import InputError
from helpers.models.adapters import load_adapter, save_adapter
from helpers.models.language import LanguageModel, language_model, load_language_model, save_language_model
from helpers.models.low_bit import to_low_bit
from helpers.tuning.lora import add_lora

IDS = torch.tensor([[1, 40, 700, 5000, 2]])


def moved(model):
    """An adapter whose corrections are not zero."""
    torch.manual_seed(1)
    add_lora(model, rank=4, alpha=8)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    return model.eval()


def logits(model):
    with torch.no_grad():
        return model(IDS).logits


@pytest.fixture
def base(writer_folder, tmp_path):
    """A folder that a test may change."""
    return shutil.copytree(writer_folder, tmp_path / "base")


@pytest.fixture
def adapted(base, tmp_path):
    """A model with an adapter, and the folder it was saved to."""
    lm = language_model(str(base), max_length=77, system="Be short.")
    moved(lm.model)
    save_language_model(lm, tmp_path / "model")
    return lm, tmp_path / "model"


def test_an_adapter_is_read_by_peft_and_by_us(adapted, base):
    lm, folder = adapted
    plain = logits(AutoModelForCausalLM.from_pretrained(base))
    wrapped = peft.PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), folder)
    read = load_language_model(folder)
    assert not torch.allclose(plain, logits(lm.model), atol=0.01)
    assert torch.equal(logits(wrapped), logits(lm.model))
    assert torch.equal(logits(read.model), logits(lm.model))
    assert (read.max_length, read.system, read.base_bits) == (77, "Be short.", 16)
    assert not (folder / "model.safetensors").exists()
    assert json.loads((folder / "adapter_config.json").read_text())["base_model_name_or_path"] == str(base)


def test_an_adapter_that_peft_wrote_is_read(base, tmp_path):
    config = peft.LoraConfig(r=3, target_modules=["q_proj", "down_proj"], task_type="CAUSAL_LM")
    torch.manual_seed(2)
    wrapped = peft.get_peft_model(AutoModelForCausalLM.from_pretrained(base), config).eval()
    for name, parameter in wrapped.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    wrapped.save_pretrained(tmp_path / "adapter")
    model = language_model(str(base)).model
    load_adapter(model, tmp_path / "adapter")
    assert torch.equal(logits(model), logits(wrapped))


@pytest.mark.parametrize("bits", [16, 4])
def test_a_saved_adapter_in_either_number_of_bits_comes_back(bits, base, tmp_path):
    lm = language_model(str(base))
    if bits == 4:
        to_low_bit(lm.model)
    moved(lm.model)
    save_language_model(LanguageModel(str(base), lm.model, lm.tokenizer, 99, None, bits), tmp_path / "model")
    read = load_language_model(tmp_path / "model")
    assert read.base_bits == bits
    assert torch.equal(logits(read.model), logits(lm.model))


def test_whole_weights_need_no_other_model(base, tmp_path):
    lm = language_model(str(base))
    save_language_model(lm, tmp_path / "model")
    shutil.rmtree(base)
    read = load_language_model(tmp_path / "model")
    assert torch.equal(logits(read.model), logits(lm.model))
    assert read.name == str(base)


def test_the_model_below_an_adapter_is_found_from_anywhere(base, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lm = language_model("base")
    moved(lm.model)
    save_language_model(lm, "model")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert torch.equal(logits(load_language_model("../model").model), logits(lm.model))


@pytest.mark.parametrize("part", ["embed_tokens", "q_proj", "norm"])
def test_other_weights_below_an_adapter_are_refused(part, adapted, base):
    model = AutoModelForCausalLM.from_pretrained(base)
    with torch.no_grad():
        next(weight for name, weight in model.named_parameters() if part in name).add_(1e-3)
    model.save_pretrained(base)
    with pytest.raises(InputError, match="trained on other weights"):
        load_language_model(adapted[1])


def test_a_model_below_that_has_moved_is_said(adapted, base):
    base.rename(base.with_name("moved"))
    with pytest.raises(InputError, match=f"{base} does not exist"):
        load_language_model(adapted[1])


DAMAGE = {
    "chat.json": ["", "[]", "{", '{"name": 3}', "MAX", "NAME", "BITS", "BASE"],
    "adapter_config.json": ["", "[]"],
    "adapter_model.safetensors": ["", "half"],
    "tokenizer.json": [None],
}
CASES = [(name, content) for name, contents in DAMAGE.items() for content in contents]


@pytest.mark.parametrize(("name", "content"), CASES)
def test_a_damaged_folder_is_one_sentence(name, content, adapted):
    file = adapted[1] / name
    wrong = {
        "MAX": ("max_length", "long"),
        "NAME": ("name", 3),
        "BITS": ("base_bits", 5),
        "BASE": ("base", 7),
    }
    if content in wrong:
        key, value = wrong[content]
        file.write_text(json.dumps(json.loads(file.read_text()) | {key: value}))
    elif content == "half":
        file.write_bytes(file.read_bytes()[:500])
    elif content is None:
        file.unlink()
    else:
        file.write_text(content)
    with pytest.raises(InputError):
        load_language_model(adapted[1])


@pytest.mark.parametrize(
    "content", ["", "[]", "{", '{"peft_type": "X"}', '{"peft_type": "LORA", "r": "a"}', "3"]
)
def test_an_adapter_with_a_damaged_configuration(content, adapted, base):
    (adapted[1] / "adapter_config.json").write_text(content)
    with pytest.raises(InputError):
        load_adapter(language_model(str(base)).model, adapted[1])


def test_foreign_adapters_are_refused(base, tmp_path, small_llama, tokenizer):
    model = language_model(str(base)).model
    with pytest.raises(InputError, match="holds no adapter"):
        load_adapter(model, tmp_path)
    wider = moved(small_llama(len(tokenizer), hidden_size=64))
    deeper = moved(small_llama(len(tokenizer), num_hidden_layers=3))
    for number, other in enumerate((wider, deeper)):
        folder = tmp_path / str(number)
        folder.mkdir()
        save_adapter(other, folder, "other")
        with pytest.raises(InputError, match="does not fit this model"):
            load_adapter(copy.deepcopy(model), folder)
    prefix = peft.get_peft_model(
        copy.deepcopy(model), peft.PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=2)
    )
    prefix.save_pretrained(tmp_path / "prefix")
    with pytest.raises(InputError, match="expected LoRA"):
        load_adapter(model, tmp_path / "prefix")


def write_json(folder, name, **changes):
    file = folder / name
    values = json.loads(file.read_text()) | changes
    file.write_text(json.dumps({key: value for key, value in values.items() if value is not None}))


def test_folders_that_are_no_instruct_model(base, tokenizer):
    (base / "chat_template.jinja").unlink()
    with pytest.raises(InputError, match="no chat template"):
        language_model(str(base))
    shutil.copy(tokenizer.name_or_path + "/chat_template.jinja", base)
    write_json(base, "tokenizer_config.json", eos_token=None)
    with pytest.raises(InputError, match="no sign for the end of an answer"):
        language_model(str(base))


def test_a_tokenizer_without_padding_takes_the_end_sign(base):
    write_json(base, "tokenizer_config.json", pad_token=None)
    assert language_model(str(base)).tokenizer.pad_token_id == 2


def test_a_tokenizer_of_another_model_is_refused(base, small_llama, tokenizer):
    small_llama(1000).save_pretrained(base)
    with pytest.raises(InputError, match=f"{len(tokenizer):,}.*1,000"):
        language_model(str(base))


def test_weights_that_are_missing_are_not_drawn_at_random(base):
    write_json(base, "config.json", num_hidden_layers=3)
    with pytest.raises(InputError, match=r"layers\.2"):
        language_model(str(base))


@pytest.mark.parametrize(
    "changes", [{"hidden_size": 48}, {"num_attention_heads": "four"}, {"model_type": "x"}]
)
def test_a_configuration_that_does_not_fit_its_weights(changes, base):
    write_json(base, "config.json", **changes)
    with pytest.raises(InputError, match="cannot be loaded"):
        language_model(str(base))


def test_damaged_weights_are_one_sentence(base):
    file = base / "model.safetensors"
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(InputError, match="cannot be loaded"):
        language_model(str(base))
    file.unlink()
    with pytest.raises(InputError, match="cannot be loaded"):
        language_model(str(base))


def test_another_family_with_a_template_reads_what_its_positions_allow(tokenizer, tmp_path):
    config = GPT2Config(vocab_size=len(tokenizer), n_embd=32, n_layer=1, n_head=2, n_positions=64)
    model = GPT2LMHeadModel(config).eval()
    model.save_pretrained(tmp_path / "gpt2")
    tokenizer.save_pretrained(tmp_path / "gpt2")
    lm = language_model(str(tmp_path / "gpt2"))
    assert lm.max_length == 64
    moved(lm.model)
    save_language_model(lm, tmp_path / "model")
    assert torch.equal(logits(load_language_model(tmp_path / "model").model), logits(lm.model))
