"""Chapter 05: the exercises accept their answers and refuse wrong attempts with a sentence that helps."""

import os

import pandas as pd
import pytest
import torch
from PIL import Image, ImageOps
from torch.utils.data import Dataset

from lessons.ch05 import answers, building
from lessons.ch05 import exercises as ch05


class Base(answers.Pile):
    """The right answer with one fault put in by the classes below."""

    def read(self, path):
        with Image.open(path) as image:
            return building_rgb(image)

    def __getitem__(self, index):
        return {"image": self.transform(self.read(self.paths[index])), "label": self.labels[index]}


def building_rgb(image):
    from helpers.data.pictures import to_rgb

    return to_rgb(image)


class OnlyJpg(Base):
    def __init__(self, labels_file, classes, transform):
        super().__init__(labels_file, classes, transform)
        kept = [place for place, path in enumerate(self.paths) if path.suffix == ".jpg"]
        self.paths, self.labels = [self.paths[p] for p in kept], [self.labels[p] for p in kept]


class ByPosition(Base):
    def __init__(self, labels_file, classes, transform):
        super().__init__(labels_file, classes, transform)
        self.paths = sorted(self.paths)


class TheWholeFolder(Base):
    def __init__(self, labels_file, classes, transform):
        super().__init__(labels_file, classes, transform)
        self.paths = sorted((labels_file.parent / "pictures").iterdir())

    def __len__(self):
        return len(self.paths)


class NoRgb(Base):
    def read(self, path):
        with Image.open(path) as image:
            image.load()
            return image


class ConvertAlone(Base):
    def read(self, path):
        with Image.open(path) as image:
            return image.convert("RGB")


class ConvertUpright(Base):
    def read(self, path):
        with Image.open(path) as image:
            return ImageOps.exif_transpose(image).convert("RGB")


class AllOpen(Base):
    def read(self, path):
        self.kept = [*getattr(self, "kept", []), Image.open(path)]
        return super().read(path)


class Untransformed(Base):
    def __getitem__(self, index):
        return {"image": self.read(self.paths[index]), "label": self.labels[index]}


class LabelWords(Base):
    def __init__(self, labels_file, classes, transform):
        super().__init__(labels_file, classes, transform)
        self.labels = pd.read_csv(labels_file)["label"].tolist()


class FloatLabels(Base):
    @staticmethod
    def collate(samples):
        batch = answers.Pile.collate(samples)
        return batch | {"labels": batch["labels"].float()}


class ChannelsLast(Base):
    @staticmethod
    def collate(samples):
        batch = answers.Pile.collate(samples)
        return batch | {"images": batch["images"].movedim(1, -1)}


class NoCollate(Dataset):
    def __init__(self, labels_file, classes, transform):
        self.right = answers.Pile(labels_file, classes, transform)

    def __len__(self):
        return len(self.right)

    def __getitem__(self, index):
        return self.right[index]


WRONG = [
    (ch05.pile, OnlyJpg, "names 18 pictures, your dataset has 4"),
    (ch05.pile, TheWholeFolder, "your dataset has 20"),
    (ch05.pile, ByPosition, "Pair by name"),
    (ch05.pile, NoRgb, "convert to RGB first"),
    (ch05.pile, ConvertAlone, "shows its bar at"),
    (ch05.pile, ConvertUpright, "16-bit"),
    (ch05.pile, Untransformed, "the transform should give"),
    (ch05.pile, LabelWords, "is labelled"),
    (ch05.pile, FloatLabels, "should be int64"),
    (ch05.pile, ChannelsLast, "the batches have the shapes"),
    (ch05.pile, NoCollate, "AttributeError"),
    (ch05.three_logs, dict, "with the keys a, b, c"),
    (ch05.three_logs, lambda: {"a": "leak", "b": "leak", "c": "leak"}, "1 of 3 are right"),
    (ch05.three_logs, lambda: {"a": "leak", "b": "bad luck", "c": "leak"}, "found 'bad luck'"),
    (ch05.threshold, lambda: None, "one number between 0 and 1"),
    (ch05.threshold, lambda: True, "one number between 0 and 1"),
    (ch05.threshold, lambda: 0.9, "misses copies"),
    (ch05.threshold, lambda: 0.8, "misses copies"),  # where precision and recall are about equal
    (ch05.threshold, lambda: 0.3, "throws too many other comments away"),
]


@pytest.mark.parametrize(
    ("exercise", "attempt", "sentence"), WRONG, ids=lambda value: getattr(value, "__name__", None)
)
def test_wrong_attempts_are_refused_with_a_reason(exercise, attempt, sentence, refused):
    refused(exercise, attempt, sentence)


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="counts open files")
def test_files_that_stay_open_are_refused(refused):
    refused(ch05.pile, AllOpen, "files are still open")


@pytest.mark.parametrize("name", ch05.__all__)
def test_the_solutions_pass(name, capsys):
    exercise = getattr(ch05, name)
    exercise.check(exercise.answer)
    assert capsys.readouterr().out.startswith("Right.")


def test_a_band_of_thresholds_passes(capsys):
    for number in (0.6, 0.65, 0.7):
        ch05.threshold.check(lambda number=number: number)
        assert capsys.readouterr().out.startswith("Right.")


def test_every_hidden_form_shows_its_bar(tmp_path):
    rows = building.write_pile(tmp_path)
    assert sorted(rows["label"].unique()) == ["left", "right"]
    for row in rows.itertuples():
        with Image.open(tmp_path / row.file) as image:
            picture = building_rgb(image)
        tensor = torch.tensor(list(picture.tobytes())).reshape(16, 16, 3).movedim(-1, 0) / 255
        assert building._bar(tensor) == row.label, row.file
