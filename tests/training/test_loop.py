"""The loop does what chapter 03 promises: it learns, averages rightly, freezes, resumes bit for bit, and
shares the work.
"""

import json
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from helpers.data import sources
from helpers.data.datasets import encode_labels
from helpers.data.loaders import make_loader
from helpers.errors import InputError
from helpers.files import ROOT
from helpers.training import recipes
from helpers.training.checkpoints import read_progress
from helpers.training.config import TrainingConfig
from helpers.training.loop import (
    backward,
    cross_entropy,
    evaluate,
    fit,
    make_accelerator,
    predict_logits,
    soft_cross_entropy,
)
from helpers.training.metrics import classification_metrics
from helpers.tuning.lora import add_lora


@pytest.fixture(scope="module")
def accelerator():
    return make_accelerator(torch.nn.Linear(1, 1), "no")


def loaders(classifier, prepared, config, rows=64):
    train = recipes.training_loader(classifier, prepared.splits["train"].head(rows), config)
    return train, recipes.evaluation_loader(classifier, prepared.splits["validation"].head(40))


def weights(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def same(a, b):
    return all(torch.equal(a[name], b[name]) for name in a)


def test_overfits_one_batch(text_classifier, small_run, accelerator):
    config = TrainingConfig(
        epochs=15, batch_size=16, learning_rate=3e-4, schedule="constant", patience=99, precision="no"
    )
    train, validation = loaders(text_classifier, small_run[1], config, rows=16)
    losses = [
        step.train_loss
        for step in fit(text_classifier.model, train, validation, config, accelerator=accelerator)
    ]
    assert losses[0] > 0.8
    assert losses[-1] < 0.1


def test_gradient_of_accumulated_ragged_batches_is_that_of_one_batch(text_classifier, small_run, accelerator):
    frame = small_run[1].splits["train"].head(11)
    model = text_classifier.model.eval()  # no dropout: the same function of the same rows

    def gradient(batch_size):
        loader = make_loader(
            recipes.TextDataset(frame, text_classifier.preprocessor, sources.SENTIMENTS),
            batch_size,
            recipes.collate_for(text_classifier),
        )
        model.zero_grad()
        loss = backward(model, list(loader), cross_entropy(), accelerator)
        return loss, torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])

    whole_loss, whole = gradient(11)
    parts_loss, parts = gradient(4)  # 4 + 4 + 3 rows
    assert parts_loss == pytest.approx(whole_loss, rel=1e-5)
    assert torch.allclose(whole, parts, atol=1e-6, rtol=1e-3)


def test_head_strategy_moves_the_head_alone(text_classifier, small_run, accelerator):
    config = TrainingConfig(epochs=1, strategy="head", learning_rate=1e-2, precision="no")
    before = weights(text_classifier.model)
    list(
        fit(
            text_classifier.model,
            *loaders(text_classifier, small_run[1], config),
            config,
            accelerator=accelerator,
        )
    )
    moved = {
        name
        for name, tensor in text_classifier.model.state_dict().items()
        if not torch.equal(tensor, before[name])
    }
    assert moved == {
        "classifier.weight",
        "classifier.bias",
        "bert.pooler.dense.weight",
        "bert.pooler.dense.bias",
    }


def test_evaluation_sees_each_row_once_in_order_and_without_dropout(text_classifier, small_run, accelerator):
    frame = small_run[1].splits["validation"].head(31)
    loader = recipes.evaluation_loader(text_classifier, frame)
    text_classifier.model.train()
    logits = predict_logits(text_classifier.model, loader, accelerator)
    assert np.array_equal(logits, predict_logits(text_classifier.model, loader, accelerator))
    one = text_classifier.preprocessor(frame["text"].iloc[17], return_tensors="pt")
    with torch.inference_mode():
        expected = text_classifier.model(**one).logits[0].numpy()
    assert np.allclose(logits[17], expected, atol=1e-4)
    targets = encode_labels(frame, sources.SENTIMENTS)
    assert evaluate(text_classifier.model, loader, accelerator) == classification_metrics(logits, targets)


