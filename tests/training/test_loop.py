"""The loop does what chapter 03 promises: it learns, averages rightly, freezes, keeps the best, and shares
the work.
"""

import gc
import json
import os
import random
import subprocess
import sys
import weakref
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, IterableDataset

from helpers.data import sources
from helpers.data.collate import collate_features
from helpers.data.datasets import FeatureDataset, encode_labels
from helpers.data.loaders import make_loader
from helpers.errors import InputError
from helpers.files import ROOT
from helpers.runs import recipes
from helpers.tasks import TASKS
from helpers.training.checkpoints import CHECKPOINT, HISTORY, Keeper
from helpers.training.config import TrainingConfig
from helpers.training.feeding import check_loader
from helpers.training.loop import backward, evaluate, fit, predict_logits, seeded
from helpers.training.losses import Classification
from helpers.training.metrics import classification_metrics
from helpers.training.runtime import Runtime


@pytest.fixture(scope="module")
def runtime():
    return Runtime(precision="no")


def loaders(classifier, prepared, config, rows=64):
    train = recipes.training_loader(classifier, prepared.splits["train"].head(rows), config)
    return train, recipes.evaluation_loader(classifier, prepared.splits["validation"].head(40))


def training(model, train, validation, config, runtime, **options):
    """`fit` of a classifier, scored on `validation`."""
    score = partial(evaluate, loader=validation, runtime=runtime)
    return fit(model, train, config, loss=Classification(), score=score, runtime=runtime, **options)


