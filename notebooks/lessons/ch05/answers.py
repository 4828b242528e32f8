"""One right answer to each exercise of chapter 05, written as a learner would write it."""

import pandas as pd
import torch
from PIL import Image
from torch.utils.data import Dataset

from helpers.data.pictures import to_rgb as upright_rgb  # the notebook's own is shorter


def threshold():
    return 0.69  # the cheapest on the shown pairs lies between 0.65 and 0.72: the middle is safe


def three_logs():
    return {"a": "leak", "b": "random change in validation", "c": "paired by position"}


class Pile(Dataset):
    def __init__(self, labels_file, classes, transform):
        table = pd.read_csv(labels_file)
        self.paths = [labels_file.parent / name for name in table["file"]]
        self.labels = [classes.index(label) for label in table["label"]]
        self.transform = transform

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, index):
        with Image.open(self.paths[index]) as image:
            picture = upright_rgb(image)
        return {"image": self.transform(picture), "label": self.labels[index]}

    @staticmethod
    def collate(samples):
        images = torch.stack([sample["image"] for sample in samples])
        return {"images": images, "labels": torch.tensor([sample["label"] for sample in samples])}
