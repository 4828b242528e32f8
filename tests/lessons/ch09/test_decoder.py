"""Chapter 09's decoder: equal to transformers' Llama, blind to the future and to neighbours; its cache."""

import pytest
import torch
from torch.nn import functional as F

from lessons.ch09.decoder import Decoder, DecoderConfig, KVCache, attention_weights, document_mask
from lessons.ch09.writing import keep_top_k, keep_top_p, write

SMALL = DecoderConfig(61, 48, layers=3, heads=6, key_value_heads=2, intermediate=80, theta=10_000.0)


@pytest.fixture(scope="module")
def decoder():
    torch.manual_seed(0)
    model = Decoder(SMALL).eval().requires_grad_(False)
    model.embed_tokens.weight.mul_(0.05)
    return model


@pytest.fixture(scope="module")
def llama(decoder):
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=61,
        hidden_size=48,
        num_hidden_layers=3,
        num_attention_heads=6,
        num_key_value_heads=2,
        intermediate_size=80,
        rms_norm_eps=SMALL.eps,
        rope_parameters={"rope_type": "default", "rope_theta": SMALL.theta},
        tie_word_embeddings=True,
    )
    model = LlamaForCausalLM(config).eval()
    weights = {f"model.{name}": tensor for name, tensor in decoder.state_dict().items()}
    missing, unexpected = model.load_state_dict(weights, strict=False)
    assert (missing, unexpected) == (["lm_head.weight"], [])
    model.tie_weights()
    return model


@pytest.fixture
def ids():
    return torch.randint(1, 61, (2, 12), generator=torch.Generator().manual_seed(1))


@torch.inference_mode()
def test_its_logits_are_those_of_transformers(decoder, llama, ids):
    assert torch.allclose(decoder(ids), llama(ids).logits, atol=1e-4)


@torch.inference_mode()
def test_packed_documents_are_those_of_transformers_without_a_cache(decoder, llama, ids):
    places = torch.tensor([[*range(5), *range(7)], [*range(9), *range(3)]])
    expected = llama(ids, position_ids=places, use_cache=False).logits
    assert torch.allclose(decoder(ids, places), expected, atol=1e-4)
    assert torch.allclose(decoder(ids, places)[:1, 5:], decoder(ids[:1, 5:]), atol=1e-4)


@torch.inference_mode()
def test_a_later_token_changes_no_earlier_logit(decoder, ids):
    changed = ids.clone()
    changed[:, 8] = 60 - changed[:, 8]
    moved = (decoder(ids) - decoder(changed)).abs().amax(-1)
    assert moved[:, :8].max() == 0
    assert moved[:, 8:].min() > 0


def test_weights_of_attention_sum_to_one_and_keep_the_mask():
    mask = document_mask(torch.tensor([[0, 1, 0, 1, 2]]), 5)
    weights = attention_weights(torch.randn(1, 2, 5, 8), torch.randn(1, 2, 5, 8), mask)
    assert torch.allclose(weights.sum(-1), torch.ones(1, 2, 5))
    assert (weights > 0).equal(mask.expand(1, 2, 5, 5))
    assert mask[0, 0].int().tolist() == [
        [1, 0, 0, 0, 0],
        [1, 1, 0, 0, 0],
        [0, 0, 1, 0, 0],
        [0, 0, 1, 1, 0],
        [0, 0, 1, 1, 1],
    ]


def test_gradients_reach_every_weight(ids):
    torch.manual_seed(0)
    model = Decoder(SMALL)
    F.cross_entropy(model(ids)[:, :-1].flatten(0, 1), ids[:, 1:].flatten()).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())


# A random model's likeliest token is its last one again; its fifth one moves about.
fifth = lambda logits, written: logits.topk(5).indices[:, 4]


@pytest.mark.parametrize("cached", [True, False])
def test_writing_is_asking_again_with_the_whole_text(decoder, ids, cached):
    expected = ids
    for _ in range(20):
        expected = torch.cat([expected, fifth(decoder(expected)[:, -1], None)[:, None]], dim=1)
    assert expected[:, 12:].unique().numel() > 6
    assert torch.equal(write(decoder, ids, 20, fifth, cached=cached), expected[:, 12:])


@torch.inference_mode()
def test_the_cache_takes_parts_of_any_size(decoder, ids):
    cache, logits = KVCache(), []
    for start, stop in ((0, 5), (5, 6), (6, 12)):
        places = torch.arange(start, stop).expand(2, -1)
        logits.append(decoder(ids[:, start:stop], places, cache))
    assert torch.allclose(torch.cat(logits, dim=1), decoder(ids), atol=1e-4)


def test_left_padding_with_positions_writes_as_alone(decoder, ids):
    lengths = (12, 7)
    alone = [write(decoder, row[None, 12 - size :], 9, fifth)[0] for row, size in zip(ids, lengths)]
    places = torch.stack([(torch.arange(12) - (12 - size)).clamp(min=0) for size in lengths])
    padded = ids.clone()
    padded[1, :5] = 3
    assert torch.equal(write(decoder, padded, 9, fifth, positions=places), torch.stack(alone))


def test_writing_stops_when_every_text_has_said_stop(decoder, ids):
    said = iter([[5, 9], [4, 5], [6, 6]])
    choose = lambda logits, written: torch.tensor(next(said))
    assert write(decoder, ids, 3, choose, stop=5).tolist() == [[5, 4], [9, 5]]


def test_top_k_and_top_p_keep_what_they_should():
    logits = torch.tensor([[0.5, 0.3, 0.15, 0.05], [0.05, 0.15, 0.3, 0.5]]).log()
    kept = lambda changed: [row.isfinite().nonzero()[:, 0].tolist() for row in changed]
    assert kept(keep_top_k(logits, 2)) == [[0, 1], [2, 3]]
    assert kept(keep_top_p(logits, 0.4)) == [[0], [3]]
    assert kept(keep_top_p(logits, 0.6)) == [[0, 1], [2, 3]]
    assert kept(keep_top_p(logits, 1.0)) == [[0, 1, 2, 3], [0, 1, 2, 3]]
