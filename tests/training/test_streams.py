"""`fit` trains from streams and resumes them: ours exactly, those of torchdata and `datasets` as they are."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from helpers.files import ROOT

# One after the other: alone, in two processes, alone again. Each begins in the folder `run`.
ALONE = [
    {"run": "ours", "kind": "ours"},
    {"run": "to two", "kind": "ours", "workers": 3, "stop": 8},
    {"run": "torchdata", "kind": "torchdata"},
    {"run": "torchdata begun", "kind": "torchdata", "stop": 3},
    {"run": "torchdata begun", "kind": "torchdata", "resume": True},
    {"run": "datasets", "kind": "datasets"},
    {"run": "datasets begun", "kind": "datasets", "stop": 3},
    {"run": "datasets begun", "kind": "datasets", "resume": True},
]
IN_TWO = [
    {"run": "to one", "kind": "ours", "stop": 4},
    {"run": "to two", "kind": "ours", "workers": 1, "resume": True},
    *ALONE[2:],
    {"run": "shuffled", "kind": "shuffled", "workers": 1},
    {"run": "unsplit", "kind": "unsplit"},
    {"run": "refused", "kind": "torchdata", "stop": 3},
]
AGAIN_ALONE = [
    {"run": "to one", "kind": "ours", "workers": 2, "resume": True},
    {"run": "refused", "kind": "torchdata", "resume": True},
]


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What each plan led to in each process; the rows are 41, in files of 15, 11, 9 and 6."""
    folder = tmp_path_factory.mktemp("streams")
    (folder / "rows").mkdir()
    begin = 0
    for file, count in enumerate((15, 11, 9, 6)):
        lines = [json.dumps({"number": number}) + "\n" for number in range(begin, begin + count)]
        (folder / "rows" / f"{file}.jsonl").write_text("".join(lines))
        begin += count
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    environment |= {"HF_HOME": str(folder / "home"), "HF_HUB_OFFLINE": "1"}
    results = []
    for processes, plans in ((1, ALONE), (2, IN_TWO), (1, AGAIN_ALONE)):
        launch = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"]
        script = str(Path(__file__).with_name("stream_worker.py"))
        command = [sys.executable, *launch[: 4 * (processes > 1)], script, str(folder), json.dumps(plans)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=180)
        assert done.returncode == 0, done.stderr[-3000:]
        ranks = [json.loads((folder / f"found{rank}.json").read_text()) for rank in range(processes)]
        results.append([list(one) for one in zip(*ranks)])
    return results


def test_our_stream_goes_on_with_other_workers_and_processes(found):
    """Six batches of 8 an epoch: step 4 of 9 is in the middle of the first epoch, step 8 of the second."""
    alone, in_two, again = found
    whole = alone[0][0]["steps"]
    assert [epoch for epoch, _ in whole] == [1] * 6 + [2] * 3
    expected = [[epoch, pytest.approx(loss, abs=1e-6)] for epoch, loss in whole]
    assert in_two[0][0]["steps"] + again[0][0]["steps"] == expected
    assert alone[1][0]["steps"] + in_two[1][1]["steps"] == expected
    rows = [row for batch in alone[0][0]["seen"][:6] for row in batch]
    assert sorted(rows) == list(range(41))
    halves = zip(alone[0][0]["seen"][:4], in_two[0][0]["seen"], in_two[0][1]["seen"])
    assert all(batch[::2] == first and batch[1::2] == second for batch, first, second in halves)


@pytest.mark.parametrize("place", [2, 5], ids=["torchdata", "datasets"])
@pytest.mark.parametrize("processes", [1, 2])
def test_others_streams_train_and_resume_as_they_are(found, place, processes):
    whole, begun, resumed = found[processes - 1][place : place + 3]
    for one, first, rest in zip(whole, begun, resumed):
        assert len(one["steps"]) == 9
        assert first["steps"] + rest["steps"] == one["steps"]
        assert first["seen"] + rest["seen"] == one["seen"]
    steps = [epoch for epoch, _ in whole[0]["steps"]].count(1)
    rows = sorted(row for one in whole for batch in one["seen"][:steps] for row in batch)
    assert len(rows) == len(set(rows))
    if processes == 1:
        assert rows == list(range(41))


def test_the_epoch_of_uneven_parts_ends_for_all_and_is_told(found):
    """`datasets` gives one process files of 15 and 9 rows, the other 11 and 6: 6 batches and 5."""
    first, second = found[1][5]
    assert [epoch for epoch, _ in first["steps"]] == [1] * 5 + [2] * 4
    assert any("another process has no more batches" in said for said in first["warned"])
    assert not second["warned"]


def test_a_shuffled_stream_of_datasets_trains_in_two_processes(found):
    first, second = found[1][8]
    assert first["steps"] == second["steps"]
    assert first["seen"][:5] != first["seen"][5:9] + first["seen"][:1]  # another order in another epoch


def test_an_unsplit_stream_is_refused_by_all(found):
    for one in found[1][9]:
        assert "gives several processes the same rows" in one["refused"]
        assert not one["steps"]


def test_a_place_of_other_processes_is_refused(found):
    assert "was kept by 2 processes, found 1" in found[2][1][0]["refused"]
