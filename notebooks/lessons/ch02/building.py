"""Exercise of chapter 02 that builds: text files named in a labels file, as a dataset with its collate."""

import tempfile
import zlib
from pathlib import Path

import torch
from torch.utils.data import DataLoader, Dataset

from lessons.ch02 import answers
from lessons.exercise import Exercise

TEXTS = {
    "a/good.txt": ("what a film", 2.5),
    "b/long.txt": ("I would watch it again and again, in any café of the world", 1.75),
    "a/bad.txt": ("not a comedy", -3.25),
    "b/short.txt": ("no", -1.0),
    "none.txt": ("nothing to say here", 0.0),
}


def tokenize(text: str) -> list[int]:
    """A toy tokenizer: one id from 1 to 30,000 for every word."""
    return [zlib.crc32(word.encode()) % 30_000 + 1 for word in text.split()]


def _written(folder: Path, names: list[str]) -> Path:
    """Write the texts with these names, and a labels file of all; its order is not that of the alphabet."""
    for name in names:
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(TEXTS[name][0], encoding="utf-8")
    lines = [f"{name},{rating}" for name, (_, rating) in TEXTS.items()]
    table = folder / "labels.csv"
    table.write_text("\n".join(["file,rating", *lines]) + "\n", encoding="utf-8")
    return table


def _verify_texts(attempt: type) -> None:
    with tempfile.TemporaryDirectory() as folder:
        table = _written(Path(folder), list(TEXTS))
        dataset = attempt(table, tokenize)
        table.unlink()
        _verify_samples(dataset)
        _verify_batches(dataset)
    with tempfile.TemporaryDirectory() as folder:
        table = _written(Path(folder), [name for name in TEXTS if name != "b/short.txt"])
        _verify_refusal(attempt, table)


def _verify_samples(dataset) -> None:
    if not isinstance(dataset, Dataset):
        raise AssertionError("TextFiles should be a class that inherits from Dataset")
    if len(dataset) != len(TEXTS):
        raise AssertionError(
            f"for {len(TEXTS)} rows expected len(dataset) == {len(TEXTS)}, found {len(dataset)}"
        )
    for index, (text, rating) in enumerate(TEXTS.values()):
        sample = dataset[index]
        if not isinstance(sample, dict) or set(sample) != {"input_ids", "rating"}:
            raise AssertionError(
                "a sample should be a dictionary with exactly the keys input_ids and rating, found "
                f"{sample!r}"
            )
        if list(sample["input_ids"]) != tokenize(text):
            raise AssertionError(f"sample {index} should hold the ids of row {index + 1} of the labels file")
        if float(sample["rating"]) != rating:
            raise AssertionError(f"sample {index} should have the rating {rating}, found {sample['rating']}")


def _verify_batches(dataset) -> None:
    equal = dataset.collate([dataset[0], dataset[2]])  # two texts of three words
    if not isinstance(equal, dict) or set(equal) != {"input_ids", "attention_mask", "ratings"}:
        raise AssertionError("a batch should be a dictionary with input_ids, attention_mask and ratings")
    for name, tensor in equal.items():
        shape, dtype = ((2,), torch.float32) if name == "ratings" else ((2, 3), torch.int64)
        if not torch.is_tensor(tensor) or tensor.shape != shape or tensor.dtype != dtype:
            found = f"{tuple(tensor.shape)} {tensor.dtype}" if torch.is_tensor(tensor) else repr(tensor)
            raise AssertionError(f"of two texts of 3 words, {name} should be {shape} {dtype}, found {found}")
    loader = DataLoader(dataset, batch_size=2, shuffle=True, collate_fn=dataset.collate)
    found = {}
    for batch in loader:
        if batch["input_ids"].shape[1] != batch["attention_mask"].sum(1).max():
            raise AssertionError("a batch should be as long as its longest text, and its mask should say so")
        for ids, mask, rating in zip(*batch.values()):
            kept = mask.bool()
            if ids[~kept].any():
                raise AssertionError("padding should be 0 wherever the mask is 0")
            found[rating.item()] = ids[kept].tolist()
    if found != {rating: tokenize(text) for text, rating in TEXTS.values()}:
        raise AssertionError("after an epoch of shuffled batches some texts stand beside another's rating")


def _verify_refusal(attempt: type, table: Path) -> None:
    try:
        attempt(table, tokenize)
    except Exception as error:  # any kind will do, when it names the file
        if "short.txt" not in str(error):
            raise AssertionError(f"a missing file should be named; your error says {error}") from None
        return
    raise AssertionError(
        "b/short.txt does not exist and nobody said so: look for all files in __init__, not in the middle of "
        "the first epoch"
    )


texts = Exercise(
    verify=_verify_texts,
    hints=(
        "`csv.DictReader` gives one dictionary per row. In `__init__` store the paths and the ratings, and "
        "look whether each file exists; read the text in `__getitem__`.",
        "`collate(self, samples)` is a method: `pad_sequence(rows, batch_first=True)` pads rows of ids, and "
        "the same on rows of ones makes the mask.",
        "A list of Python floats becomes float32 only with `torch.tensor(..., dtype=torch.float32)`.",
    ),
    answer=answers.TextFiles,
    praise="It ran on files that you had not seen, shuffled, and it names a missing file before the first "
    "epoch.",
)
