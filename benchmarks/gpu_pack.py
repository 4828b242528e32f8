"""The folder that travels to a machine without a network: written by `pack`, read by `Bench` (see gpu.py).

Weights travel in half precision, and of MiniLM's embeddings only those of tokens that occur in the comments.
"""

import functools
import gc
import itertools
import json
import shutil
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import nn
from torch.utils.data import DataLoader, Dataset

from helpers import assets, environment
from helpers.data.collate import PadCollate, collate_images
from helpers.data.datasets import ImageDataset, TextDataset, encode_labels
from helpers.data.loaders import make_loader, set_epoch
from helpers.data.sources import ANIMALS, SENTIMENTS
from helpers.data.transforms import evaluation_preset, training_preset
from helpers.errors import InputError
from helpers.models.pretrained import Classifier, image_classifier, text_classifier
from helpers.training.config import TrainingConfig
from helpers.training.loop import to_device

TEXT, LITE0, RESNET = "minilm", "efficientnet_lite0", "resnet50"
EMBEDDINGS = "bert.embeddings.word_embeddings.weight"
CLASSES = {"text": SENTIMENTS, "images": ANIMALS}
LAYOUTS = {"channels_last": torch.channels_last, "planes": torch.contiguous_format}
ARRAYS = ("comments", "animals")
EVALUATION_BATCH = 128
MOST_MEGABYTES = 50  # together with the course itself it must stay below 64 MiB


def pack(folder: Path, limit: int = 0) -> None:
    """Write weights, tokenizer, rows and the recipes' numbers into `folder`.

    Args:
        folder: is made where it does not exist.
        limit: at most so many rows of each split, for a dry run; 0 is all.

    Raises:
        InputError: the folder became too large.
    """
    from helpers.runs.recipes import default_training

    names = shutil.ignore_patterns("*.safetensors")
    shutil.copytree(assets.path(TEXT), folder / TEXT, ignore=names, dirs_exist_ok=True)
    comments, classifier = rows("text", limit), text_classifier(TEXT, CLASSES["text"])
    classifier.model.config.save_pretrained(folder / TEXT)  # it says how a text is summed up
    arrays = comment_arrays(comments, classifier)
    np.savez_compressed(folder / "comments.npz", **arrays)
    np.savez_compressed(folder / "animals.npz", **animal_arrays(rows("images", limit)))
    pictures = image_classifier(LITE0, CLASSES["images"])
    weights = {TEXT: halves(classifier.model), LITE0: halves(pictures.model)}
    weights[TEXT][EMBEDDINGS] = weights[TEXT][EMBEDDINGS][arrays["used_tokens"].tolist()]
    for name, tensors in weights.items():
        save_file(tensors, folder / f"{name}.safetensors")
    recipes = {
        task: {"classes": classes, "training": asdict(default_training(task, "full"))}
        for task, classes in CLASSES.items()
    }
    (folder / "recipes.json").write_text(json.dumps(recipes, indent=1) + "\n", encoding="utf-8")
    check_size(folder)


def check_size(folder: Path) -> None:
    """Print what `folder` holds; refuse one that is too large to travel."""
    sizes = {file: file.stat().st_size / 1e6 for file in sorted(folder.rglob("*")) if file.is_file()}
    for file, megabytes in sizes.items():
        print(f"{megabytes:8.2f} MB  {file.relative_to(folder)}")
    total = sum(sizes.values())
    print(f"{total:8.2f} MB in all")
    if total > MOST_MEGABYTES:
        found = f"{folder} must stay below {MOST_MEGABYTES} MB, found {total:.1f}"
        raise InputError(f"{found}; remove the folder and pack again")


def rows(task: str, limit: int) -> dict[str, pd.DataFrame]:
    """The prepared rows of a job; each split in the order in which `splits.subsample` draws from it."""
    from helpers.runs.recipes import RunConfig, prepare

    parts = prepare(RunConfig(task=task, limit=0)).splits
    return {name: frame.sample(len(frame), random_state=0)[: limit or None] for name, frame in parts.items()}