def test_best_weights_are_kept_not_the_last(text_classifier, small_run, accelerator):
    config = TrainingConfig(
        epochs=3, learning_rate=1e-2, schedule="constant", patience=9, precision="no", batch_size=16
    )
    train, validation = loaders(text_classifier, small_run[1], config)
    scores = [
        s.validation.macro_f1
        for s in fit(text_classifier.model, train, validation, config, accelerator=accelerator)
        if s.validation
    ]
    assert evaluate(text_classifier.model, validation, accelerator).macro_f1 == pytest.approx(max(scores))


def test_early_stopping(text_classifier, small_run, accelerator):
    config = TrainingConfig(epochs=9, learning_rate=1e-9, patience=2, precision="no")
    steps = list(
        fit(
            text_classifier.model,
            *loaders(text_classifier, small_run[1], config, rows=16),
            config,
            accelerator=accelerator,
        )
    )
    assert steps[-1].epoch == 3  # the first epoch is the best; two more bring nothing


@pytest.mark.parametrize(
    ("task", "stop_at", "changes"),
    [
        ("sentiment", 4, {}),
        ("sentiment", 4, {"strategy": "lora", "optimizer": "sgd", "schedule": "one-cycle"}),
        ("images", 3, {"optimizer": "adadelta"}),
        ("images", 4, {"schedule": "step"}),
        ("images", 6, {}),
    ],
)
def test_resumed_run_equals_unbroken_run_bit_for_bit(
    task, stop_at, changes, tmp_path, small_run, animals, accelerator
):
    config = replace(
        recipes.default_training(task, "gradual", epochs=3), checkpoint_every=1, batch_size=16, **changes
    )
    run_config = recipes.RunConfig(task=task, model=recipes.DEFAULT_MODELS[task])
    if task == "sentiment":
        frame, classes = small_run[1].splits["train"].head(48), sources.SENTIMENTS
    else:
        frame, classes = (
            animals[animals["label"].isin(["cat", "cow"])].groupby("label").head(24),
            ("cat", "cow"),
        )

    def start():
        torch.manual_seed(0)
        classifier = recipes.build_classifier(run_config, classes)
        if config.strategy == "lora":
            add_lora(classifier.model)
        return (
            classifier.model,
            recipes.training_loader(classifier, frame, config),
            recipes.evaluation_loader(classifier, frame),
        )

    model, *rest = start()
    list(fit(model, *rest, config, folder=tmp_path / "whole", accelerator=accelerator))
    broken, *rest = start()
    for step in fit(broken, *rest, config, folder=tmp_path / "broken", accelerator=accelerator):
        if step.step == stop_at:
            break
    resumed, *rest = start()
    steps = list(
        fit(resumed, *rest, config, folder=tmp_path / "broken", accelerator=accelerator, resume=True)
    )
    assert steps[0].step == stop_at + 1
    assert same(weights(model), weights(resumed))
    whole, again = (read_progress(tmp_path / name / "last.safetensors") for name in ("whole", "broken"))
    strip = lambda rows: [{k: v for k, v in row.items() if k != "seconds"} for row in rows]
    assert strip(whole.history) == strip(again.history)


def test_resume_without_or_with_a_foreign_checkpoint(tmp_path, text_classifier, small_run, accelerator):
    config = TrainingConfig(epochs=1, precision="no")
    arguments = (text_classifier.model, *loaders(text_classifier, small_run[1], config), config)
    with pytest.raises(InputError, match="there is no checkpoint"):
        list(fit(*arguments, accelerator=accelerator, folder=tmp_path, resume=True))
    (tmp_path / "last.safetensors").write_bytes(b"half a file")
    with pytest.raises(InputError, match="is no whole safetensors file"):
        list(fit(*arguments, accelerator=accelerator, folder=tmp_path, resume=True))
    with pytest.raises(InputError, match="resume needs the folder"):
        list(fit(*arguments, accelerator=accelerator, resume=True))


def test_a_second_precision_in_one_process(text_classifier):
    assert [
        make_accelerator(text_classifier.model, name).mixed_precision for name in ("bf16", "no", "bf16")
    ] == ["bf16", "no", "bf16"]
    make_accelerator(text_classifier.model, "no")


