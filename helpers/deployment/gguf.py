"""A language model as files for other programs: a folder for transformers, one file for llama.cpp and Ollama.

Adapters are added to the weights they were trained on. What was written is read again and must answer as the
model does, or it is not there (chapter 10).
"""

import copy
import json
import os
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch

from helpers.data.chat import prompt_ids
from helpers.deployment.export import Export, folder_to_write
from helpers.deployment.predict import Comparison, compare
from helpers.errors import InputError
from helpers.generation import Sampling, generate
from helpers.models.classifier import quiet_transformers
from helpers.models.language import LanguageModel, language_model
from helpers.models.low_bit import from_low_bit
from helpers.safety.whole import whole_folder
from helpers.tuning.freezing import evaluating
from helpers.tuning.lora import merge_lora

MARK = "export.json"  # by which a folder of ours is known
LEAST_AGREEMENT = {"float32": 0.999, "f16": 0.98, "bf16": 0.95, "q8_0": 0.9}  # on the next token
TEXTS = (
    "What is the capital of France?",
    "Write a poem about rain.",
    "Was 1987 vor 1991? \U0001f642",
    "2 + 2 =",
)
QUESTIONS = tuple([{"role": "user", "content": text}] for text in TEXTS)
# How a tokenizer cuts a text before it merges bytes, and llama.cpp's name for that.
CUTS = {(("Digits", True), ("ByteLevel", True)): "smollm", (("ByteLevel", True),): "gpt-2"}


def merged(lm: LanguageModel) -> LanguageModel:
    """A copy on the CPU with plain linear layers: adapters are added to the weights they were trained on."""
    model = copy.deepcopy(lm.model).cpu().eval()
    from_low_bit(model)
    merge_lora(model)
    return replace(lm, model=model)


def export_merged(lm: LanguageModel, folder: str | Path, questions=QUESTIONS) -> Export:
    """Write weights, tokenizer and chat template as a folder that transformers reads; all of it, or nothing.

    Example: `export_merged(load_language_model(run / "model"), "mine").parity`

    Raises InputError: the folder holds something else, or what was written does not answer as the model does.
    """
    with whole_folder(folder, (MARK,)) as new:
        with quiet_transformers():
            merged(lm).model.save_pretrained(new)
        lm.tokenizer.save_pretrained(new)
        parity = _checked(lm, language_model(str(new)).model, questions, "float32")
        about = {"made_of": lm.name, "system": lm.system, **asdict(parity)}
        (new / MARK).write_text(json.dumps(about), encoding="utf-8")
    size = sum(file.stat().st_size for file in Path(folder).glob("*.safetensors"))
    return Export(Path(folder), Path(folder) / "model.safetensors", size, parity)


def export_gguf(lm: LanguageModel, file: str | Path, questions=QUESTIONS, *, kind: str = "f16") -> Export:
    """Write a model of Llama's architecture as one file that llama.cpp and Ollama read, whole or not at all.

    Args:
        kind: "f16", "bf16", or "q8_0": 8 bits, in blocks of 32 that share a scale.

    Raises InputError: another architecture or tokenizer, a file that is no GGUF is in its place, or what was
        written does not answer as the model does.
    """
    file, whole = Path(file), merged(lm)
    if file.suffix != ".gguf" or (file.exists() and file.read_bytes()[:4] != b"GGUF"):
        raise InputError(
            f"{file} is not the name of a new or earlier GGUF file; choose one that ends in .gguf"
        )
    with folder_to_write(file) as temporary:
        new = Path(temporary) / file.name
        _write(whole, new, kind)
        _read(whole.model, new)
        parity = _checked(lm, whole.model, questions, kind)
        os.replace(new, file)
    return Export(file.parent, file, file.stat().st_size, parity)


def _checked(lm: LanguageModel, model: torch.nn.Module, questions, kind: str) -> Comparison:
    """Compare the next token's probabilities at every place of the questions and of our greedy answers.

    Where the best token is the same everywhere, the greedy answers are, too.
    """
    answers = generate(lm, questions, Sampling(max_new_tokens=24))
    pairs = [[], []]
    for question, answer in zip(questions, answers):
        ids = prompt_ids(question, lm.tokenizer, lm.system)
        ids = torch.tensor([ids + lm.tokenizer(answer.text, add_special_tokens=False)["input_ids"]])
        for part, writer in zip(pairs, (lm.model, model)):
            with evaluating(writer):
                logits = writer(input_ids=ids.to(next(writer.parameters()).device)).logits
            part.append(logits[0].float().softmax(-1).cpu().numpy())  # (L, V)
    parity = compare(*map(np.concatenate, pairs))
    if not parity.agreement >= LEAST_AGREEMENT[kind] or not np.isfinite(parity.max_difference):
        found = f"what was written agrees with the model on {parity.agreement:.1%} of {parity.rows} tokens"
        raise InputError(
            f"{found}, expected {LEAST_AGREEMENT[kind]:.1%}; nothing is kept, use another format"
        )
    return parity