def weights(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def same(a, b):
    return all(torch.equal(a[name], b[name]) for name in a)


def test_overfits_one_batch(text_classifier, small_run, runtime):
    config = TrainingConfig(
        epochs=15, batch_size=16, learning_rate=3e-4, schedule="constant", patience=99, precision="no"
    )
    rows = loaders(text_classifier, small_run[1], config, rows=16)
    losses = [step.train_loss for step in training(text_classifier.model, *rows, config, runtime)]
    assert losses[0] > 0.8
    assert losses[-1] < 0.1


def gradient_of(classifier, frame, batch_size, runtime):
    task = TASKS[classifier.task]
    loader = make_loader(task.dataset(frame, classifier), batch_size, task.collate(classifier))
    classifier.model.zero_grad()
    mean = backward(classifier.model, list(loader), Classification(), runtime).item()
    return mean, torch.cat([p.grad.flatten() for p in classifier.model.parameters() if p.grad is not None])


def test_gradient_of_accumulated_ragged_batches_is_that_of_one_batch(text_classifier, small_run, runtime):
    frame = small_run[1].splits["train"].head(11)
    text_classifier.model.eval()  # no dropout: the same function of the same rows
    whole_loss, whole = gradient_of(text_classifier, frame, 11, runtime)
    parts_loss, parts = gradient_of(text_classifier, frame, 4, runtime)  # 4 + 4 + 3 rows
    assert parts_loss == pytest.approx(whole_loss, rel=1e-5)
    assert torch.allclose(whole, parts, atol=1e-6, rtol=1e-3)


class Line(torch.nn.Module):
    """A model without dropout, in which nothing but the rows and the weights counts."""

    def __init__(self):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.layer = torch.nn.Linear(5, 3)

    def forward(self, features):
        return self.layer(features)


def feature_loader(rows=26, batch_size=8, **options):
    rng = np.random.default_rng(0)
    dataset = FeatureDataset(rng.normal(size=(rows, 5)).astype(np.float32), rng.integers(3, size=rows))
    return make_loader(dataset, batch_size, collate_features, **options)


def test_accumulated_steps_through_fit_are_those_of_large_batches(runtime):
    """26 rows as one batch an epoch, and as 4 ragged batches added up: the same steps, and losses, up to
    rounding.
    """
    losses = {}
    for size, accumulation in ((26, 1), (8, 4)):
        config = TrainingConfig(epochs=3, learning_rate=0.05, accumulation_steps=accumulation, precision="no")
        rows = feature_loader(batch_size=size, shuffle=True), feature_loader()
        losses[size] = [step.train_loss for step in training(Line(), *rows, config, runtime)]
    assert len(losses[26]) == len(losses[8]) == 3
    assert losses[8] == pytest.approx(losses[26], rel=1e-5)


def test_head_strategy_moves_the_head_alone(text_classifier, small_run, runtime):
    config = TrainingConfig(epochs=1, strategy="head", learning_rate=1e-2, precision="no")
    before = weights(text_classifier.model)
    list(training(text_classifier.model, *loaders(text_classifier, small_run[1], config), config, runtime))
    after = text_classifier.model.state_dict()
    moved = {name for name, tensor in after.items() if not torch.equal(tensor, before[name])}
    assert moved == {"classifier.weight", "classifier.bias"}


def test_evaluation_sees_each_row_once_in_order_and_without_dropout(text_classifier, small_run, runtime):
    frame = small_run[1].splits["validation"].head(31)
    loader = recipes.evaluation_loader(text_classifier, frame)
    text_classifier.model.train()
    logits = predict_logits(text_classifier.model, loader, runtime)
    assert np.array_equal(logits, predict_logits(text_classifier.model, loader, runtime))
    one = text_classifier.preprocessor(frame["text"].iloc[17], return_tensors="pt")
    with torch.inference_mode():
        expected = text_classifier.model.eval()(**one).logits[0].numpy()
    assert np.allclose(logits[17], expected, atol=1e-4)
    by_hand = classification_metrics(logits, encode_labels(frame, sources.SENTIMENTS))
    assert evaluate(text_classifier.model, loader, runtime) == vars(by_hand)


def test_evaluation_gives_every_module_its_mode_back(text_classifier, small_run, runtime):
    """The caller may evaluate between two steps; dropout must go on working, and what was frozen must stay
    so.
    """
    loader = recipes.evaluation_loader(text_classifier, small_run[1].splits["validation"].head(8))
    text_classifier.model.train()
    text_classifier.model.bert.embeddings.eval()
    before = [module.training for module in text_classifier.model.modules()]
    evaluate(text_classifier.model, loader, runtime)
    assert [module.training for module in text_classifier.model.modules()] == before


def test_looking_between_steps_changes_nothing(text_classifier, small_run, runtime):
    """A run that is evaluated after every step ends with the same weights, even if the caller leaves `eval()`
    on.
    """
    config = TrainingConfig(epochs=1, learning_rate=1e-4, precision="no")
    ends = []
    for looks in (False, True):
        model = recipes.build_classifier(small_run[0], sources.SENTIMENTS)
        model.model.load_state_dict(text_classifier.model.state_dict())
        rows = loaders(model, small_run[1], config)
        for _ in training(model.model, *rows, config, runtime):
            if looks:
                evaluate(model.model, rows[1], runtime)
                model.model.eval()
        ends.append(weights(model.model))
    assert same(*ends)


def test_best_weights_are_kept_not_the_last(text_classifier, small_run, runtime):
    config = TrainingConfig(
        epochs=4, learning_rate=2e-3, schedule="constant", patience=9, precision="no", batch_size=16
    )
    rows = loaders(text_classifier, small_run[1], config)
    steps = training(text_classifier.model, *rows, config, runtime)
    scores = [step.validation["macro_f1"] for step in steps if step.validation]
    assert scores[-1] < max(scores)  # else the last weights would pass for the best
    assert evaluate(text_classifier.model, rows[1], runtime)["macro_f1"] == pytest.approx(max(scores))


def test_the_named_score_decides(runtime):
    """With "-loss" the lowest loss is the best; a name that `score` does not return is refused."""
    config = TrainingConfig(epochs=3, learning_rate=0.05, precision="no", select="-loss")
    scores = iter([0.5, 0.2, 0.9])
    options = {"loss": Classification(), "runtime": runtime}
    steps = fit(Line(), feature_loader(), config, score=lambda _: {"loss": next(scores)}, **options)
    assert [step.is_best for step in steps if step.validation] == [True, True, False]
    with pytest.raises(InputError, match="select must name one of accuracy, found '-loss'"):
        list(fit(Line(), feature_loader(), config, score=lambda _: {"accuracy": 1.0}, **options))


def test_early_stopping(text_classifier, small_run, runtime):
    config = TrainingConfig(epochs=9, learning_rate=1e-9, patience=2, precision="no")
    rows = loaders(text_classifier, small_run[1], config, rows=16)
    assert (
        list(training(text_classifier.model, *rows, config, runtime))[-1].epoch == 3
    )  # two more bring nothing


def test_steps_and_evaluations_by_number(runtime):
    """`max_steps` ends in the middle of an epoch; `evaluate_every` counts steps; the end is always
    evaluated.
    """
    config = TrainingConfig(max_steps=10, evaluate_every=4, patience=99, precision="no")
    steps = list(training(Line(), feature_loader(), feature_loader(), config, runtime))  # 4 batches an epoch
    assert [step.step for step in steps] == list(range(1, 11))
    assert [step.step for step in steps if step.validation] == [4, 8, 10]
    assert steps[-1].epoch == 3
    assert steps[-1].learning_rate < steps[4].learning_rate  # the schedule is stretched over the ten


class Stream(IterableDataset):
    """Nine samples without a length."""

    def __iter__(self):
        yield from feature_loader(9, 9).dataset


def test_a_stream_without_a_length_trains(runtime):
    loader = DataLoader(Stream(), batch_size=3, collate_fn=collate_features)
    config = TrainingConfig(max_steps=7, patience=99, precision="no")
    steps = list(training(Line(), loader, feature_loader(), config, runtime))
    assert [step.epoch for step in steps] == [1, 1, 1, 2, 2, 2, 3]  # an epoch ends when the iterator ends
    assert [step.step for step in steps if step.validation] == [3, 6, 7]
    with pytest.raises(InputError, match="a stream has no length"):
        list(training(Line(), loader, feature_loader(), replace(config, max_steps=None), runtime))


def test_the_callers_random_numbers_go_on_undisturbed(runtime):
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    state = random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002
    list(
        training(
            Line(), feature_loader(), feature_loader(), TrainingConfig(epochs=1, precision="no"), runtime
        )
    )
    assert torch.equal(torch.rand(3), expected)
    assert (random.getstate(), np.random.get_state()[1].tolist()) == state  # noqa: NPY002
    with seeded(3, torch.device("cpu")):
        first = torch.rand(2)
    with seeded(3, torch.device("cpu")):
        assert torch.equal(torch.rand(2), first)


def test_a_training_leaves_no_optimizer_behind(runtime, monkeypatch):
    """Two trainings with one runtime: the first one's moments must be gone."""
    made = []

    def remembered(step, model, optimizer, norm):
        made.append(weakref.ref(optimizer))
        return step(model, optimizer, norm)

    monkeypatch.setattr(runtime, "step", partial(remembered, runtime.step))
    config = TrainingConfig(epochs=1, precision="no")
    for _ in range(2):
        list(training(Line(), feature_loader(), feature_loader(), config, runtime))
    gc.collect()
    assert len(made) == 8
    assert all(reference() is None for reference in made)


def resumable(task, config, small_run, animals):
    """A function that starts the same training anew: model, training rows, validation rows."""
    run_config = recipes.RunConfig(task=task, model=TASKS[task].default_model)
    if task == "text":
        frame, classes = small_run[1].splits["train"].head(48), sources.SENTIMENTS
    else:
        frame = animals[animals["label"].isin(["cat", "cow"])].groupby("label").head(24)
        classes = ("cat", "cow")

    def start():
        torch.manual_seed(0)
        classifier = recipes.build_classifier(run_config, classes)
        train = recipes.training_loader(classifier, frame, config)
        return classifier.model, train, recipes.evaluation_loader(classifier, frame)

    return start


@pytest.mark.parametrize(
    ("task", "stop_at", "changes"),
    [
        ("text", 4, {}),
        ("text", 4, {"strategy": "lora", "optimizer": "sgd", "schedule": "one-cycle"}),
        ("images", 3, {"optimizer": "adadelta"}),
        ("images", 4, {"schedule": "step"}),
        ("images", 6, {"num_workers": 1}),
    ],
)
def test_resumed_run_equals_unbroken_run_bit_for_bit(
    task, stop_at, changes, tmp_path, small_run, animals, runtime
):
    config = recipes.default_training(task, "gradual", epochs=3)
    config = replace(config, checkpoint_every=stop_at, batch_size=16, **changes)
    start = resumable(task, config, small_run, animals)
    model, *rows = start()
    list(training(model, *rows, config, runtime, keeper=Keeper(tmp_path / "whole", scores=recipes.SCORES)))
    broken, *rows = start()
    keeper = Keeper(tmp_path / "broken", scores=recipes.SCORES)
    for step in training(broken, *rows, config, runtime, keeper=keeper):
        if step.step == stop_at:
            break
    # Processes that load batches may be others: the batches do not depend on them.
    other = replace(config, num_workers=2) if "num_workers" in changes else config
    resumed, *rows = resumable(task, other, small_run, animals)()
    keeper = Keeper(tmp_path / "broken", resume=True, scores=recipes.SCORES)
    steps = list(training(resumed, *rows, other, runtime, keeper=keeper))
    assert steps[0].step == stop_at + 1
    assert same(weights(model), weights(resumed))
    whole, again = ((tmp_path / name / HISTORY).read_text().splitlines() for name in ("whole", "broken"))
    without_seconds = [
        [line.split(",")[:2] + line.split(",")[3:] for line in lines] for lines in (whole, again)
    ]
    assert without_seconds[0] == without_seconds[1]
    assert len(whole) == 1 + len(list(rows[0])) * 3


def test_resume_without_or_with_a_foreign_checkpoint(tmp_path, text_classifier, small_run, runtime):
    config = TrainingConfig(epochs=1, precision="no")
    start = partial(
        training, text_classifier.model, *loaders(text_classifier, small_run[1], config), config, runtime
    )
    with pytest.raises(InputError, match="there is no checkpoint"):
        list(start(keeper=Keeper(tmp_path, resume=True)))
    (tmp_path / CHECKPOINT).parent.mkdir()
    (tmp_path / CHECKPOINT).write_bytes(b"half a file")
    with pytest.raises(InputError, match="is no whole safetensors file"):
        list(start(keeper=Keeper(tmp_path, resume=True)))
    with pytest.raises(InputError, match="resume needs the folder"):
        list(start(keeper=Keeper(resume=True)))
    list(training(Line(), feature_loader(), feature_loader(), config, runtime, keeper=Keeper(tmp_path)))
    with pytest.raises(InputError, match="is of another model"):
        list(start(keeper=Keeper(tmp_path, resume=True)))


def test_a_loader_that_cannot_begin_in_the_middle_is_refused(tmp_path, runtime):
    plain = DataLoader(feature_loader().dataset, batch_size=8, collate_fn=collate_features)
    config = TrainingConfig(epochs=2, checkpoint_every=1, precision="no")
    for step in training(Line(), plain, feature_loader(), config, runtime, keeper=Keeper(tmp_path)):
        if step.step == 2:
            break
    with pytest.raises(InputError, match="cannot begin at batch 2"):
        list(training(Line(), plain, feature_loader(), config, runtime, keeper=Keeper(tmp_path, resume=True)))


class Counting:
    """A loader with a state of its own: it hands out batches 0..5 of an epoch and can begin anywhere."""

    def __init__(self):
        self.batches, self.next = list(feature_loader(24, 4)), 0

    def __iter__(self):
        while self.next < len(self.batches):
            self.next += 1
            yield self.batches[self.next - 1]
        self.next = 0

    def state_dict(self):
        return {"next": self.next}

    def load_state_dict(self, state):
        self.next = state["next"]


def test_a_loaders_own_state_is_kept_and_restored(tmp_path, runtime):
    config = TrainingConfig(max_steps=9, checkpoint_every=1, patience=99, learning_rate=0.05, precision="no")
    whole = [step.train_loss for step in training(Line(), Counting(), feature_loader(), config, runtime)]
    losses = []
    for step in training(Line(), Counting(), feature_loader(), config, runtime, keeper=Keeper(tmp_path)):
        losses.append(step.train_loss)
        if step.step == 4:  # two batches before the end of the epoch; one was fetched ahead
            break
    keeper = Keeper(tmp_path, resume=True)
    losses += [
        step.train_loss
        for step in training(Line(), Counting(), feature_loader(), config, runtime, keeper=keeper)
    ]
    assert losses == whole


WORKER = """
import json, sys, torch
from functools import partial
from helpers.runs import recipes
from helpers.training.loop import evaluate, fit, predict_logits
from helpers.training.losses import Classification
from helpers.training.runtime import Runtime
from helpers.data import sources
from dataclasses import replace
from pathlib import Path
import pandas as pd
out = Path(sys.argv[1])
frame = pd.read_pickle(out / "rows.pkl")
config = replace(recipes.default_training("text", "gradual", epochs=2, batch_size=16), accumulation_steps=2)
torch.manual_seed(0)
classifier = recipes.build_classifier(recipes.RunConfig(task="text"), sources.SENTIMENTS)
for module in classifier.model.modules():
    if isinstance(module, torch.nn.Dropout):
        module.p = 0.0
runtime = Runtime(classifier.model, "no")
train = recipes.training_loader(classifier, frame, config, **runtime.sharding)
validation = recipes.evaluation_loader(classifier, frame, **runtime.sharding)
score = partial(evaluate, loader=validation, runtime=runtime)
steps = list(fit(classifier.model, train, config, loss=Classification(), score=score, runtime=runtime))
logits = predict_logits(classifier.model, validation, runtime)
if runtime.is_main:
    (out / f"result{runtime.num_processes}.json").write_text(json.dumps({
        "steps": len(steps), "losses": [s.train_loss for s in steps], "logits": logits.tolist(),
        "processes": runtime.num_processes}))
runtime.leave()
"""


def test_two_processes_equal_one(tmp_path, small_run):
    """Same optimizer steps, same losses, same logits for every row (45 rows: no batch divides evenly)."""
    small_run[1].splits["train"].head(45).to_pickle(tmp_path / "rows.pkl")
    (tmp_path / "worker.py").write_text(WORKER)
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    for launch in ([], ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]):
        command = [sys.executable, *launch, str(tmp_path / "worker.py"), str(tmp_path)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-2000:]
    one, two = (json.loads((tmp_path / f"result{n}.json").read_text()) for n in (1, 2))
    assert (one["processes"], two["processes"]) == (1, 2)
    assert one["steps"] == two["steps"] == 4
    assert np.allclose(one["losses"], two["losses"], atol=1e-4)
    assert np.allclose(one["logits"], two["logits"], atol=1e-3)


class TwoProcesses:
    num_processes = 2


@pytest.mark.parametrize("loader", [feature_loader(), DataLoader(feature_loader().dataset)])
def test_a_loader_that_is_not_shared_is_refused(loader):
    with pytest.raises(InputError, match="split among 2 processes, found 1"):
        check_loader(loader, TwoProcesses())