def comment_arrays(parts: dict[str, pd.DataFrame], classifier: Classifier) -> dict[str, np.ndarray]:
    """Tokens, lengths, labels and groups of each split, the soft targets, and all tokens that occur."""
    from helpers.runs.recipes import RunConfig, loss_of

    arrays = {"train_targets": loss_of(RunConfig(task="text"), parts["train"]).distributions.numpy()}
    for name, frame in parts.items():
        dataset = TextDataset(frame, classifier.preprocessor, classifier.classes)
        arrays[f"{name}_tokens"] = np.concatenate(dataset.input_ids).astype(np.uint16)
        arrays[f"{name}_lengths"] = dataset.lengths.astype(np.uint8)
        arrays[f"{name}_labels"] = dataset.labels.astype(np.uint8)
        arrays[f"{name}_groups"] = np.unique(frame["group"], return_inverse=True)[1].astype(np.uint16)
    tokens = [arrays[f"{name}_tokens"] for name in parts]
    return arrays | {"used_tokens": np.unique(np.concatenate(tokens))}


def animal_arrays(parts: dict[str, pd.DataFrame]) -> dict[str, np.ndarray]:
    """Silhouettes and labels of each split."""
    arrays = {f"{name}_images": np.stack(frame["image"]) for name, frame in parts.items()}
    labels = {name: encode_labels(frame, CLASSES["images"]) for name, frame in parts.items()}
    return arrays | {f"{name}_labels": values.astype(np.uint8) for name, values in labels.items()}


def halves(model: nn.Module) -> dict[str, torch.Tensor]:
    """All weights but those of the head, which are drawn anew, in half precision; counters stay integers."""
    return {
        name: (tensor.half() if tensor.is_floating_point() else tensor).contiguous()
        for name, tensor in model.state_dict().items()
        if not name.startswith("classifier.")
    }


class TokenRows(Dataset):
    """Tokenised rows of the packed comments; its samples are those of `TextDataset`."""

    def __init__(self, arrays: dict[str, np.ndarray], split: str, limit: int = 0):
        ends, rows = np.cumsum(arrays[f"{split}_lengths"], dtype=np.int64), slice(limit or None)
        self.input_ids = [part.tolist() for part in np.split(arrays[f"{split}_tokens"], ends[:-1])[rows]]
        self.labels = arrays[f"{split}_labels"][rows].astype(np.int64)
        self.lengths = arrays[f"{split}_lengths"][rows].astype(np.int64)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> dict:
        return {"input_ids": self.input_ids[index], "label": int(self.labels[index]), "index": index}


