"""The bottlenecks are real: the slow disk keeps a loader waiting, the small process is refused memory."""

import sys
import time

import pytest
import torch

from helpers.data.loaders import make_loader
from helpers.errors import InputError
from lessons.caching import CachedDataset
from lessons.ch06 import bottlenecks
from lessons.ch06.bottlenecks import SlowDisk, waiting_share, with_little_memory


class Numbers(torch.utils.data.Dataset):
    def __len__(self):
        return 8

    def __getitem__(self, index):
        return {"labels": index}


def collate(samples):
    return {"labels": torch.tensor([sample["labels"] for sample in samples])}


def loader(dataset):
    return make_loader(dataset, 4, collate)


def test_every_request_waits_and_whole_batches_wait_once():
    one_by_one = waiting_share(loader(SlowDisk(Numbers(), 0.02)), lambda batch: None)
    in_batches = waiting_share(loader(SlowDisk(Numbers(), 0.02, whole_batches=True)), lambda batch: None)
    assert one_by_one[0] < 8 / 0.16  # images per second: 8 requests of 0.02 s
    assert in_batches[0] > 1.5 * one_by_one[0]


def test_a_cache_waits_only_once():
    cached = loader(CachedDataset(SlowDisk(Numbers(), 0.02)))
    first, second = (waiting_share(cached, lambda batch: None) for _ in range(2))
    assert second[0] > 3 * first[0]


def test_waiting_is_told_from_working():
    def work(_batch):
        end = time.perf_counter() + 0.05
        while time.perf_counter() < end:
            pass

    assert waiting_share(loader(Numbers()), work)[1] < 0.5
    assert waiting_share(loader(SlowDisk(Numbers(), 0.05)), work)[1] > 0.5


def test_the_clock_waits_for_the_device_after_every_step(monkeypatch):
    done = []
    monkeypatch.setattr(bottlenecks, "finish", lambda: done.append("finish"))
    waiting_share(loader(Numbers()), lambda batch: done.append("step"))
    assert done == ["step", "finish"] * 2


def test_the_slow_disk_returns_the_same_samples():
    disk = SlowDisk(Numbers(), 0.0, whole_batches=True)
    assert len(disk) == 8
    assert disk[3] == {"labels": 3}
    assert disk.__getitems__([2, 5]) == [{"labels": 2}, {"labels": 5}]
    assert not hasattr(SlowDisk(Numbers(), 0.0), "__getitems__")


@pytest.mark.skipif(sys.platform != "linux", reason="limits of a process's memory differ on other systems")
def test_the_large_batch_does_not_fit_and_the_cures_do():
    ended = {row["way"]: row["ended"] for row in with_little_memory(640)}
    assert len(ended) == 5
    assert "can't allocate memory" in ended["one batch of 64"]
    assert ended["accumulate: 4 batches of 16"] == "ok"
    assert ended["checkpointing, one batch of 64"] == "ok"
    assert ended["frozen network, cached features"] == "ok"


def test_other_systems_are_told(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(InputError, match="works on Linux, found darwin"):
        with_little_memory(640)
