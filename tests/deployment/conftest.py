"""Tiny language models with the real tokenizer: a random one, and some that say a given text."""

from itertools import pairwise

import pytest
import torch
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from helpers import assets
from helpers.models.language import LanguageModel


def tiny_llama(vocabulary: int, **options) -> LlamaForCausalLM:
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2}
    sizes |= {"intermediate_size": 64, "max_position_embeddings": 8192, "initializer_range": 0.5}
    signs = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 2}
    return LlamaForCausalLM(LlamaConfig(vocab_size=vocabulary, **sizes | signs | options)).eval()


@pytest.fixture(scope="session")
def small_llama():
    return tiny_llama


@pytest.fixture(scope="session")
def tokenizer():
    return AutoTokenizer.from_pretrained(assets.path("smollm2"))


@pytest.fixture(scope="session")
def random_lm(tokenizer):
    """It writes nonsense, and hardly ever an end sign."""
    torch.manual_seed(0)
    return LanguageModel("random", tiny_llama(len(tokenizer)), tokenizer, 1024)


@pytest.fixture(scope="session")
def parrot(tokenizer):
    """parrot("Hello!") is a model that answers so, whatever it is asked; every token may come once."""

    def build(text: str) -> LanguageModel:
        chain = [tokenizer.encode("\n")[-1], *tokenizer.encode(text), tokenizer.eos_token_id]
        assert len(chain) == len(set(chain)) <= 32, "a token comes twice, or there are too many"
        model = tiny_llama(len(tokenizer), num_hidden_layers=1, tie_word_embeddings=False)
        with torch.no_grad():
            for name, weight in model.named_parameters():
                weight.fill_(float("norm" in name))
            for place, (token, following) in enumerate(pairwise(chain)):
                model.model.embed_tokens.weight[token, place] = 1
                model.lm_head.weight[following, place] = 10
        return LanguageModel("parrot", model, tokenizer, 1024)

    return build


@pytest.fixture(scope="session")
def writer_folder(random_lm, tmp_path_factory):
    """The random model as a folder of transformers."""
    folder = tmp_path_factory.mktemp("writers") / "random"
    random_lm.model.save_pretrained(folder)
    random_lm.tokenizer.save_pretrained(folder)
    return folder