class Bench:
    """What every part needs: the packed weights and rows, the device, and how much is to be measured.

    Args:
        folder: written by `gpu.py pack`.
        scale: `gpu.FULL` or `gpu.QUICK`.
        temporary: folder for files that are made here.
    """

    def __init__(self, folder: Path, scale, temporary: Path):
        self.folder, self.scale, self.temporary = folder, scale, temporary
        self.device = torch.device(environment.device())
        self.on_gpu = self.device.type == "cuda"
        self.recipes = json.loads((folder / "recipes.json").read_text(encoding="utf-8"))
        self.comments, self.animals = (dict(np.load(folder / f"{name}.npz")) for name in ARRAYS)
        self.known_tokens = torch.from_numpy(self.comments["used_tokens"].astype(np.int64))  # (T,)
        self.classifier = functools.cache(self.build)

    def build(self, name: str) -> Classifier:
        """The packed weights with a fresh head; ResNet50's are random: speed and memory are the same."""
        environment.seed_everything(0)
        classes = tuple(self.recipe(name)["classes"])
        if name == TEXT:
            classifier = text_classifier(str(self.folder / name), classes, pretrained=False)
        else:
            classifier = image_classifier(name, classes, pretrained=False)
        if name == RESNET:
            return classifier
        packed = load_file(self.folder / f"{name}.safetensors")
        weights = {key: tensor.float() for key, tensor in packed.items()}
        if name == TEXT:  # rows of tokens that never occur were not packed
            table = torch.zeros_like(classifier.model.get_input_embeddings().weight)
            weights[EMBEDDINGS] = table.index_copy(0, self.known_tokens, weights[EMBEDDINGS])
        found = classifier.model.load_state_dict(weights, strict=False)
        if found.unexpected_keys or not all(key.startswith("classifier.") for key in found.missing_keys):
            raise InputError(f"the packed weights of {name} do not fit this machine's packages: {found}")
        return classifier

    def network(self, name: str) -> nn.Module:
        """A network on the device; it stays until `forget`."""
        return self.classifier(name).model.to(self.device)

    def forget(self) -> None:
        """Free the networks, and what the allocator keeps of them."""
        self.classifier.cache_clear()
        if self.on_gpu:
            gc.collect()
            torch.cuda.empty_cache()

    def recipe(self, name: str) -> dict:
        """Classes and training numbers of the course's job for a network."""
        return self.recipes["text" if name == TEXT else "images"]

    def config(self, name: str, num_workers: int) -> TrainingConfig:
        """The numbers of the course's job for a network, in a dry run with fewer rows and epochs."""
        changes = {"batch_size": self.scale.recipe_batch, "epochs": self.scale.case_epochs}
        given = {key: value for key, value in changes.items() if value is not None}
        return TrainingConfig(**self.recipe(name)["training"] | given | {"num_workers": num_workers})

    def batch(self, name: str, rows: int, tokens: int | None, size: int | None, seed: int = 0) -> dict:
        """Random rows on the CPU: of `tokens` tokens, every second row one shorter, or of `size` pixels."""
        draw = torch.Generator().manual_seed(seed)
        batch = {"indices": torch.arange(rows), "labels": torch.randint(3, (rows,), generator=draw)}
        if name != TEXT:
            images = torch.rand(rows, 3, size, size, generator=draw)
            return batch | {"images": images.contiguous(memory_format=torch.channels_last)}
        mask = torch.ones(rows, tokens, dtype=torch.int64)
        mask[1::2, -1] = 0
        ids = self.known_tokens[torch.randint(len(self.known_tokens), mask.shape, generator=draw)]
        return batch | {"input_ids": ids, "attention_mask": mask}

    def ready(self, name: str, rows: int, tokens: int | None, size: int | None, layout: str) -> tuple:
        """A network, and a `batch` for it, both on the device."""
        batch, memory_format = to_device(self.batch(name, rows, tokens, size), self.device), LAYOUTS[layout]
        if "images" in batch:
            batch["images"] = batch["images"].contiguous(memory_format=memory_format)
        return self.network(name).to(memory_format=memory_format), batch

    def loader(self, name: str, split: str, config: TrainingConfig, limit: int = 0) -> DataLoader:
        """The recipe's batches of packed rows; those of "train" are shuffled, and pictures augmented."""
        is_training, preprocessor = split == "train", self.classifier(name).preprocessor
        if name == TEXT:
            dataset, collate = TokenRows(self.comments, split, limit), PadCollate(preprocessor.pad_token_id)
        else:
            preset = training_preset if is_training else evaluation_preset
            frame, classes = self.silhouettes(split)[: limit or None], tuple(self.recipe(name)["classes"])
            dataset = ImageDataset(frame, preset(preprocessor), classes, seed=config.seed)
            collate = collate_images
        size = config.batch_size if is_training else EVALUATION_BATCH
        options = {"shuffle": is_training, "seed": config.seed, "num_workers": config.num_workers}
        return make_loader(dataset, size, collate, **options)

    def silhouettes(self, split: str) -> pd.DataFrame:
        """The packed pictures as `ImageDataset` reads them."""
        labels = [self.recipe(LITE0)["classes"][label] for label in self.animals[f"{split}_labels"]]
        return pd.DataFrame({"image": list(self.animals[f"{split}_images"]), "label": labels})

    @functools.cached_property
    def jpegs(self) -> list[str]:
        """JPEG files of noise whose detail falls off as in photographs: as large, and as slow to read."""
        width, height = self.scale.jpeg_size
        frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)) + 1 / width
        files = []
        for seed in range(self.scale.jpegs):
            noise = np.random.default_rng(seed).standard_normal((3, height, width))
            picture = np.fft.irfft2(np.fft.rfft2(noise) / frequency, s=(height, width))
            pixels = (128 + 50 * picture / picture.std()).clip(0, 255).astype(np.uint8)
            files.append(str(self.temporary / f"{seed}.jpg"))
            Image.fromarray(pixels.transpose(1, 2, 0)).save(files[-1], quality=90)
        return files


def endless(loader: DataLoader) -> Iterator[dict]:
    """Batches of one epoch after the other."""
    for epoch in itertools.count():
        set_epoch(loader, epoch)
        yield from loader
