"""Exercise of chapter 02 that diagnoses: four loaders of the same pictures, three of them with a fault."""

import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, get_worker_info

from helpers.data import sources
from lessons.ch02 import answers
from lessons.exercise import Exercise, check_causes

PER_CLASS, BATCH_SIZE = 24, 24
TRUTH = answers.diagnosis()
LOOK_AT = {
    "healthy": "its rows, their order and its pixels are all as they should be",
    "never shuffled": "compare the first ids of both epochs, and the labels beside them",
    "rows twice": "compare the number of rows with that of the other loaders",
    "transformed twice": "compare mean and standard deviation of the pixels with those of the other loaders",
}


class Pictures(Dataset):
    """Standardised silhouettes, class by class as in a folder.

    Samples: {"images": float32 (1, 28, 28), "labels": int, "indices": int}.

    Args:
        times: how often mean and standard deviation are taken out.
    """

    def __init__(self, times: int = 1):
        frame = sources.animals().groupby("label").head(PER_CLASS)
        self.images = torch.stack([torch.from_numpy(image)[None] for image in frame["image"]]) / 255
        self.labels = [sources.ANIMALS.index(label) for label in frame["label"]]
        mean, std = self.images.mean(), self.images.std()
        for _ in range(times):
            self.images = (self.images - mean) / std

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> dict:
        return {"images": self.images[index], "labels": self.labels[index], "indices": index}


class Stream(IterableDataset):
    """The pictures as a stream, in another order in each epoch; no worker keeps to its share."""

    def __init__(self):
        self.pictures = Pictures()

    def __iter__(self):
        worker = get_worker_info()  # its seed is that of the epoch and its own number
        generator = torch.Generator().manual_seed(worker.seed - worker.id)
        order = torch.randperm(len(self.pictures), generator=generator)
        return (self.pictures[index] for index in order.tolist())


def loaders() -> dict[str, DataLoader]:
    """Four loaders, "A" to "D"; a batch has `images` (B, 1, 28, 28), `labels` and `indices` (B,)."""

    def shuffled(dataset: Dataset, seed: int) -> DataLoader:
        return DataLoader(dataset, BATCH_SIZE, shuffle=True, generator=torch.Generator().manual_seed(seed))

    return {
        "A": DataLoader(Stream(), BATCH_SIZE, num_workers=2, generator=torch.Generator().manual_seed(5)),
        "B": shuffled(Pictures(), 1),
        "C": DataLoader(Pictures(), BATCH_SIZE),
        "D": shuffled(Pictures(times=2), 2),
    }


def _verify_diagnosis(attempt) -> None:
    check_causes(attempt(), TRUTH, LOOK_AT, "loader")


diagnosis = Exercise(
    verify=_verify_diagnosis,
    hints=(
        "All four read the same 240 pictures. Which figures of one loader differ from those of the others?",
        "A fault of rows shows in counts and ids, one of order in ids and labels, one of pixels in mean and "
        "standard deviation.",
    ),
    answer=answers.diagnosis,
    praise="Counts, ids, labels and two statistics of one epoch: print them before you train.",
)
