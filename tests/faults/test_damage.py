"""Damaged or foreign checkpoints and configurations are one sentence that names the file."""

import json
import math
import shutil

import numpy as np
import pytest
import torch

from helpers.cli import main
from helpers.data.collate import collate_features
from helpers.data.datasets import FeatureDataset
from helpers.data.loaders import make_loader
from helpers.errors import InputError
from helpers.training.checkpoints import BEST, CHECKPOINT, HISTORY, Keeper, load_checkpoint, save_checkpoint
from helpers.training.config import TrainingConfig
from helpers.training.loop import fit
from helpers.training.losses import Classification
from helpers.training.runtime import Runtime

CONFIG = TrainingConfig(epochs=3, checkpoint_every=1, learning_rate=0.01, precision="no")


def train(folder, *, resume=False, stop_at=None):
    rng = np.random.default_rng(0)
    dataset = FeatureDataset(rng.normal(size=(20, 5)).astype(np.float32), rng.integers(3, size=20))
    torch.manual_seed(0)
    options = {"loss": Classification(), "runtime": Runtime(precision="no")}
    options["keeper"] = Keeper(folder, resume=resume, scores=("macro_f1",))
    loader = make_loader(dataset, 5, collate_features, shuffle=True)
    for step in fit(torch.nn.Linear(5, 3), loader, CONFIG, score=lambda _: {"macro_f1": 0.5}, **options):
        if step.step == stop_at:
            break


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kept")
    train(folder, stop_at=6)  # in epoch 2, with a best score
    return folder


@pytest.fixture
def broken(kept, tmp_path):
    shutil.copytree(kept, tmp_path / "run")
    return tmp_path / "run"


def progress(**changes):
    return lambda tensors, rest: rest["progress"].update(changes)


def schedule(**changes):
    return lambda tensors, rest: rest["schedule"].update(changes)


def group(**changes):
    return lambda tensors, rest: rest["param_groups"][0].update(changes)


def without_moments(tensors, rest):
    for name in [name for name in tensors if name.startswith("optimizer")]:
        del tensors[name]


