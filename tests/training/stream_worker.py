"""Trains from streams as plans say, in one process or, under torchrun, in several: for test_streams."""

import json
import sys
import warnings
from pathlib import Path

import torch
from datasets import load_dataset
from datasets.distributed import split_dataset_by_node
from torch.utils.data import IterableDataset
from torchdata.stateful_dataloader import StatefulDataLoader

from helpers.data import shards
from helpers.data.streams import RowStream, stream_loader
from helpers.errors import InputError
from helpers.training.checkpoints import Keeper
from helpers.training.config import TrainingConfig
from helpers.training.loop import fit
from helpers.training.losses import Classification
from helpers.training.runtime import Runtime


class Line(torch.nn.Module):
    """A model in which nothing but the rows and the weights counts."""

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(3, 3)

    def forward(self, features):
        return self.layer(features)


class Plain(IterableDataset):
    """It splits itself among the processes, and tells nobody."""

    def __init__(self, files, rank, world):
        self.lines = [line for file in files for line in Path(file).read_text().splitlines()]
        self.rank, self.world = rank, world

    def __iter__(self):
        yield from map(json.loads, self.lines[self.rank :: self.world])


def sample(row):
    number = row["number"]
    return {"features": torch.tensor([number / 50, 1.0, number % 7 / 7]), "number": number}


def collate(samples):
    rows = [sample(row) for row in samples]
    numbers = torch.tensor([row["number"] for row in rows])
    return {
        "features": torch.stack([row["features"] for row in rows]),
        "labels": numbers % 3,
        "indices": numbers,
    }


class Seeing(Classification):
    """Cross-entropy that notes the rows of each batch it is called with."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def __call__(self, model, batch):
        self.seen.append(batch["indices"].tolist())
        return super().__call__(model, batch)


def loader_of(kind, files, workers, runtime):
    rank, world = runtime.process_index, runtime.num_processes
    if kind == "ours":
        folder = Path(files[0]).parent
        stream = RowStream(shards.Shards(folder), 8, transform=sample, buffer=20, **runtime.sharding)
        return stream_loader(stream, collate, workers)
    if kind == "torchdata":
        data = Plain(files, rank, world)
    else:
        data = load_dataset("json", data_files=files, split="train", streaming=True)
        data = data.shuffle(seed=1, buffer_size=6) if kind == "shuffled" else data
        data = data if kind == "unsplit" else split_dataset_by_node(data, rank, world)
    return StatefulDataLoader(data, batch_size=8 // world, collate_fn=collate, num_workers=workers)


def train(plan, folder, runtime):
    """What one plan led to: [epoch, loss] of each step or a sentence, the rows seen, and warnings."""
    runtime.wait()  # the first process may still write what a plan before this one left
    files = sorted(map(str, (folder / "rows").iterdir()))
    loader, loss = loader_of(plan["kind"], files, plan.get("workers", 0), runtime), Seeing()
    torch.manual_seed(0)
    config = TrainingConfig(
        max_steps=9, learning_rate=0.05, checkpoint_every=1, patience=99, select="-loss", precision="no"
    )
    keeper = Keeper(folder / plan["run"], resume=plan.get("resume", False), scores=("loss",))
    options = {"loss": loss, "score": lambda model: {"loss": 1.0}, "runtime": runtime, "keeper": keeper}
    steps, refused = [], None
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        try:
            for step in fit(Line(), loader, config, **options):
                steps.append([step.epoch, step.train_loss])
                if len(steps) == plan.get("stop"):
                    break
        except InputError as error:
            refused = str(error)
    said = [str(one.message) for one in warned]
    return {"steps": steps, "refused": refused, "seen": loss.seen, "warned": said}


def main():
    folder, plans = Path(sys.argv[1]), json.loads(sys.argv[2])
    shards.BLOCK = 5
    runtime = Runtime(precision="no")
    found = [train(plan, folder, runtime) for plan in plans]
    (folder / f"found{runtime.process_index}.json").write_text(json.dumps(found))
    runtime.leave()


if __name__ == "__main__":
    main()