def _write(lm: LanguageModel, file: Path, kind: str) -> None:
    import gguf

    config, tokenizer = lm.model.config, lm.tokenizer
    backend = json.loads(tokenizer.backend_tokenizer.to_str())
    cut = backend["pre_tokenizer"] or {}
    steps = cut.get("pretokenizers", [cut])
    cuts = tuple((step.get("type"), step.get("individual_digits", step.get("use_regex"))) for step in steps)
    rope = config.rope_parameters if config.model_type == "llama" else {"rope_type": config.model_type}
    found = {"architecture": rope["rope_type"], "cut": CUTS.get(cuts), "normalizer": backend["normalizer"]}
    if found != {"architecture": "default", "cut": CUTS.get(cuts, ""), "normalizer": None}:
        needed = "a GGUF file is written of models of Llama's plain architecture with byte-level tokens"
        raise InputError(f"{needed}, found {lm.name} ({config.model_type}, {cuts}); use --format safetensors")
    names = {number: token for token, number in tokenizer.get_vocab().items()}
    added = {number: 3 if token.special else 4 for number, token in tokenizer.added_tokens_decoder.items()}
    merges, numbers = backend["model"]["merges"], range(config.vocab_size)
    values = {
        "name": Path(lm.name).name,
        "file_type": gguf.LlamaFileType[f"MOSTLY_{kind.upper()}"],
        "context_length": config.max_position_embeddings,
        "embedding_length": config.hidden_size,
        "block_count": config.num_hidden_layers,
        "feed_forward_length": config.intermediate_size,
        "head_count": config.num_attention_heads,
        "head_count_kv": config.num_key_value_heads,
        "key_length": config.head_dim,
        "value_length": config.head_dim,
        "rope_dimension_count": config.head_dim,
        "rope_freq_base": rope["rope_theta"],
        "layer_norm_rms_eps": config.rms_norm_eps,
        "vocab_size": config.vocab_size,
        "tokenizer_model": "gpt2",
        "tokenizer_pre": CUTS[cuts],
        "token_list": [names.get(number, f"[PAD{number}]") for number in numbers],
        # 1 is an ordinary token, 3 a control sign, 4 one that was added, 5 one without a text.
        "token_types": [added.get(number, 1 if number in names else 5) for number in numbers],
        "token_merges": [merge if isinstance(merge, str) else " ".join(merge) for merge in merges],
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
        "add_bos_token": False,  # the template writes all signs
        "chat_template": tokenizer.chat_template,
    }
    writer, kind = gguf.GGUFWriter(file, "llama"), gguf.GGMLQuantizationType[kind.upper()]
    for name, value in values.items():
        if value is not None:
            getattr(writer, f"add_{name}")(value)
    for name, target, heads in _places(lm.model):
        weight = lm.model.get_parameter(name).detach().float().numpy()
        if heads:  # llama.cpp turns neighbours by RoPE, not the halves of a head
            weight = weight.reshape(heads, 2, -1, weight.shape[1]).swapaxes(1, 2).reshape(weight.shape)
        is_plain = weight.ndim == 1 or (kind.name == "Q8_0" and weight.shape[1] % 32)
        as_type = gguf.GGMLQuantizationType.F32 if is_plain else kind
        weight = gguf.quantize(np.ascontiguousarray(weight), as_type)
        writer.add_tensor(target, weight, raw_dtype=as_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _read(model: torch.nn.Module, file: Path) -> None:
    """Fill the weights of a model, in place, from a file that was written of its like."""
    import gguf

    tensors = {tensor.name: tensor for tensor in gguf.GGUFReader(file).tensors}
    for name, target, heads in _places(model):
        weight = gguf.dequantize(tensors[target].data, tensors[target].tensor_type)
        if heads:
            weight = weight.reshape(heads, -1, 2, weight.shape[1]).swapaxes(1, 2).reshape(weight.shape)
        model.get_parameter(name).data = torch.from_numpy(np.array(weight))


def _places(model: torch.nn.Module) -> list[tuple[str, str, int]]:
    """Each weight's name here and in the file, and the heads in whose order llama.cpp has its rows, or 0."""
    import gguf

    config = model.config
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
    known = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config.num_hidden_layers)
    names = [name for name, _ in model.named_parameters()]  # a table that is shared stands there once
    places = [(name, known.get_name(name, (".weight",)), heads.get(name.split(".")[-2], 0)) for name in names]
    homeless = [name for name, target, _ in places if target is None]
    if homeless:
        raise InputError(f"a GGUF file has no place for {homeless[0]}; use --format safetensors")
    return places
