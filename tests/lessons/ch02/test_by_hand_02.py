"""What chapter 02 writes in its cells gives what the package gives."""

import ast
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import Dataset

from helpers.data import sources
from helpers.data.collate import PadCollate
from helpers.data.datasets import TextDataset
from helpers.data.samplers import POOL, BucketBatchSampler
from helpers.files import ROOT
from helpers.models.pretrained import text_classifier

NOTEBOOK = ROOT / "notebooks" / "02_datasets_and_dataloaders.ipynb"
NAMES = {
    "Dataset": Dataset,
    "Path": Path,
    "math": math,
    "np": np,
    "pad_sequence": pad_sequence,
    "sources": sources,
    "torch": torch,
}


def defined(name, **more):
    """What a cell of the chapter defines under this name."""
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    for cell in cells:
        if cell["cell_type"] != "code":
            continue
        for node in ast.parse("".join(cell["source"])).body:
            if getattr(node, "name", None) == name:
                scope = NAMES | more
                exec(compile(ast.Module([node], []), name, "exec"), scope)
                return scope[name]
    raise AssertionError(f"no cell defines {name}")


@pytest.fixture(scope="module")
def tokenizer():
    return text_classifier().preprocessor


def test_the_collate_function_is_that_of_the_package(tokenizer):
    by_hand, packaged = defined("pad_collate", tokenizer=tokenizer), PadCollate(tokenizer.pad_token_id)
    rng = np.random.default_rng(0)
    for _ in range(5):
        rows = [rng.integers(1000, 2000, size=size).tolist() for size in rng.integers(1, 9, size=4)]
        samples = [
            {"input_ids": row, "index": number, "label": number % 3} for number, row in enumerate(rows)
        ]
        expected, found = packaged(samples), by_hand(samples)
        assert set(found) == set(expected)
        for name, tensor in expected.items():
            assert found[name].dtype == tensor.dtype
            assert torch.equal(found[name], tensor)


def test_the_buckets_are_those_of_the_package():
    by_hand = defined("bucket_batches")
    for count, size in ((5000, 32), (5000, 8), (7, 4), (1601, 16)):
        lengths = np.random.default_rng(count).integers(3, 128, size=count)
        sampler = BucketBatchSampler(lengths, size, seed=4)
        for epoch in (0, 3):
            sampler.set_epoch(epoch)
            found = by_hand(lengths, size, 4, epoch, POOL)
            assert [rows.tolist() for rows in found] == [rows.tolist() for rows in sampler.batches()]
    assert by_hand.__defaults__ == (0, POOL)


def test_the_dataset_of_texts_is_that_of_the_package(tokenizer):
    rows = sources.comments().iloc[::500]
    by_hand, packaged = (
        defined("TokenComments")(rows, tokenizer),
        TextDataset(rows, tokenizer, sources.SENTIMENTS),
    )
    assert by_hand.lengths.tolist() == packaged.lengths.tolist()
    assert [by_hand[index] for index in range(len(by_hand))] == [
        packaged[index] for index in range(len(packaged))
    ]
