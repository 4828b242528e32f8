"""The three hand-written networks: shapes, learning; padding and the order of rows change no answer."""

from functools import partial

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from helpers import assets
from helpers.data import sources
from helpers.data.collate import PadCollate
from helpers.data.datasets import TextDataset, encode_labels
from helpers.data.loaders import make_loader
from helpers.errors import InputError
from helpers.training.config import TrainingConfig
from helpers.training.loop import evaluate, fit
from helpers.training.losses import Classification
from helpers.training.runtime import Runtime
from lessons.ch03.networks import CNN, RecurrentClassifier, SelfAttention, TransformerClassifier, attend

TEXT_MODELS = {
    "lstm": lambda vocab_size: RecurrentClassifier(vocab_size, 3, width=16),
    "gru": lambda vocab_size: RecurrentClassifier(vocab_size, 3, width=16, cell="gru"),
    "transformer": lambda vocab_size: TransformerClassifier(vocab_size, 3, width=16, heads=2),
}


@pytest.fixture(scope="module")
def texts():
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(assets.path("minilm"))
    return TextDataset(
        sources.comments().iloc[::1500].reset_index(drop=True), tokenizer, sources.SENTIMENTS
    ), len(tokenizer)


@pytest.fixture(scope="module")
def images():
    frame = sources.animals().iloc[::500].reset_index(drop=True)
    pixels = torch.from_numpy(np.stack(frame["image"]))[:, None].float() / 255  # (20, 1, 28, 28)
    return pixels, torch.tensor(encode_labels(frame, sources.ANIMALS))


@pytest.fixture(params=TEXT_MODELS)
def text_model(request, texts):
    torch.manual_seed(0)
    return TEXT_MODELS[request.param](texts[1])


def text_batch(texts, rows):
    return PadCollate(0)([texts[0][row] for row in rows])


def call(model, batch):
    return model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"])


@pytest.mark.parametrize(("channels", "size", "depth"), [(1, 28, 2), (3, 96, 3)])
def test_cnn_shapes(channels, size, depth):
    model = CNN(7, channels=channels, width=4, depth=depth)
    assert model(torch.rand(5, channels, size, size)).shape == (5, 7)
    assert model.head.in_features == 4 * 2 ** (depth - 1) * 16


def test_text_model_shapes(text_model, texts):
    assert call(text_model, text_batch(texts, range(5))).shape == (5, 3)


def assert_gradients_reach_all(model):
    without = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert not without


def test_gradient_reaches_every_parameter(text_model, texts, images):
    batch = text_batch(texts, range(8))
    F.cross_entropy(call(text_model, batch), batch["labels"]).backward()
    assert_gradients_reach_all(text_model)
    cnn = CNN(10, width=4)
    F.cross_entropy(cnn(images[0]), images[1]).backward()
    assert_gradients_reach_all(cnn)


def test_padding_changes_no_logits(text_model, texts):
    text_model.eval()
    batch = text_batch(texts, [3])
    longer = {
        "input_ids": F.pad(batch["input_ids"], (0, 40), value=7),
        "attention_mask": F.pad(batch["attention_mask"], (0, 40)),
    }
    in_company = text_batch(texts, range(8))
    assert in_company["input_ids"].shape[1] > batch["input_ids"].shape[1]
    with torch.inference_mode():
        alone = call(text_model, batch)
        assert torch.allclose(alone, call(text_model, longer), atol=1e-5)
        assert torch.allclose(alone, call(text_model, in_company)[3:4], atol=1e-5)


def test_order_of_rows_changes_no_logits_but_order_of_tokens_does(text_model, texts):
    text_model.eval()
    with torch.inference_mode():
        logits = call(text_model, text_batch(texts, range(8)))
        turned = call(text_model, text_batch(texts, range(7, -1, -1)))
        assert torch.allclose(logits, turned.flip(0), atol=1e-5)
        batch = text_batch(texts, [3])
        backwards = call(text_model, batch | {"input_ids": batch["input_ids"].flip(1)})
    assert not torch.allclose(logits[3:4], backwards, atol=1e-4)


def learns(model, forward, labels, steps=60):
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(steps):
        loss = F.cross_entropy(forward(), labels)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    return losses


def test_overfits_one_batch(text_model, texts, images):
    batch = text_batch(texts, range(16))
    losses = learns(text_model, lambda: call(text_model, batch), batch["labels"])
    assert losses[0] > 0.8
    assert losses[-1] < 0.1
    torch.manual_seed(0)
    cnn = CNN(10, width=8, dropout=0.0)
    losses = learns(cnn, lambda: cnn(images[0]), images[1])
    assert losses[0] > 1.5
    assert losses[-1] < 0.1


def test_attention_is_torchs_own():
    torch.manual_seed(0)
    query, key, value = torch.randn(3, 2, 4, 5, 8)  # each (B, H, L, E)
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])
    means, weights = attend(query, key, value, mask)
    expected = F.scaled_dot_product_attention(query, key, value, attn_mask=mask[:, None, None, :].bool())
    assert torch.allclose(means, expected, atol=1e-6)
    assert torch.allclose(weights.sum(-1), torch.ones(2, 4, 5))
    assert weights[1, :, :, 3:].abs().sum() == 0


def test_multi_head_attention_is_torchs_own():
    torch.manual_seed(0)
    ours, theirs = SelfAttention(16, 4), nn.MultiheadAttention(16, 4, batch_first=True)
    theirs.load_state_dict(
        {
            "in_proj_weight": ours.to_query_key_value.weight,
            "in_proj_bias": ours.to_query_key_value.bias,
            "out_proj.weight": ours.to_output.weight,
            "out_proj.bias": ours.to_output.bias,
        }
    )
    tokens, mask = torch.randn(2, 5, 16), torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])
    expected = theirs(tokens, tokens, tokens, key_padding_mask=mask == 0)[0]
    assert torch.allclose(ours(tokens, mask), expected, atol=1e-6)


@pytest.mark.parametrize("precision", ["auto", "no"])
def test_fit_trains_them_unchanged(text_model, texts, precision):
    loader, runtime = make_loader(texts[0], 8, PadCollate(0), shuffle=True), Runtime(text_model, precision)
    config = TrainingConfig(epochs=2, learning_rate=1e-2)
    score = partial(evaluate, loader=make_loader(texts[0], 8, PadCollate(0)), runtime=runtime)
    steps = list(fit(text_model, loader, config, loss=Classification(), score=score, runtime=runtime))
    assert len(steps) == 4
    assert steps[-1].train_loss < steps[0].train_loss
    assert score(text_model)["n"] == len(texts[0])


def test_an_unknown_cell_is_refused():
    with pytest.raises(InputError, match=r"lstm, gru, found 'rnn'"):
        RecurrentClassifier(10, 2, cell="rnn")
