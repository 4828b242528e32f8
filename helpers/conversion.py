"""From one file of llama.cpp (GGUF) to a folder of transformers, which every chapter can read.

A GGUF file holds all of a language model: sizes, vocabulary, chat template, and weights in blocks of a few
bits. The folder holds the same in several files, the weights as bfloat16: what the few bits have lost stays
lost. `assets.fetch` calls `convert` once; then no chapter needs the package gguf.
"""

from pathlib import Path

VERSION = 1  # to be raised when the same source has to become other files
FILES = ("config.json", "generation_config.json", "model.safetensors")
FILES += ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")

# What transformers calls the same, by llama.cpp's names.
_SIZES = {
    "vocab_size": "vocab_size", "embedding_length": "hidden_size", "block_count": "num_hidden_layers",
    "feed_forward_length": "intermediate_size", "context_length": "max_position_embeddings",
    "attention.head_count": "num_attention_heads", "attention.head_count_kv": "num_key_value_heads",
}  # fmt: skip
_ROLES = {"bos": "bos", "eos": "eos", "padding": "pad", "unknown": "unk"}  # of tokens: begin, end ...
_WEIGHTS = {
    "token_embd": "embed_tokens", "output_norm": "norm", "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj", "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj",
}  # fmt: skip


def convert(source: Path, folder: Path) -> None:
    """Write `FILES` into an existing folder, from a GGUF file of a Llama that has SmolLM2's tokenizer.

    Raises OSError, safetensors.SafetensorError: the files cannot be written.
    """
    from gguf import GGUFReader
    from safetensors.torch import save_file

    reader = GGUFReader(source)
    facts = {name: field.contents() for name, field in reader.fields.items()}
    ids = {ours: facts[f"tokenizer.ggml.{theirs}_token_id"] for theirs, ours in _ROLES.items()}
    _save_configs(facts, ids, folder)
    _save_tokenizer(facts, ids, folder)
    weights = folder / "model.safetensors"
    save_file(_state(reader.tensors, facts), weights, metadata={"format": "pt"})
    weights.chmod(folder.stat().st_mode & 0o666)  # as the umask wants; safetensors lets only its owner read


def _save_configs(facts: dict, ids: dict, folder: Path) -> None:
    from transformers import GenerationConfig, LlamaConfig

    signs = {f"{role}_token_id": ids[role] for role in ("bos", "eos", "pad")}
    LlamaConfig(
        architectures=["LlamaForCausalLM"],
        rms_norm_eps=round(facts["llama.attention.layer_norm_rms_epsilon"], 10),  # was float32
        rope_parameters={"rope_type": "default", "rope_theta": facts["llama.rope.freq_base"]},
        tie_word_embeddings=True,  # the file has no output layer of its own
        dtype="bfloat16",
        **{ours: facts[f"llama.{theirs}"] for theirs, ours in _SIZES.items()},
        **signs,
    ).save_pretrained(folder)
    GenerationConfig(**signs).save_pretrained(folder)


def _save_tokenizer(facts: dict, ids: dict, folder: Path) -> None:
    """Byte-pair encoding over bytes; before it every digit becomes a piece of its own."""
    from gguf import TokenType
    from tokenizers import AddedToken, Tokenizer, decoders, models
    from tokenizers.pre_tokenizers import ByteLevel, Digits, Sequence
    from transformers import PreTrainedTokenizerFast

    tokens, types = facts["tokenizer.ggml.tokens"], facts["tokenizer.ggml.token_type"]
    merges = [tuple(merge.split(" ")) for merge in facts["tokenizer.ggml.merges"]]
    tokenizer = Tokenizer(models.BPE({token: number for number, token in enumerate(tokens)}, merges))
    tokenizer.pre_tokenizer = Sequence([Digits(individual_digits=True), ByteLevel(add_prefix_space=False)])
    tokenizer.decoder = decoders.ByteLevel()
    special = [token for token, kind in zip(tokens, types) if kind == TokenType.CONTROL]  # <|im_end|> ...
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special])
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        chat_template=facts["tokenizer.chat_template"],
        model_max_length=facts["llama.context_length"],
        clean_up_tokenization_spaces=False,
        **{f"{role}_token": tokens[number] for role, number in ids.items()},
    ).save_pretrained(folder)


def _state(tensors: list, facts: dict) -> dict:
    """Every weight by the name that transformers gives it, as a bfloat16 tensor (out, in) or (out,)."""
    import torch
    from gguf import dequantize

    heads = {"attn_q": facts["llama.attention.head_count"], "attn_k": facts["llama.attention.head_count_kv"]}
    state = {}
    for tensor in tensors:
        kind = tensor.name.split(".")[-2]  # of "output_norm.weight", "blk.7.attn_q.weight"
        weight = dequantize(tensor.data, tensor.tensor_type)
        if kind in heads:
            weight = _rows_of_transformers(weight, heads[kind])
        name = tensor.name.replace("blk", "layers").replace(kind, _WEIGHTS[kind])
        state[f"model.{name}"] = torch.tensor(weight, dtype=torch.bfloat16)
    return state


def _rows_of_transformers(weight, heads: int):
    """Undo llama.cpp's order of the rows (out, in), which suits its way to rotate queries and keys: of a
    head's 6 rows it pairs 0-1, 2-3, 4-5, and transformers 0-3, 1-4, 2-5. Rows 0 2 4 1 3 5 become 0 1 2 3 4 5.
    """
    out, into = weight.shape
    pairs = weight.reshape(heads, out // heads // 2, 2, into)
    return pairs.swapaxes(1, 2).reshape(out, into)