DAMAGES = {
    "no progress": lambda tensors, rest: rest.pop("progress"),
    "no schedule": lambda tensors, rest: rest.pop("schedule"),
    "no scaler": lambda tensors, rest: rest.pop("scaler"),
    "more": lambda tensors, rest: rest.update(more=1),
    "progress is a list": lambda tensors, rest: rest.update(progress=[1]),
    "progress lacks step": lambda tensors, rest: rest["progress"].pop("step"),
    "progress has more": progress(more=1),
    "step is a text": progress(step="6"),
    "step is a fraction": progress(step=6.5),
    "step is true": progress(step=True),
    "step is negative": progress(step=-1),
    "step is beyond the end": progress(step=13),
    "batch is beyond the loader": progress(batch=4),
    "batch is far beyond": progress(batch=10**6),
    "batch is negative": progress(batch=-1),
    "epoch is beyond the end": progress(epoch=4),
    "score is nothing": progress(best_score="x"),
    "seconds are negative": progress(seconds=-1.0),
    "history is a list": progress(history_bytes=[]),
    "history is negative": progress(history_bytes=-1),
    "history is longer": progress(history_bytes=10**9),
    "micro batch is 0": progress(micro_batch=0),
    "place of another loader": progress(place={"next": 3}),
    "no groups": lambda tensors, rest: rest.update(param_groups=[]),
    "groups are a text": lambda tensors, rest: rest.update(param_groups="x"),
    "a group lacks its rate": lambda tensors, rest: rest["param_groups"][0].pop("lr"),
    "a group's rate is a text": group(lr="fast"),
    "a group's betas": group(betas=[0.9]),
    "a group's parameters": group(params=[0, 1, 2]),
    "an evil schedule": lambda tensors, rest: rest.update(schedule={"evil": 1}),
    "schedule of nonsense": schedule(base_lrs="x"),
    "schedule ahead": schedule(last_epoch=99),
    "no weight": lambda tensors, rest: tensors.pop("model.weight"),
    "another weight": lambda tensors, rest: tensors.update({"model.more": torch.ones(1)}),
    "a weight of another shape": lambda tensors, rest: tensors.update({"model.weight": torch.ones(4, 5)}),
    "a weight that is nan": lambda tensors, rest: tensors["model.weight"].fill_(math.nan),
    "no moments": without_moments,
    "a moment is missing": lambda tensors, rest: tensors.pop("optimizer.0.exp_avg"),
    "a moment of another shape": lambda tensors, rest: tensors.update({"optimizer.0.exp_avg": torch.ones(7)}),
    "a moment of no parameter": lambda tensors, rest: tensors.update({"optimizer.9.exp_avg": torch.ones(7)}),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_contents_are_one_sentence(damage, broken):
    tensors, rest = load_checkpoint(broken / CHECKPOINT)
    DAMAGES[damage](tensors, rest)
    save_checkpoint(broken / CHECKPOINT, tensors, rest)
    with pytest.raises(InputError) as error:
        train(broken, resume=True)
    assert str(broken) in str(error.value)
    assert "new" in str(error.value)  # train again into a new run folder
    assert "\n" not in str(error.value)


def flip_header(content):
    return content[:8] + b"\xff" + content[9:]


@pytest.mark.parametrize(
    "spoil", [lambda c: c[: len(c) // 2], lambda c: b"", lambda c: b"x" * 100, flip_header, lambda c: c[:8]]
)
@pytest.mark.parametrize("name", [CHECKPOINT, BEST])
def test_damaged_files_are_one_sentence(name, spoil, broken):
    file = broken / name
    file.write_bytes(spoil(file.read_bytes()))
    with pytest.raises(
        InputError, match=f"{file} is no whole safetensors file.*; train again into a new run"
    ):
        train(broken, resume=True)


def test_best_weights_are_looked_at_before_the_work(broken):
    save_checkpoint(broken / BEST, {"model.weight": torch.ones(9)}, {})
    with pytest.raises(InputError, match=f"{broken / BEST} holds the weights of another model; train again"):
        train(broken, resume=True)
    (broken / BEST).unlink()
    with pytest.raises(InputError, match=f"{broken / BEST} is missing.*; train again into a new run folder"):
        train(broken, resume=True)


def test_a_rest_that_is_no_json_or_no_dictionary(broken):
    from safetensors.torch import save_file

    for rest in ("{", "[1]", "9", '{"progress": NaN}'):
        save_file({"a": torch.ones(1)}, broken / CHECKPOINT, {"rest": rest})
        with pytest.raises(InputError, match=r"last\.safetensors .*; train again into a new run folder"):
            train(broken, resume=True)


def test_the_whole_checkpoint_goes_on(broken):
    """The checks above refuse what is damaged, not everything."""
    train(broken, resume=True)
    assert len((broken / HISTORY).read_text().splitlines()) == 13


def test_an_old_checkpoint_does_not_survive_a_new_training(broken):
    train(broken, stop_at=0)
    runtime = Runtime(precision="no")
    model = torch.nn.Linear(5, 3)
    optimizer = torch.optim.AdamW(model.parameters())
    Keeper(broken).begin(model, optimizer, torch.optim.lr_scheduler.ConstantLR(optimizer), runtime)
    assert not (broken / CHECKPOINT).exists()
    assert not (broken / BEST).exists()


def test_a_loader_without_batches_ends():
    options = {"loss": Classification(), "score": lambda _: {}, "runtime": Runtime(precision="no")}
    with pytest.raises(InputError, match="the loader gave no batch to end epoch 1 with"):
        list(fit(torch.nn.Linear(5, 3), iter(()), TrainingConfig(max_steps=3), **options))


GOOD = {"task": "text", "training": {"epochs": 1}}
WRONG = [
    b"\xff\xfe{", b"{", b"[]", b"5", b"null", b'"text"', b"{}", b'{"task": "text", "training": 5}',
    json.dumps(GOOD | {"data": 5}).encode(), json.dumps(GOOD | {"data": ["/etc/passwd"]}).encode(),
    json.dumps(GOOD | {"limit": math.inf}).encode(), json.dumps(GOOD | {"limit": math.nan}).encode(),
    json.dumps(GOOD | {"limit": "9"}).encode(), json.dumps(GOOD | {"limit": 1.5}).encode(),
    json.dumps(GOOD | {"soft_labels": 1}).encode(), json.dumps(GOOD | {"task": []}).encode(),
    json.dumps(GOOD | {"model": None}).encode(), json.dumps(GOOD | {"on_bad": 3}).encode(),
    json.dumps(GOOD | {"text_column": {}}).encode(), json.dumps(GOOD | {"unknown": 1}).encode(),
    json.dumps(GOOD | {"training": {"seed": "x"}}).encode(),
    json.dumps(GOOD | {"training": {"more": 1}}).encode(),
    json.dumps(GOOD | {"training": {"learning_rate": math.nan}}).encode(), b"[" * 100_000,
]  # fmt: skip


@pytest.mark.parametrize("content", WRONG, ids=lambda content: content[:60].decode(errors="replace"))
def test_foreign_configurations_are_one_sentence(content, tmp_path, capsys):
    (tmp_path / "config.json").write_bytes(content)
    for words in (["evaluate", str(tmp_path)], ["train", "text", "--output", str(tmp_path), "--resume"]):
        assert main(words) == 2
        error = capsys.readouterr().err
        assert error.startswith(f"error: {tmp_path / 'config.json'} is no configuration of a run (")
        assert len(error.splitlines()) == 1
        assert "root:" not in error
