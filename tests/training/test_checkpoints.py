"""Checkpoints and history: appended, cut back to the checkpoint, fast for long runs."""

import csv
import time
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from torch import nn

from helpers.errors import InputError
from helpers.training.checkpoints import CHECKPOINT, HISTORY, Keeper
from helpers.training.progress import Step
from helpers.training.runtime import Runtime
from helpers.tuning.optimization import make_optimizer, make_schedule, parameter_groups


def begun(folder, *, resume=False):
    model = nn.Linear(2, 2)
    optimizer = make_optimizer("adamw", parameter_groups(model, 0.1))
    keeper = Keeper(folder, resume=resume, scores=("loss",))
    return keeper, keeper.begin(
        model, optimizer, make_schedule("linear", optimizer, 9), Runtime(precision="no")
    )


def keep(keeper, progress, numbers, due):
    for number in numbers:
        progress.step = number
        scores = {"loss": 1 / number} if number % 3 == 0 else None
        keeper.keep(Step(number, 1, 0.1, torch.tensor(0.5), scores), is_due=number in due)


def steps_in(folder: Path) -> list[int]:
    with (folder / HISTORY).open(newline="") as lines:
        return [int(row["step"]) for row in csv.DictReader(lines)]


def test_the_history_is_appended_and_cut_back_to_the_checkpoint(tmp_path):
    keeper, progress = begun(tmp_path)
    keep(keeper, progress, range(1, 6), due=(2, 4))
    assert steps_in(tmp_path) == [1, 2, 3, 4]  # step 5 will be made again by whoever resumes
    with (tmp_path / HISTORY).open("a") as lines:
        lines.write("5,1,0.1,0.1,0.5,\n6,1,")  # killed between the history and the checkpoint
    keeper, progress = begun(tmp_path, resume=True)
    assert progress.step == 4
    keep(keeper, progress, (5, 6), due=(6,))
    assert steps_in(tmp_path) == [1, 2, 3, 4, 5, 6]


def test_no_checkpoint_holds_the_history(tmp_path):
    keeper, progress = begun(tmp_path)
    sizes = []
    for last in (10, 1000):
        keep(keeper, progress, range(progress.step + 1, last + 1), due=(last,))
        with safe_open(tmp_path / CHECKPOINT, framework="pt") as archive:
            sizes.append(len(archive.metadata()["rest"]))
    assert sizes[1] < sizes[0] + 100


def test_half_a_million_steps_resume_in_seconds(tmp_path):
    keeper, progress = begun(tmp_path)
    keep(keeper, progress, (1,), due=(1,))
    line = (tmp_path / HISTORY).read_text().splitlines()[1]
    with (tmp_path / HISTORY).open("a") as lines:
        lines.writelines(f"{number}{line[1:]}\n" for number in range(2, 500_001))
    progress.step = 500_001
    keep(keeper, progress, (500_001,), due=(500_001,))
    start = time.perf_counter()
    keeper, progress = begun(tmp_path, resume=True)
    keep(keeper, progress, (500_002,), due=(500_002,))
    assert time.perf_counter() - start < 3
    assert progress.step == 500_002
    assert len(steps_in(tmp_path)) == 500_002


def test_a_history_that_lost_rows_is_refused(tmp_path):
    keeper, progress = begun(tmp_path)
    keep(keeper, progress, range(1, 6), due=(5,))
    (tmp_path / HISTORY).write_text("step\n")
    with pytest.raises(InputError, match="has 5 bytes, the checkpoint knows of"):
        begun(tmp_path, resume=True)


def test_a_second_training_into_the_same_folder_begins_its_history_anew(tmp_path):
    keep(*begun(tmp_path), range(1, 4), due=(3,))
    keep(*begun(tmp_path), range(1, 3), due=(2,))
    assert steps_in(tmp_path) == [1, 2]
