"""Token streams: what is written comes back, with the tokenizer that wrote it and no other."""

import json

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from torch.utils.data import DataLoader
from transformers import PreTrainedTokenizerFast

from helpers.data.token_stream import HEADER, TokenBlocks, TokenStream, fingerprint, positions
from helpers.errors import InputError

TEXTS = ["b c d", "c", "d d b c"]


def word_tokenizer(words, size=0):
    """One id for each word, in order; `size` adds words that no text has."""
    names = ["<end>", "<unk>", *words, *(f"w{number}" for number in range(size))]
    vocabulary = {word: number for number, word in enumerate(names)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<end>")


@pytest.fixture
def tokenizer():
    return word_tokenizer("bcd")


@pytest.fixture
def stream(tokenizer, tmp_path):
    return TokenStream.write(tmp_path / "a.stream", TEXTS, tokenizer, "<end>")


def test_a_sign_stands_before_each_document_and_behind_the_last(stream):
    assert stream.ids.tolist() == [0, 2, 3, 4, 0, 3, 0, 4, 4, 2, 3, 0]
    assert stream.ids.dtype == np.uint16
    assert isinstance(stream.ids, np.memmap)
    assert stream.file.stat().st_size == HEADER + 2 * len(stream)


def test_opened_again_it_is_the_same(stream, tokenizer):
    tokenizer(["b c", "d"], padding=True, truncation=True, max_length=4)  # leaves traces in the tokenizer
    again = TokenStream(stream.file, tokenizer)
    assert np.array_equal(again.ids, stream.ids)
    assert again.sign == 0
    with pytest.raises(ValueError, match="read-only"):
        again.ids[0] = 1


@pytest.mark.parametrize("words", ["bdc", "bcde"])
def test_another_vocabulary_is_refused(stream, words):
    with pytest.raises(InputError, match="its ids mean other tokens; use that tokenizer"):
        TokenStream(stream.file, word_tokenizer(words))


def test_other_rules_with_the_same_vocabulary_are_refused(stream, tokenizer):
    other = word_tokenizer("bcd")
    other.backend_tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    assert other.get_vocab() == tokenizer.get_vocab()
    assert fingerprint(other) != fingerprint(tokenizer)


def test_a_vocabulary_beyond_two_bytes_gets_four(tmp_path):
    large = word_tokenizer("bcd", 70_000)
    stream = TokenStream.write(tmp_path / "a.stream", ["b w69999 c"], large, "<end>")
    assert stream.ids.dtype == np.uint32
    assert stream.ids.tolist() == [0, 2, 70_004, 3, 0]


def damaged(file, change):
    content = bytearray(file.read_bytes())
    change(content)
    file.write_bytes(content)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda content: content.pop(), "must have 536 bytes, found 535"),
        (lambda content: content.extend(b"ab"), "found 538"),
        (lambda content: content.__setitem__(slice(0, 5), b"?????"), "no token stream"),
        (lambda content: content.clear(), "no token stream"),
        (lambda content: content.__setitem__(slice(0, HEADER), b"[1, 2]".ljust(HEADER)), "no token stream"),
        (lambda content: content.__setitem__(slice(0, 600), b"\xff" * 600), "no token stream"),
    ],
)
def test_a_damaged_file_is_refused(stream, tokenizer, change, sentence):
    damaged(stream.file, change)
    with pytest.raises(InputError, match=sentence):
        TokenStream(stream.file, tokenizer)


@pytest.mark.parametrize(
    "wrong", [{"dtype": "object"}, {"dtype": "float64"}, {"tokens": -3}, {"tokens": "12"}, {"sign": None}]
)
def test_a_header_with_impossible_values_is_refused(stream, tokenizer, wrong):
    header = json.loads(stream.file.read_bytes()[:HEADER]) | wrong
    damaged(
        stream.file,
        lambda content: content.__setitem__(slice(0, HEADER), json.dumps(header).encode().ljust(HEADER)),
    )
    with pytest.raises(InputError, match="no token stream"):
        TokenStream(stream.file, tokenizer)


def test_a_missing_file_and_a_missing_tokenizer_are_said(tmp_path, tokenizer):
    with pytest.raises(InputError, match="is missing, or no token stream"):
        TokenStream(tmp_path / "none", tokenizer)
    with pytest.raises(InputError, match="no fast tokenizer; load it with AutoTokenizer"):
        fingerprint(object())


@pytest.mark.parametrize(
    ("texts", "sign", "sentence"),
    [
        (["b"], "<stop>", "'<stop>' is no token of this vocabulary"),
        (["b", "c <end> d"], "<end>", "text 1 contains '<end>'"),
        ([], "<end>", "or there is none"),
    ],
)
def test_what_cannot_be_written_leaves_the_old_file(stream, tokenizer, texts, sign, sentence):
    before = stream.file.read_bytes()
    with pytest.raises(InputError, match=sentence):
        TokenStream.write(stream.file, texts, tokenizer, sign)
    assert stream.file.read_bytes() == before
    assert [path.name for path in stream.file.parent.iterdir()] == ["a.stream"]


def test_blocks_cover_the_stream_once_and_are_shifted(stream):
    blocks = TokenBlocks(stream, 4)
    assert len(blocks) == 2  # of 12 tokens the last three have no full block
    assert torch.cat([block["input_ids"] for block in blocks]).tolist() == stream.ids[:8].tolist()
    assert torch.cat([block["next_ids"] for block in blocks]).tolist() == stream.ids[1:9].tolist()
    assert blocks[1]["position_ids"].tolist() == [0, 1, 0, 1]
    assert all(tensor.dtype == torch.int64 for tensor in blocks[0].values())
    with pytest.raises(IndexError):
        blocks[2]


def test_blocks_need_one_token_more_than_their_length(stream):
    assert len(TokenBlocks(stream, 11)) == 1
    with pytest.raises(InputError, match="a block needs 13 tokens, found 12"):
        TokenBlocks(stream, 12)


def test_blocks_in_workers_are_the_same(stream):
    batches = [
        next(iter(DataLoader(TokenBlocks(stream, 4), batch_size=2, num_workers=workers)))
        for workers in (0, 1)
    ]
    assert all(torch.equal(batches[0][name], batches[1][name]) for name in batches[0])


def test_positions_begin_anew_at_each_sign():
    assert positions(torch.tensor([7, 8, 0, 5, 0, 0, 6]), 0).tolist() == [0, 1, 0, 1, 0, 0, 1]
