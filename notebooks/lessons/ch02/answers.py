"""One right answer to each exercise of chapter 02, written as a learner would write it."""

import csv
from pathlib import Path

import torch
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import Dataset


class TextFiles(Dataset):
    def __init__(self, labels_file, tokenize):
        folder = Path(labels_file).parent
        with open(labels_file, encoding="utf-8", newline="") as lines:
            rows = list(csv.DictReader(lines))
        self.files = [folder / row["file"] for row in rows]
        self.ratings = [float(row["rating"]) for row in rows]
        self.tokenize = tokenize
        missing = [str(file) for file in self.files if not file.exists()]
        if missing:
            raise FileNotFoundError(f"{len(missing)} files do not exist: {', '.join(missing)}")

    def __len__(self):
        return len(self.files)

    def __getitem__(self, index):
        text = self.files[index].read_text(encoding="utf-8")
        return {"input_ids": self.tokenize(text), "rating": self.ratings[index]}

    def collate(self, samples):
        rows = [torch.tensor(sample["input_ids"]) for sample in samples]
        return {
            "input_ids": pad_sequence(rows, batch_first=True),
            "attention_mask": pad_sequence([torch.ones_like(row) for row in rows], batch_first=True),
            "ratings": torch.tensor([sample["rating"] for sample in samples], dtype=torch.float32),
        }


def diagnosis():
    return {"A": "rows twice", "B": "healthy", "C": "never shuffled", "D": "transformed twice"}


def plan():
    # sorted by label: shuffle; much padding: bucket; 32 rows of 128 tokens fit, 64 do not;
    # reading waits about as long as two workers can hide behind the training
    return {"order": "shuffled, similar lengths together", "batch_size": 32, "num_workers": 3}
