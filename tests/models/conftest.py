"""Tiny models of many architectures with random weights, saved as transformers saves its models."""

import pytest
import torch

SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48}
ARCHITECTURES = {
    "bert": SMALL,
    "roberta": SMALL,
    "electra": SMALL | {"embedding_size": 16},
    "albert": SMALL | {"embedding_size": 16},
    "distilbert": {"dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 48},
    "deberta-v2": SMALL,
    "modernbert": SMALL,
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 2},
    "llama": SMALL,
    "xlnet": {"d_model": 32, "n_layer": 2, "n_head": 2, "d_inner": 48},
    "t5": {"d_model": 32, "d_kv": 16, "d_ff": 48, "num_layers": 2, "num_heads": 2},
    "perceiver": {"num_latents": 4, "d_latents": 32, "d_model": 32, "num_blocks": 1},
}
DECODERS = ("gpt2", "llama")


def tiny_tokenizer(**special):
    """Bytes as tokens; `special` are the names of the special tokens, by default BERT's."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    special = special or {"pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet, names = pre_tokenizers.ByteLevel.alphabet(), list(special.values())
    tokenizer.train_from_iterator([], trainers.BpeTrainer(initial_alphabet=alphabet, special_tokens=names))
    if "cls_token" in special:
        pair = [
            (special[f"{name}_token"], tokenizer.token_to_id(special[f"{name}_token"]))
            for name in ("sep", "cls")
        ]
        tokenizer.post_processor = processors.BertProcessing(*pair)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special)


@pytest.fixture
def tiny(tmp_path):
    """tiny(kind, **sizes): a folder with a model of this architecture that was never trained for classes."""
    from transformers import AutoConfig, AutoModel

    def make(kind="bert", *, head=None, **sizes):
        tokenizer = tiny_tokenizer(**({"eos_token": "<|end|>"} if kind in DECODERS else {}))
        pad = None if kind in DECODERS else tokenizer.pad_token_id
        torch.manual_seed(0)
        config = AutoConfig.for_model(
            kind, **ARCHITECTURES[kind] | {"vocab_size": len(tokenizer), "pad_token_id": pad} | sizes
        )
        folder = tmp_path / kind
        (head or AutoModel).from_config(config).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        return folder

    return make
