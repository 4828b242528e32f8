"""What chapter 05 writes in its cells is what the package holds: split, pictures, transforms, loaders."""

import ast
import json
import os

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image, ImageOps
from sklearn.model_selection import StratifiedGroupKFold
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2
from transformers import AutoTokenizer

from helpers import assets
from helpers.data import collate, datasets, sources, splits
from helpers.data.pictures import open_image, to_rgb
from helpers.data.transforms import ImagePreprocessing, evaluation_preset, training_preset
from helpers.files import ROOT
from lessons.ch05 import inspection, planted_faults, repair

NAMES = {
    "np": np, "os": os, "torch": torch, "v2": v2, "Image": Image, "ImageOps": ImageOps, "Dataset": Dataset,
    "StratifiedGroupKFold": StratifiedGroupKFold, "pad_sequence": pad_sequence,
}  # fmt: skip
PREPROCESSING = ImagePreprocessing(96, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


WANTED = {
    "problem_of", "upright_rgb", "split_by_group", "decode", "LabelledPictures", "collate_pictures",
    "Comments", "collate_comments", "as_trained", "as_evaluated",
}  # fmt: skip


@pytest.fixture(scope="module")
def cell():
    """What the cells define under these names; the last definition counts, as in the notebook."""
    book = json.loads((ROOT / "notebooks" / "05_custom_datasets.ipynb").read_text(encoding="utf-8"))
    names, sources_of = dict(NAMES), ("".join(c["source"]) for c in book["cells"] if c["cell_type"] == "code")
    for source in sources_of:
        for node in ast.parse(source).body:
            targets = [target.id for target in getattr(node, "targets", []) if isinstance(target, ast.Name)]
            if WANTED & {getattr(node, "name", None), *targets}:
                exec(ast.unparse(node), names)
    assert names.keys() >= WANTED
    return names


@pytest.fixture(scope="module")
def pile(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pile")
    amounts = planted_faults.Amounts(
        pictures=120, comments=60, exact=4, near=6, normalised=3, conflicting=2, unreadable=6
    )
    truth = planted_faults.messy_pictures(folder, seed=3, amounts=amounts)
    planted_faults.messy_comments(folder, seed=3, amounts=amounts)
    return folder, truth


def test_the_same_files_are_bad(cell, pile):
    folder, _ = pile
    table = inspection.inspect_images(folder / "pictures")
    ours = [cell["problem_of"](folder / "pictures" / file) is not None for file in table["file"]]
    assert ours == table["problem"].notna().tolist()


def test_the_same_pixels_of_every_form(cell, pile):
    folder, truth = pile
    good = truth[~truth["kind"].isin(["unreadable", "hidden"])]
    assert set(good["form"]) >= set(planted_faults.FORMS)
    for row in good.itertuples():
        with Image.open(folder / row.file) as image:
            ours = np.asarray(cell["upright_rgb"](image))
        with Image.open(folder / row.file) as image:
            assert np.array_equal(ours, np.asarray(to_rgb(image))), row.form


def test_the_same_split(cell):
    rng = np.random.default_rng(0)
    rows = pd.DataFrame({"label": rng.choice(list("abc"), 400), "group": rng.integers(0, 250, 400)})
    for seed in (0, 7):
        ours, theirs = cell["split_by_group"](rows, seed), splits.split(rows, seed=seed)
        assert all(ours[name].equals(theirs[name]) for name in theirs)


def test_the_same_texts_of_bytes(cell, pile):
    folder, _ = pile
    for name in ("forum.csv", "office.csv", "survey.csv"):
        content = (folder / name).read_bytes()
        assert cell["decode"](content) == repair.decoded(content)[0]


@pytest.mark.parametrize("name", ["as_trained", "as_evaluated"])
def test_the_same_transforms(cell, name):
    preset = training_preset(PREPROCESSING) if name == "as_trained" else evaluation_preset(PREPROCESSING)
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 255, (120, 112, 3)).astype(np.uint8))
    for seed in range(5):
        torch.manual_seed(seed)
        ours = cell[name](picture)
        torch.manual_seed(seed)
        assert torch.equal(ours, preset(picture))


def test_the_same_batches_of_pictures(cell, pile):
    folder, truth = pile
    rows = truth[truth["kind"] == "original"].head(20).reset_index(drop=True)
    rows["path"] = [str(folder / file) for file in rows["file"]]
    ours = cell["LabelledPictures"](rows, cell["as_evaluated"], sources.ANIMALS)
    theirs = datasets.ImageDataset(rows, cell["as_evaluated"], sources.ANIMALS)
    for workers in (0, 2):
        context = "fork" if workers else None  # as the notebook's kernel does on Linux
        loader = DataLoader(
            ours, 6, collate_fn=cell["collate_pictures"], num_workers=workers, multiprocessing_context=context
        )
        for batch, start in zip(loader, range(0, 20, 6), strict=True):
            expected = collate.collate_images([theirs[i] for i in range(start, min(start + 6, 20))])
            assert {name: tensor.tolist() for name, tensor in batch.items()} == {
                name: tensor.tolist() for name, tensor in expected.items()
            }


def test_missing_files_are_told_at_once(cell, tmp_path):
    rows = pd.DataFrame({"path": [str(tmp_path / "no.png")], "label": ["cat"]})
    with pytest.raises(FileNotFoundError, match=r"1 files are missing, the first .*no\.png"):
        cell["LabelledPictures"](rows, None, sources.ANIMALS)


def test_the_same_batches_of_texts(cell, comments):
    tokenizer = AutoTokenizer.from_pretrained(assets.path("minilm"))
    rows = comments.head(12)
    ours = cell["Comments"](rows, tokenizer, sources.SENTIMENTS)
    theirs = datasets.TextDataset(rows, tokenizer, sources.SENTIMENTS)
    batch = cell["collate_comments"]([ours[i] for i in range(12)])
    expected = collate.PadCollate(tokenizer.pad_token_id)([theirs[i] for i in range(12)])
    assert set(batch) == set(expected)
    assert all(torch.equal(batch[name], expected[name]) for name in expected)


def test_open_image_reads_what_the_cell_reads(cell, pile):
    folder, truth = pile
    file = folder / truth.loc[truth["form"] == "turned", "file"].iloc[0]
    with Image.open(file) as image:
        assert np.array_equal(np.asarray(cell["upright_rgb"](image)), np.asarray(open_image(file)))
