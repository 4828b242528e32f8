"""One small network trained by several processes, right and wrong: the script that chapter 08 starts with
torchrun.

    torchrun --standalone --nproc_per_node 2 -m lessons.ch08.processes FOLDER

Each process writes, for each mode, its weights and a note into FOLDER; the chapter compares them with a
single process.
"""

import json
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, TensorDataset
from torch.utils.data.distributed import DistributedSampler

from helpers.data import sources
from helpers.data.samplers import BucketBatchSampler
from helpers.training.runtime import Runtime

MODES = {
    "shared batch": "each batch of 64 is split among the processes, gradients are averaged",
    "batch per process": "each process draws batches of 64 of its own, gradients are averaged",
    "nothing averaged": "each batch of 64 is split among the processes, and every process trains alone",
}
ROWS, BATCH, EPOCHS, LEARNING_RATE = 1280, 64, 3, 0.1


def silhouettes() -> tuple[TensorDataset, TensorDataset]:
    """Training rows and 400 others: pictures float32 (N, 784) in 0..1 and classes int64 (N,); the same rows
    in every process.
    """
    frame = sources.animals().sample(ROWS + 400, random_state=0)
    pictures = torch.stack([torch.from_numpy(image) for image in frame["image"]]).flatten(1) / 255
    classes = torch.tensor([sources.ANIMALS.index(label) for label in frame["label"]])
    return TensorDataset(pictures[:ROWS], classes[:ROWS]), TensorDataset(pictures[ROWS:], classes[ROWS:])


def loader_for(mode: str, rows: TensorDataset, processes: int, process: int) -> DataLoader:
    """This process's share of the training rows."""
    if mode == "batch per process":
        return DataLoader(
            rows, batch_size=BATCH, sampler=DistributedSampler(rows, processes, process, seed=0)
        )
    sampler = BucketBatchSampler([1] * len(rows), BATCH, num_processes=processes, process_index=process)
    return DataLoader(rows, batch_sampler=sampler)


def train(mode: str, rows: TensorDataset, *, processes: int = 1, process: int = 0) -> tuple[nn.Module, int]:
    """Train from the same first weights; returns this process's model and the number of its optimizer steps.

    Args:
        mode: one of `MODES`.
        rows: pictures (N, 784) and classes (N,).
        processes, process: how many train together, and which one this is; more than one needs a process
            group.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = nn.Sequential(
            nn.Linear(784, 64), nn.ReLU(), nn.Linear(64, 10)
        )  # no dropout: nothing random is left
    averaged = processes > 1 and mode != "nothing averaged"
    wrapped = DistributedDataParallel(model) if averaged else model
    optimizer, steps = torch.optim.SGD(model.parameters(), lr=LEARNING_RATE), 0
    loader = loader_for(mode, rows, processes, process)
    for epoch in range(EPOCHS):
        (loader.sampler if mode == "batch per process" else loader.batch_sampler).set_epoch(epoch)
        for pictures, classes in loader:
            loss = F.cross_entropy(wrapped(pictures), classes)
            optimizer.zero_grad()
            loss.backward()  # DistributedDataParallel averages the gradients of all processes in here
            optimizer.step()
            steps += 1
    return model, steps


def hits(model: nn.Module, rows: TensorDataset, *, processes: int = 1, process: int = 0) -> torch.Tensor:
    """Which of this process's share of `rows` the model labels rightly: float32 (n,) of 0 and 1."""
    pictures, classes = rows[process::processes]
    with torch.no_grad():
        return (model(pictures).argmax(1) == classes).float()


def main(folder: Path) -> None:
    """Train in every mode and write `MODE-PROCESS.safetensors` and `MODE-PROCESS.json`."""
    runtime = Runtime(precision="no")
    place = {"processes": runtime.num_processes, "process": runtime.process_index}
    rows, others = silhouettes()
    for mode in MODES:
        model, steps = train(mode, rows, **place)
        own = hits(model, others, **place)
        note = {
            "mode": mode,
            **place,
            "steps": steps,
            "own_accuracy": own.mean().item(),
            "gathered": runtime.gather(own).mean().item(),
        }
        save_file(model.state_dict(), folder / f"{mode}-{runtime.process_index}.safetensors")
        (folder / f"{mode}-{runtime.process_index}.json").write_text(json.dumps(note), encoding="utf-8")
    runtime.leave()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
