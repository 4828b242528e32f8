"""A tiny BERT and a few rows: a whole `train` in a second or two."""

import os
import subprocess
import sys

import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification, BertTokenizerFast

from helpers.files import ROOT

ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
GOOD, BAD = ("fine", "lovely", "bright", "warm"), ("dull", "grey", "cold", "broken")
THINGS = ("lamp", "chair", "film", "soup", "book", "coat", "song", "road")


@pytest.fixture(scope="session")
def environment():
    return ENVIRONMENT


@pytest.fixture(scope="session")
def tiny_bert(tmp_path_factory):
    """A folder with a 2-layer BERT of random weights and its tokenizer."""
    folder = tmp_path_factory.mktemp("models") / "tiny"
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "is", "number", *GOOD, *BAD, *THINGS]
    words += [str(digit) for digit in range(10)] + [f"##{digit}" for digit in range(10)]
    folder.mkdir()
    (folder / "vocab.txt").write_text("\n".join(words))
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = BertConfig(vocab_size=len(words), max_position_embeddings=160, **sizes)
    BertForSequenceClassification(config).save_pretrained(folder)
    BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def rows(tmp_path_factory):
    """A CSV file of 80 texts in two classes."""
    file = tmp_path_factory.mktemp("rows") / "rows.csv"
    lines = ["text,label"]
    for number in range(80):
        word, label = ((GOOD, "good"), (BAD, "bad"))[number % 2]
        lines.append(f"the {THINGS[number % 8]} number {number} is {word[number % 4]},{label}")
    file.write_text("\n".join(lines) + "\n")
    return file


@pytest.fixture(scope="session")
def arguments(tiny_bert, rows):
    """What `train` needs beside --output: about 10 steps of 16 rows in 3 epochs."""
    return ["--data", str(rows), "--model", str(tiny_bert), "--limit", "0", "--seed", "3"]


@pytest.fixture(scope="session")
def command(arguments):
    """command(run, ...): the real command line's words to train into `run`; `--resume` needs no others."""

    def words(run, *more):
        start = [sys.executable, "-m", "helpers", "train", "text", "--output", str(run)]
        return [*start, *([] if "--resume" in more else arguments), *more]

    return words


@pytest.fixture(scope="session")
def finish():
    """finish(words, status): run a command to its end; returns what it wrote to stderr."""

    def run(words, status=0, **options):
        done = subprocess.run(words, env=ENVIRONMENT, capture_output=True, text=True, timeout=120, **options)
        assert done.returncode == status, (done.returncode, done.stderr[-3000:])
        assert "Traceback" not in done.stderr
        return done.stderr

    return run
