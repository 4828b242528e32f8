"""Checkpoints in parts: atomic at every point, damage is one sentence, nothing of an earlier one is left."""

import os
import shutil
import subprocess
import sys

import pytest
import torch
from torch import nn

from helpers.errors import InputError
from helpers.files import ROOT
from helpers.training import archives
from helpers.training.archives import CHECKPOINT, load_checkpoint, save_checkpoint

WORKER = """
import os, signal, sys
from pathlib import Path
import torch
from torch import nn
from helpers.training import states
from helpers.training.archives import CHECKPOINT, save_parts
from helpers.training.runtime import Runtime

file, runtime = Path(sys.argv[1]) / CHECKPOINT, Runtime(precision="no", shard=True)
torch.manual_seed(0)
model = nn.Sequential(nn.Linear(3, 5), nn.BatchNorm1d(5), nn.Linear(5, 2))  # 2 rows for 3
whole = {f"model.{name}": tensor.clone() for name, tensor in model.state_dict().items()}
optimizer = torch.optim.AdamW(model.parameters())
runtime.prepare(model, optimizer)
if runtime.is_main:
    file.parent.mkdir()
runtime.wait()
model(torch.ones(4, 3)).sum().backward()
save_parts(file, states.state(model, optimizer), {"progress": {"step": 1}}, runtime)
runtime.step(model, optimizer, 1.0)
save_parts(file, states.state(model, optimizer), {"progress": {"step": 2}}, runtime)
whole = runtime.state(model, optimizer)
if runtime.is_main:
    torch.save(whole, file.parent.parent / "whole.pt")
runtime.leave()
"""


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A folder with the second checkpoint of three processes, and what it holds as whole tensors."""
    folder = tmp_path_factory.mktemp("parts")
    (folder / "worker.py").write_text(WORKER)
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=3"]
    command = [sys.executable, *launch, str(folder / "worker.py"), str(folder)]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


def test_parts_of_three_processes_are_whole_in_one(written):
    tensors, rest = load_checkpoint(written / CHECKPOINT)
    expected = torch.load(written / "whole.pt", weights_only=True)
    assert rest == {"progress": {"step": 2}}
    assert set(tensors) == set(expected)
    assert all(torch.equal(tensors[name], tensor) for name, tensor in expected.items())
    assert len(list((written / "checkpoints").glob("last-*"))) == 1  # the first one is gone
    assert not [file for file in written.rglob("*") if file.name == ".metadata"]  # a pickle


def cut(file):
    os.truncate(file, file.stat().st_size - 1)


def flip(file):
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)


def add(file):
    shutil.copy(file, file.with_name("shard-00009-model-00001-of-00001.safetensors"))


@pytest.mark.parametrize("damage", [os.remove, cut, flip, add])
def test_a_damaged_part_is_one_sentence(damage, written, tmp_path):
    shutil.copytree(written / "checkpoints", tmp_path / "checkpoints")
    damage(max((tmp_path / "checkpoints").glob("last-*/*"), key=lambda file: file.stat().st_size))
    with pytest.raises(InputError, match="is missing, damaged or not of this checkpoint; train again"):
        load_checkpoint(tmp_path / CHECKPOINT)


@pytest.mark.parametrize("folder", ["../elsewhere", "last-zz", 7, None])
def test_a_file_that_points_elsewhere_is_refused(folder, tmp_path):
    (tmp_path / "checkpoints").mkdir()
    save_checkpoint(tmp_path / CHECKPOINT, {}, {"parts": {"folder": folder, "files": {}}})
    with pytest.raises(InputError, match="is no checkpoint"):
        load_checkpoint(tmp_path / CHECKPOINT)


def test_what_a_killed_process_left_is_removed_and_nothing_else(written, tmp_path):
    shutil.copytree(written / "checkpoints", tmp_path / "checkpoints")
    for name in ("last-0123abcd", "best-0123abcd", "last-mine"):
        (tmp_path / "checkpoints" / name).mkdir()
    own = archives.read_file(tmp_path / CHECKPOINT)[1]["parts"]["folder"]
    archives.remove_parts(tmp_path / CHECKPOINT, but=own)
    kept = {path.name for path in (tmp_path / "checkpoints").iterdir()}
    assert kept == {"last.safetensors", own, "best-0123abcd", "last-mine"}


def test_nothing_is_lost_between_the_parts_and_their_file(written, tmp_path, monkeypatch):
    """Killed before the file is renamed: the file before it names parts that are all still there."""
    from helpers.training.runtime import Runtime

    shutil.copytree(written / "checkpoints", tmp_path / "checkpoints")
    runtime, model = Runtime(precision="no", shard=True), nn.Linear(2, 2)
    runtime.prepare(model, torch.optim.SGD(model.parameters()))

    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(archives, "save_checkpoint", killed)
    with pytest.raises(KeyboardInterrupt):
        archives.save_parts(tmp_path / CHECKPOINT, runtime.state(model, in_parts=True), {}, runtime)
    assert len(list((tmp_path / "checkpoints").glob("last-*"))) == 2
    assert load_checkpoint(tmp_path / CHECKPOINT)[1] == {"progress": {"step": 2}}
    runtime.leave()
