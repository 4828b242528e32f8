"""The real service while hundreds of connections hang: nobody else notices."""

import importlib

import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification

from helpers.files import ROOT
from helpers.models.pretrained import Classifier, save_classifier, text_classifier
from lessons.running_service import running


@pytest.fixture
def tiny_run(tmp_path):
    """A run with a model of two narrow layers and random weights: what answers is not the point here."""
    torch.manual_seed(0)
    tokenizer = text_classifier(pretrained=False).preprocessor
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    model = BertForSequenceClassification(BertConfig(vocab_size=len(tokenizer), num_labels=3, **sizes))
    save_classifier(Classifier("text", "tiny", model, ("a", "b", "c"), tokenizer), tmp_path / "model")
    return tmp_path


def test_three_hundred_idle_connections_hold_nobody_up(tiny_run, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    service_load = importlib.import_module("service_load")
    with running(tiny_run) as address:
        found = service_load.crowd(address, ["a comment", "another"], requests=300, clients=8, idle=300)
    assert found["connections"] >= 300
    assert found["with_idle"]["ms_p95"] < 1000
    if found["megabytes_after_all"] == found["megabytes_after_all"]:  # Linux says it
        assert found["megabytes_after_all"] < found["megabytes_after_a_tenth"] + 20
