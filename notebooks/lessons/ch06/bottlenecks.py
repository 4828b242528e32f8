"""Two bottlenecks made on purpose: a disk that keeps a training waiting, too little memory (chapter 06)."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import Dataset

from helpers.errors import InputError
from helpers.models.pretrained import image_classifier
from lessons.ch06.performance import finish

PICTURES, PART, CLASSES, SIZE = 64, 16, 10, 96


class SlowDisk(Dataset):
    """A map-style dataset whose every request waits first, as over a network.

    Args:
        dataset: any map-style dataset.
        seconds: waited at each request, for one row (`__getitem__`) or for many (`__getitems__`).
        whole_batches: True offers `__getitems__`, so that a loader asks once per batch.
    """

    def __init__(self, dataset: Dataset, seconds: float, *, whole_batches: bool = False):
        self.dataset, self.seconds = dataset, seconds
        if whole_batches:
            self.__getitems__ = self._many

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int):
        time.sleep(self.seconds)
        return self.dataset[index]

    def _many(self, indices: list[int]) -> list:
        time.sleep(self.seconds)
        return [self.dataset[index] for index in indices]


def waiting_share(loader, step: Callable[[dict], object]) -> tuple[float, float]:
    """Run `step` on each batch; returns images per second, and the share of the time spent waiting."""
    waited, count, start = 0.0, 0, time.perf_counter()
    batches = iter(loader)
    while True:
        asked = time.perf_counter()
        batch = next(batches, None)
        if batch is None:
            break
        waited += time.perf_counter() - asked
        count += len(batch["labels"])
        step(batch)
        finish()  # a GPU still works on the step: what it takes is no waiting for the next batch
    total = time.perf_counter() - start
    return count / total, waited / total


def with_little_memory(megabytes: int) -> list[dict]:
    """Try five ways to learn from 64 pictures in a fresh process that may take only so much more memory.

    Args:
        megabytes: memory that the process may take beyond what it holds when the network is loaded.

    Returns:
        A list of {"way", "ended", "seconds"}; "ended" is "ok" or the first line of the error.

    Raises:
        InputError: this system cannot limit the memory of a process in this way (it is not Linux).
        RuntimeError: the process broke.
    """
    if sys.platform != "linux":
        raise InputError(
            f"limiting a process's memory works on Linux, found {sys.platform}; read the stored output of "
            "this cell"
        )
    command = [sys.executable, "-m", "lessons.ch06.bottlenecks", str(megabytes)]
    # What one way frees must be free for the next: without this, glibc keeps pieces of up to 32 MB for later
    # use. And the stacks of many threads would count, too.
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(sys.path),
        "MALLOC_MMAP_THRESHOLD_": "1000000",
        "OMP_NUM_THREADS": "2",
    }
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        raise RuntimeError(f"the process ended with {done.returncode}: {done.stderr[-500:]}")
    rows = [line.split("\t") for line in done.stdout.splitlines() if "\t" in line]
    return [{"way": way, "ended": ended, "seconds": float(seconds)} for way, ended, seconds in rows]


def limit_memory(megabytes: int) -> None:
    """Allow this process `megabytes` more than it holds now (Linux); a request beyond that is refused."""
    import resource

    with open("/proc/self/status", encoding="ascii") as status:
        held = next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmData"))
    limit = held + megabytes * 1_000_000
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


def ways(
    model: nn.Module, images: torch.Tensor, labels: torch.Tensor
) -> Iterator[tuple[str, Callable[[], None]]]:
    """Ways to get the gradient of the mean loss over pictures (N, 3, H, W) with labels (N,), by name."""

    def in_parts(size: int) -> None:
        for part, wanted in zip(images.split(size), labels.split(size)):
            loss = F.cross_entropy(model(part), wanted, reduction="sum") / len(images)
            loss.backward()

    def in_bf16(size: int) -> None:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            in_parts(size)

    def head_on_features() -> None:
        with torch.no_grad():
            features = torch.cat(
                [
                    model.forward_head(model.forward_features(part), pre_logits=True)
                    for part in images.split(PART)
                ]
            )
        F.cross_entropy(model.classifier(features), labels).backward()

    yield f"one batch of {len(images)}", lambda: in_parts(len(images))
    yield f"one batch of {len(images)} in bf16", lambda: in_bf16(len(images))
    yield f"accumulate: {len(images) // PART} batches of {PART}", lambda: in_parts(PART)
    model.set_grad_checkpointing(True)
    yield f"checkpointing, one batch of {len(images)}", lambda: in_parts(len(images))
    model.set_grad_checkpointing(False)
    yield "frozen network, cached features", head_on_features


def main(megabytes: int) -> None:
    """What the process of `with_little_memory` does: a tab-separated line per way."""
    torch.manual_seed(0)
    model = image_classifier(classes=tuple(map(str, range(CLASSES))), image_size=SIZE).model.train()
    images = torch.randn(PICTURES, 3, SIZE, SIZE).contiguous(memory_format=torch.channels_last)
    labels = torch.arange(PICTURES) % CLASSES
    limit_memory(megabytes)
    for name, way in ways(model, images, labels):
        model.zero_grad()
        start = time.perf_counter()
        try:
            way()
            ended = "ok"
        except (RuntimeError, MemoryError) as error:
            ended = str(error).strip().splitlines()[0]
        print(name, ended, f"{time.perf_counter() - start:.2f}", sep="\t", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]))
