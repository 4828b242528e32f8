"""Chapter 09's widgets: the numbers behind them, their sentences, and that every control draws again."""

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from lessons.ch09 import attention_explorer, next_token, pictures
from lessons.ch09.decoder import Decoder, DecoderConfig

WORDS = ["the", "cat", "sat", "on", "mat", "and", "was", "very", "tired", "<b>", "$x_1$", "dog"]


@pytest.fixture(scope="module")
def tokenizer():
    vocabulary = {word: number for number, word in enumerate(["<end>", *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<end>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer)


@pytest.fixture(scope="module")
def decoder():
    torch.manual_seed(0)
    config = DecoderConfig(len(WORDS) + 1, 32, layers=2, heads=4, key_value_heads=2, intermediate=48)
    model = Decoder(config).eval().requires_grad_(False)
    model.embed_tokens.weight.mul_(0.2)  # so that it is not sure of anything
    return model


def test_likeliest_tokens_and_their_chances(decoder, tokenizer):
    ask = lambda **options: next_token.likeliest(decoder, tokenizer, 0, "the cat", **options)
    plain = ask(temperature=1.0, top_p=1.0)
    ids = torch.tensor([[0, *tokenizer("the cat")["input_ids"]]])
    expected = decoder(ids)[0, -1].softmax(-1).topk(10).values
    assert [choice.chance for choice in plain] == pytest.approx(expected.tolist(), abs=1e-5)
    assert [choice.probability for choice in plain] == pytest.approx(expected.tolist(), abs=1e-5)
    cold, cut = ask(temperature=0.2, top_p=1.0), ask(temperature=1.0, top_p=0.05)
    assert cold[0].chance > plain[0].chance
    assert cold[0].probability == pytest.approx(plain[0].probability)
    assert [choice.chance for choice in cut] == [1.0] + [0.0] * 9


def test_sentence_names_what_can_be_drawn(decoder, tokenizer):
    cut = next_token.likeliest(decoder, tokenizer, 0, "the cat", temperature=1.0, top_p=0.05)
    assert next_token.sentence("the cat", cut) == (
        f"After 'the cat', 1 of these ten can be drawn: {cut[0].token!r} 100%."
    )


def changes(widget, name, values):
    control = {child.description: child for child in widget.children[:-1]}[name]
    seen = {widget.children[-1].value}
    for value in values:
        control.value = value
        seen.add(widget.children[-1].value)
    return len(seen) == len(values) + 1


def test_next_token_explorer_reacts_to_every_control(decoder, tokenizer):
    widget = next_token.next_token_explorer(decoder, tokenizer, 0, "the cat")
    assert changes(widget, "text", ["the dog sat", "", "<b> $x_1$"])
    assert changes(widget, "temperature", [0.3, 2.0])
    assert changes(widget, "top-p", [0.5, 0.05])
    assert "<b>" not in widget.children[-1].value


def test_weights_of_a_head_are_causal_shares(decoder):
    weights = attention_explorer.head_weights(decoder, [0, 1, 2, 3, 4], 1)
    assert weights.shape == (4, 5, 5)
    assert np.allclose(weights.sum(-1), 1, atol=1e-5)
    assert np.triu(weights, 1).max() == 0
    assert not decoder.layers[1].self_attn._forward_pre_hooks


def test_attention_sentence_reads_the_table():
    weights = np.array([[1, 0, 0], [0.2, 0.8, 0], [0.4, 0.5, 0.1]])
    text = attention_explorer.sentence(["s", "a", "b"], weights, 3, 7)
    assert "Layer 3, head 7" in text
    assert "30% of its attention to the first sign" in text
    assert "'b', looks most at 'a' (50%)" in text


def test_attention_explorer_reacts_to_every_control(decoder, tokenizer):
    widget = attention_explorer.attention_explorer(decoder, tokenizer, 0, "the cat sat")
    assert changes(widget, "layer", [1])
    assert changes(widget, "head", [1, 3])
    assert changes(widget, "text", ["the dog sat on the mat " * 9, "", "<b> $x_1$"])


def test_pictures_take_odd_tokens():
    figure = pictures.token_losses(["$x_1$", "\n", "<b>"] * 9, np.arange(27.0), title="loss")
    assert len(figure.axes[0].texts) == 2 * 27
    pictures.choices(["$a_b$", "c"], {"one": np.array([0.9, 0.0]), "two": np.array([0.5, 0.5])}).canvas.draw()
    assert "0% of the places are empty" in pictures.packing([3, 9, 5, 7], 8).axes[1].get_title()
