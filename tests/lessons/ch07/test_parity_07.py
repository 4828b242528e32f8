"""What chapter 07 writes by hand is what the package does: rows, batches, model, groups, rates, the loop."""

from functools import partial

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from helpers import assets, environment
from helpers.data.collate import PadCollate
from helpers.data.datasets import TextDataset
from helpers.data.loaders import make_loader
from helpers.data.samplers import BucketBatchSampler
from helpers.data.sources import SENTIMENTS
from helpers.models.pooling import MeanPooledBert
from helpers.training import metrics
from helpers.training.config import TrainingConfig
from helpers.training.loop import evaluate, fit_classifier
from helpers.training.runtime import Runtime
from helpers.tuning import optimization

RATE, EPOCHS = 1e-3, 2


@pytest.fixture(scope="module")
def cells(tokenizer_of_minilm, cell_definitions):
    names = {"torch": torch, "nn": nn, "F": F, "np": np, "Dataset": Dataset, "DataLoader": DataLoader}
    names |= {
        "tokenizer": tokenizer_of_minilm,
        "names": list(SENTIMENTS),
        "MAX_TOKENS": 128,
        "assets": assets,
    }
    names |= {"BucketBatchSampler": BucketBatchSampler, "device": "cpu"}
    names["autocast"] = torch.autocast("cpu", torch.bfloat16, enabled=False)
    wanted = ("CommentDataset", "collate", "loader_of", "masked_mean", "run", "SentimentClassifier")
    exec(cell_definitions(*wanted, "parameter_groups", "train_epoch"), names)
    return names


@pytest.fixture(scope="module")
def tokenizer_of_minilm():
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(assets.path("minilm"))


def small_model(vocabulary: int) -> MeanPooledBert:
    from transformers import BertConfig

    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    no_dropout = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0, "classifier_dropout": 0.0}
    torch.manual_seed(0)
    return MeanPooledBert(BertConfig(vocab_size=vocabulary, num_labels=3, **sizes, **no_dropout))


@pytest.fixture
def pair(cells, tokenizer_of_minilm):
    """The chapter's model and the package's, with the same weights."""
    package = small_model(len(tokenizer_of_minilm))
    by_hand = cells["SentimentClassifier"](small_model(len(tokenizer_of_minilm)).bert)
    by_hand.dropout.p = 0.0
    by_hand.load_state_dict(package.state_dict())  # the same names, or it raises
    return by_hand, package


def test_rows_and_batches_are_those_of_the_package(cells, clean, tokenizer_of_minilm):
    rows = clean.groupby("platform").head(13)
    by_hand, package = (
        cells["CommentDataset"](rows, tokenizer_of_minilm),
        TextDataset(rows, tokenizer_of_minilm, SENTIMENTS),
    )
    assert [by_hand[i] for i in range(len(rows))] == [package[i] for i in range(len(rows))]
    loaders = (
        cells["loader_of"](rows, 8, shuffle=True),
        make_loader(package, 8, PadCollate(tokenizer_of_minilm.pad_token_id), shuffle=True),
    )
    for ours, theirs in zip(*loaders, strict=True):
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_the_model_is_that_of_the_package(cells, clean, pair):
    batch = next(iter(cells["loader_of"](clean.head(12), 12)))
    inputs = batch["input_ids"], batch["attention_mask"]
    by_hand, package = (model.eval() for model in pair)
    assert (batch["attention_mask"] == 0).any(), "without padding the mask shows nothing"
    assert torch.allclose(by_hand(*inputs), package(*inputs).logits, atol=1e-6)


def test_groups_and_rates_are_those_of_the_package(cells, pair):
    by_hand = cells["parameter_groups"](pair[0], RATE)
    package = optimization.parameter_groups(pair[1], RATE, layer_decay=0.9)
    assert len(by_hand) == len(package)
    for ours, theirs in zip(by_hand, package):
        assert (ours["lr"], ours["weight_decay"]) == pytest.approx((theirs["lr"], theirs["weight_decay"]))
        assert sorted(p.numel() for p in ours["params"]) == sorted(p.numel() for p in theirs["params"])
    factor = optimization.make_schedule("linear", torch.optim.SGD(pair[1].parameters(), lr=1.0), 40)
    for step in range(41):
        assert cells["warmup_then_linear"](step, 40) == pytest.approx(factor.lr_lambdas[0](step))


def test_the_loop_is_that_of_the_package(cells, clean, pair):
    by_hand, package = pair
    rows = clean.head(48)
    loader = cells["loader_of"](rows, 16, shuffle=True)
    num_steps = EPOCHS * len(loader)
    optimizer = torch.optim.AdamW(cells["parameter_groups"](by_hand, RATE))
    factor = partial(cells["warmup_then_linear"], num_steps=num_steps)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
    cells |= {"optimizer": optimizer, "scheduler": scheduler}
    losses = [loss for epoch in range(EPOCHS) for loss in cells["train_epoch"](by_hand, loader, epoch)]

    environment.seed_everything(0)
    config = TrainingConfig(epochs=EPOCHS, batch_size=16, learning_rate=RATE, layer_decay=0.9, precision="no")
    runtime = Runtime(package, "no")
    checked = cells["loader_of"](rows)
    checked.dataset.labels = np.array(checked.dataset.labels)
    steps = list(
        fit_classifier(package, cells["loader_of"](rows, 16, shuffle=True), checked, config, runtime=runtime)
    )
    assert [step.train_loss for step in steps] == pytest.approx(losses, abs=1e-4)
    assert losses[-1] < losses[0]
    if steps[-1].is_best:
        for name, weight in by_hand.state_dict().items():
            assert torch.allclose(weight, package.state_dict()[name], atol=1e-4), name
    logits = cells["run"](by_hand.eval(), checked)
    found = metrics.classification_metrics(logits, checked.dataset.labels)
    if steps[-1].is_best:
        assert evaluate(package, checked, runtime)["loss"] == pytest.approx(found.loss, abs=1e-3)