def test_label_smoothing_is_torchs_own():
    logits, labels = torch.randn(5, 3), torch.tensor([0, 1, 2, 0, 1])
    expected = F.cross_entropy(logits, labels, label_smoothing=0.1) * 5
    assert cross_entropy(0.1)(logits, {"labels": labels}).item() == pytest.approx(expected.item(), rel=1e-5)


def test_blended_targets_take_the_labels_place():
    logits, labels = torch.randn(2, 3), torch.tensor([0, 2])
    batch = {"labels": labels, "targets": torch.tensor([[0.7, 0.3, 0.0], [0.0, 0.0, 1.0]])}
    expected = -(batch["targets"] * logits.log_softmax(-1)).sum()
    assert cross_entropy()(logits, batch).item() == pytest.approx(expected.item(), rel=1e-5)


def test_soft_targets_find_their_rows():
    shares = torch.tensor([[1.0, 0, 0], [0, 0.25, 0.75], [0.5, 0.5, 0]])
    logits = torch.randn(2, 3)
    batch = {"indices": torch.tensor([2, 1]), "labels": torch.tensor([0, 2])}
    expected = -(shares[[2, 1]] * logits.log_softmax(-1)).sum()
    assert soft_cross_entropy(shares)(logits, batch).item() == pytest.approx(expected.item(), rel=1e-5)
    certain = {"indices": torch.tensor([0]), "labels": torch.tensor([0])}
    assert soft_cross_entropy(shares)(logits[:1], certain).item() == pytest.approx(
        cross_entropy()(logits[:1], certain).item(), rel=1e-5
    )


WORKER = """
import json, sys, torch
from helpers.training import recipes
from helpers.training.loop import fit, make_accelerator, predict_logits
from helpers.data import sources
from pathlib import Path
import pandas as pd
out = Path(sys.argv[1])
frame = pd.read_pickle(out / "rows.pkl")
config = recipes.default_training("sentiment", "gradual", epochs=2, batch_size=16)
torch.manual_seed(0)
classifier = recipes.build_classifier(recipes.RunConfig(task="sentiment"), sources.SENTIMENTS)
for module in classifier.model.modules():
    if isinstance(module, torch.nn.Dropout):
        module.p = 0.0
accelerator = make_accelerator(classifier.model, "no")
sharding = dict(num_processes=accelerator.num_processes, process_index=accelerator.process_index)
train = recipes.training_loader(classifier, frame, config, **sharding)
steps = list(fit(classifier.model, train, recipes.evaluation_loader(classifier, frame, **sharding), config, accelerator=accelerator))
logits = predict_logits(classifier.model, recipes.evaluation_loader(classifier, frame, **sharding), accelerator)
if accelerator.is_main_process:
    (out / f"result{accelerator.num_processes}.json").write_text(json.dumps({
        "steps": len(steps), "losses": [s.train_loss for s in steps], "logits": logits.tolist(), "processes": accelerator.num_processes}))
accelerator.end_training()
"""


def test_two_processes_equal_one(tmp_path, small_run):
    """Same optimizer steps, same losses, same logits for every row (45 rows: no batch divides evenly)."""
    small_run[1].splits["train"].head(45).to_pickle(tmp_path / "rows.pkl")
    (tmp_path / "worker.py").write_text(WORKER)
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    for launch in ([], ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]):
        done = subprocess.run(
            [sys.executable, *launch, str(tmp_path / "worker.py"), str(tmp_path)],
            env=environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr[-2000:]
    one, two = (json.loads((tmp_path / f"result{n}.json").read_text()) for n in (1, 2))
    assert (one["processes"], two["processes"]) == (1, 2)
    assert one["steps"] == two["steps"] == 6
    assert np.allclose(one["losses"], two["losses"], atol=1e-4)
    assert np.allclose(one["logits"], two["logits"], atol=1e-3)


def test_a_loader_that_is_not_shared_is_refused(text_classifier, small_run):
    class TwoProcesses:
        num_processes = 2

    train, _ = loaders(text_classifier, small_run[1], TrainingConfig())
    from helpers.training.loop import check_loader

    with pytest.raises(InputError, match="split among 2 processes, found 1"):
        check_loader(train, TwoProcesses())
