"""Pairs as tokens: one prompt, two answers, and labels on the last one alone."""

import pytest
import torch

from helpers.data.chat import IGNORED, conversation_ids
from helpers.data.pairs import PairCollate, PairDataset
from helpers.errors import InputError


def user(text):
    return {"role": "user", "content": text}


def bot(text):
    return {"role": "assistant", "content": text}


BEFORE = [user("Hi"), bot("Hello, you.")]
PAIRS = [
    ([user("Why?"), bot("Because.")], [user("Why?"), bot("I do not know, ask me another day 👋🏽.")]),
    ([*BEFORE, user("How?"), bot("So and so.")], [*BEFORE, user("How?"), bot("No.")]),
]


@pytest.fixture
def dataset(tokenizer):
    return PairDataset(PAIRS, tokenizer, 100, system="Be brief.")


@pytest.fixture
def batch(dataset, tokenizer):
    return PairCollate(tokenizer.pad_token_id)([dataset[0], dataset[1]])


def test_the_last_answers_alone_have_labels(dataset, tokenizer):
    for number, pair in enumerate(PAIRS):
        sample = dataset[number]
        assert sample["index"] == number
        for messages, ids, labels in zip(pair, sample["input_ids"], sample["labels"], strict=True):
            assert ids.tolist() == conversation_ids(messages, tokenizer, "Be brief.")[0]
            learnt = labels[labels != IGNORED]
            assert tokenizer.decode(learnt) == messages[-1]["content"] + "<|im_end|>\n"
            assert torch.equal(labels[-len(learnt) :], ids[-len(learnt) :])


def test_sizes_are_those_of_the_longer_one_and_of_both(dataset):
    sizes = [[len(row) for row in dataset[number]["input_ids"]] for number in range(2)]
    assert dataset.lengths.tolist() == [max(size) for size in sizes]
    assert dataset.num_tokens == sum(map(sum, sizes))
    assert dataset.answer_lengths.shape == (2, 2)
    assert dataset.num_learnt == dataset.answer_lengths.sum()
    assert dataset.answer_lengths[0, 0] < dataset.answer_lengths[0, 1]


def test_a_batch_has_two_rows_of_each_pair_chosen_first(dataset, batch, tokenizer):
    assert {name: tuple(tensor.shape) for name, tensor in batch.items()} == {
        **dict.fromkeys(("input_ids", "attention_mask", "labels"), (2, 2, max(dataset.lengths))),
        "indices": (2,),
    }
    for number in range(2):
        for side in range(2):
            row, size = dataset[number]["input_ids"][side], len(dataset[number]["input_ids"][side])
            assert torch.equal(batch["input_ids"][number, side, :size], row)
            assert batch["attention_mask"][number, side].sum() == size
            assert (batch["input_ids"][number, side, size:] == tokenizer.pad_token_id).all()
            assert (batch["labels"][number, side, size:] == IGNORED).all()


def test_the_reference_travels_with_its_pair(dataset, tokenizer):
    dataset.reference = torch.tensor([[-1.0, -2.0], [-3.0, -4.0]])
    batch = PairCollate(tokenizer.pad_token_id)([dataset[1], dataset[0]])
    assert batch["indices"].tolist() == [1, 0]
    assert batch["reference"].tolist() == [[-3.0, -4.0], [-1.0, -2.0]]


def test_too_long_is_refused_on_either_side_and_nothing_is_cut(tokenizer):
    long = [user("Why?"), bot("word " * 50)]
    for pair in ((PAIRS[0][0], long), (long, PAIRS[0][0])):
        with pytest.raises(InputError, match=r"pair b has 8\d tokens, expected at most 60"):
            PairDataset([PAIRS[0], pair], tokenizer, 60, names=["a", "b"])


def test_two_prompts_are_no_pair(tokenizer):
    with pytest.raises(InputError, match="of pair 0 have different prompts"):
        PairDataset([(PAIRS[0][0], PAIRS[1][1])], tokenizer, 100)
