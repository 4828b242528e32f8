"""Where processes are spawned (macOS, Windows; Linux from Python 3.14 on likewise), a worker gets a pickled
copy of dataset, order and collate function, and imports their classes: the batches are the same.
"""

import json
import multiprocessing
import os
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from helpers.data import sources
from helpers.data.chat import AnswerCollate, ChatDataset, PackedCollate
from helpers.data.collate import PadCollate, collate_features, collate_images
from helpers.data.datasets import FeatureDataset, ImageDataset, TextDataset
from helpers.data.loaders import make_loader
from helpers.data.pairs import PairCollate, PairDataset
from helpers.data.picture_cache import PictureCache
from helpers.data.samplers import BucketBatchSampler
from helpers.data.shards import Shards
from helpers.data.streams import RowStream, stream_loader
from helpers.data.token_stream import TokenBlocks, TokenStream
from helpers.data.transforms import ImagePreprocessing, evaluation_preset, training_preset
from helpers.files import ROOT
from helpers.runs.recipes import RunConfig
from helpers.runs.streaming import Texts

PREPROCESSING = ImagePreprocessing(32, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


@pytest.fixture
def rows(animals, tmp_path):
    """24 pictures of three classes, every second one a file."""
    from PIL import Image

    frame = animals.groupby("label").head(8).head(24).reset_index(drop=True)
    files = [tmp_path / f"{number}.png" for number in range(len(frame))]
    for file, image in zip(files, frame["image"], strict=True):
        Image.fromarray(image).save(file)
    return frame, frame.drop(columns="image").assign(path=list(map(str, files)))


@pytest.fixture
def shards(comments, tmp_path):
    folder = tmp_path / "shards"
    folder.mkdir()
    for number in range(3):
        part = comments.iloc[number * 10 : number * 10 + 10]
        lines = [json.dumps({"text": row.text, "label": row.label}) for row in part.itertuples()]
        (folder / f"{number}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return Shards(folder)


@pytest.fixture
def kinds(rows, shards, comments, text_classifier, tokenizer, tmp_path):
    """{name: (dataset, row numbers of each batch or None, collate)} of everything that makes batches."""
    in_memory, in_files = rows
    texts = comments.head(12)
    talk = [{"role": "user", "content": "Hello?"}, {"role": "assistant", "content": "Good day."}]
    other = [*talk[:1], {"role": "assistant", "content": "No."}]
    pad = PadCollate(tokenizer.pad_token_id)
    train = training_preset(PREPROCESSING)
    cache = PictureCache(tmp_path / "copies", side=64)
    stream = TokenStream.write(tmp_path / "a.stream", texts["text"].tolist(), tokenizer, tokenizer.eos_token)
    own = Texts(RunConfig(task="text", data=str(shards.folder)), shards)
    collate_own = own.fit_to(SimpleNamespace(classifier=text_classifier))
    chats, pairs = ChatDataset([talk] * 6, tokenizer, 64), PairDataset([(talk, other)] * 6, tokenizer, 64)
    datasets = {
        "texts": (TextDataset(texts, tokenizer, sources.SENTIMENTS), pad),
        "pictures": (ImageDataset(in_memory, train, sources.ANIMALS, seed=3), collate_images),
        "files": (ImageDataset(in_files, evaluation_preset(PREPROCESSING), cache=cache), collate_images),
        "features": (FeatureDataset(np.ones((8, 4), np.float32), np.arange(8)), collate_features),
        "blocks": (TokenBlocks(stream, 16), torch.utils.data.default_collate),
        "chats": (chats, AnswerCollate(tokenizer.pad_token_id)),
        "packed": (chats, PackedCollate()),
        "pairs": (pairs, PairCollate(tokenizer.pad_token_id)),
    }
    made = {}
    for name, (dataset, collate) in datasets.items():
        order = BucketBatchSampler(getattr(dataset, "lengths", np.ones(len(dataset))), 4, shuffle=True)
        made[name] = (dataset, order, collate)
    made["stream"] = (RowStream(shards, 7, transform=own, buffer=12), None, collate_own)
    return made


def listed(value):
    if isinstance(value, torch.Tensor):
        return [str(value.dtype), value.tolist()]
    if isinstance(value, dict):
        return {name: listed(part) for name, part in value.items()}
    return value


def test_everything_that_makes_batches_can_be_sent_to_a_spawned_process(kinds, monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    from spawned import batches

    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as other:
        sent = other.submit(batches, kinds).result(timeout=300)
    here = batches(kinds)
    assert sorted(here) == sorted(kinds)
    for name, expected in here.items():
        assert len(expected) > 1
        assert list(map(listed, sent[name])) == list(map(listed, expected)), name


def test_spawned_workers_of_a_loader_give_the_same_batches_in_each_epoch(rows, shards):
    """Their start, the place they note and the epoch in shared memory go through the spawn, too."""
    dataset = ImageDataset(rows[1], training_preset(PREPROCESSING), sources.ANIMALS)
    loaders = [make_loader(dataset, 8, collate_images, shuffle=True, num_workers=count) for count in (0, 1)]
    loaders[1].multiprocessing_context = "spawn"
    for epoch in range(2):
        for loader in loaders:
            loader.batch_sampler.set_epoch(epoch)
        dataset.set_epoch(epoch)
        here, there = (list(map(listed, loader)) for loader in loaders)
        assert here == there
    assert dataset.loading[0, 0] > 0, "the worker has not noted its process"
    streams = [
        stream_loader(RowStream(shards, 7, transform=dict, buffer=12), list, count) for count in (0, 1)
    ]
    streams[1].multiprocessing_context = "spawn"
    assert list(streams[0]) == list(streams[1])


CELLS = """
import json, multiprocessing, sys
from pathlib import Path

import torch
from torch.utils.data import DataLoader, Dataset

from helpers.data import sources
from helpers.data.datasets import ImageDataset
from helpers.data.transforms import ImagePreprocessing, evaluation_preset

multiprocessing.set_start_method("spawn")
notebook = Path(sys.argv[1])
animals = sources.animals()
preset = evaluation_preset(ImagePreprocessing(32, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)))

cells = ["".join(c["source"]) for c in json.loads(notebook.read_text(encoding="utf-8"))["cells"]
         if c["cell_type"] == "code"]
for mark in ("class Animals(Dataset)", "observed = "):
    (cell,) = [cell for cell in cells if mark in cell]
    exec(cell)
"""


def test_chapter_02_sends_its_workers_what_they_can_import():
    """Its cell on processes; the others send classes of modules, as `show.code` tells."""
    surroundings = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'notebooks'}"}
    notebook = ROOT / "notebooks" / "02_datasets_and_dataloaders.ipynb"
    command = [sys.executable, "-c", CELLS, str(notebook)]
    done = subprocess.run(command, env=surroundings, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "num_workers=2: process ids 2, the notebook's own: False" in done.stdout
