import os
import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from helpers.data import sources
from helpers.data.collate import PadCollate, collate_images
from helpers.data.datasets import ImageDataset, SampleError, TextDataset
from helpers.data.loaders import default_workers, make_loader, set_epoch
from helpers.data.picture_cache import PictureCache
from helpers.data.pictures import open_image
from helpers.data.transforms import ImagePreprocessing, copy_side, evaluation_preset, training_preset
from helpers.errors import InputError
from lessons.caching import CachedDataset
from lessons.ch02.comment_stream import CommentStream

PREPROCESSING = ImagePreprocessing(32, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


def test_text_samples_and_padded_batch(parts, text_classifier):
    frame = parts["train"].head(50)
    dataset = TextDataset(frame, text_classifier.preprocessor, sources.SENTIMENTS)
    assert len(dataset) == 50
    assert dataset[3]["index"] == 3
    assert sources.SENTIMENTS[dataset[3]["label"]] == frame["label"].iloc[3]
    batch = PadCollate(0)([dataset[i] for i in range(8)])
    assert batch["input_ids"].shape == batch["attention_mask"].shape == (8, dataset.lengths[:8].max())
    assert (batch["attention_mask"].sum(1).numpy() == dataset.lengths[:8]).all()
    assert (batch["input_ids"][batch["attention_mask"] == 0] == 0).all()
    reference = text_classifier.preprocessor.pad({"input_ids": dataset.input_ids[:8]}, return_tensors="pt")
    assert torch.equal(batch["input_ids"], reference["input_ids"])


@pytest.mark.parametrize(("multiple", "length"), [(1, 5), (5, 5), (4, 8), (64, 64)])
def test_padded_lengths_are_multiples(multiple, length):
    samples = [{"input_ids": ids, "index": i} for i, ids in enumerate([[5, 6, 7, 8, 9], [5, 6]])]
    batch = PadCollate(3, pad_to_multiple_of=multiple)(samples)
    assert batch["input_ids"].tolist() == [[5, 6, 7, 8, 9] + [3] * (length - 5), [5, 6] + [3] * (length - 2)]
    assert batch["attention_mask"].tolist() == [[1] * 5 + [0] * (length - 5), [1] * 2 + [0] * (length - 2)]
    assert batch["input_ids"].dtype == batch["attention_mask"].dtype == torch.int64


def test_unknown_label_is_named(parts, text_classifier):
    with pytest.raises(
        InputError, match=r"labels must be among good, found '(negative|neutral|positive)'.*5 rows in all"
    ):
        TextDataset(parts["train"].head(5), text_classifier.preprocessor, ("good",))


def test_augmentation_depends_on_seed_epoch_and_index_alone(animals):
    dataset = ImageDataset(animals.head(4), training_preset(PREPROCESSING), sources.ANIMALS, seed=1)
    first = dataset[2]["image"]
    state = torch.get_rng_state()
    assert torch.equal(dataset[2]["image"], first)
    assert torch.equal(torch.get_rng_state(), state), "the dataset moved the global random state"
    dataset.set_epoch(1)
    assert not torch.equal(dataset[2]["image"], first)
    dataset.set_epoch(0)
    assert torch.equal(dataset[2]["image"], first)


def test_workers_give_the_same_batches_as_the_main_process(animals):
    def batches(num_workers):
        dataset = ImageDataset(animals.head(24), training_preset(PREPROCESSING), sources.ANIMALS)
        loader = make_loader(dataset, 8, collate_images, shuffle=True, num_workers=num_workers)
        result = []
        for epoch in range(2):
            set_epoch(loader, epoch)
            result += [batch["images"] for batch in loader]
        return result

    alone, shared = batches(0), batches(2)
    assert len(alone) == 6
    assert all(torch.equal(a, b) for a, b in zip(alone, shared))
    assert not torch.equal(torch.cat(alone[:3]).sort(0).values, torch.cat(alone[3:]).sort(0).values), (
        "epoch 2 repeats epoch 1"
    )


@pytest.fixture
def photographs(tmp_path):
    files = [tmp_path / f"{number}.jpg" for number in range(6)]
    for number, file in enumerate(files):
        pixels = np.random.default_rng(number).integers(0, 256, (20, 30, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((600, 400), Image.Resampling.BICUBIC).save(file)
    return pd.DataFrame({"path": [str(file) for file in files], "label": "cat"})


def test_a_cache_changes_no_sample(photographs, tmp_path):
    side = copy_side(PREPROCESSING)

    def samples(cache, preset=training_preset):
        dataset = ImageDataset(photographs, preset(PREPROCESSING), ("cat",), cache=cache)
        return torch.stack([dataset[index]["image"] for index in range(len(dataset))])

    cache = PictureCache(tmp_path / "cache", side=side)
    plain, first, second = samples(PictureCache(None, side=side)), samples(cache), samples(cache)
    assert torch.equal(plain, first)
    assert torch.equal(plain, second)
    assert len(list(cache.folder.iterdir())) == 6
    difference = samples(None, evaluation_preset) - samples(cache, evaluation_preset)
    assert difference.abs().mean() < 0.05, "a shrunken photograph looks the same"


def test_a_sample_that_cannot_be_read_is_named(photographs):
    dataset = ImageDataset(photographs, evaluation_preset(PREPROCESSING), ("cat",))
    with open(photographs["path"][3], "wb") as file:
        file.write(b"damaged since the check")
    with pytest.raises(SampleError, match=r"3.jpg \(index 3\) cannot be read \(UnidentifiedImageError"):
        dataset[3]


def test_workers_by_default_for_much_work_on_files_alone(photographs, animals):
    def workers(frame, **options):
        return default_workers(ImageDataset(frame, evaluation_preset(PREPROCESSING)), **options)

    many = pd.concat([photographs] * 400)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    expected = min(cores, 4) if cores > 1 else 0
    if os.path.isdir("/dev/shm") and shutil.disk_usage("/dev/shm").free < 10**9:
        expected = 0  # a container
    assert workers(many) == expected
    assert workers(many, num_processes=cores) == 0
    assert workers(photographs) == workers(animals) == 0
    assert make_loader(ImageDataset(animals, evaluation_preset(PREPROCESSING)), 8, None).num_workers == 0


def test_evaluation_preset_scales_then_standardises(animals):
    white = np.full((28, 28), 255, np.uint8)
    tensor = evaluation_preset(PREPROCESSING)(open_image(white))
    assert tensor.shape == (3, 32, 32)
    assert tensor.dtype == torch.float32
    assert torch.allclose(tensor, torch.ones(()))


def test_open_image_makes_rgb_upright_and_closes_the_file(tmp_path):
    picture = Image.new("RGBA", (20, 10), (255, 0, 0, 128))
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held sideways
    picture.convert("RGB").save(tmp_path / "turned.jpg", exif=exif)
    picture.save(tmp_path / "alpha.png")
    assert open_image(tmp_path / "turned.jpg").size == (10, 20)
    assert open_image(tmp_path / "alpha.png").mode == "RGB"


def test_open_image_keeps_the_greys_of_16_bit_pictures(tmp_path):
    Image.fromarray(np.linspace(0, 65535, 64 * 64).reshape(64, 64).astype(np.uint16)).save(
        tmp_path / "scan.png"
    )
    assert len(np.unique(np.asarray(open_image(tmp_path / "scan.png")))) == 256


@pytest.mark.parametrize(("shard", "copies"), [(True, 1), (False, 2)])
def test_stream_with_two_workers(tmp_path, shard, copies):
    file = tmp_path / "rows.csv"
    file.write_text("text\n" + "\n".join(f"row {i}" for i in range(20)) + "\n")
    loader = torch.utils.data.DataLoader(CommentStream(file, shard=shard), batch_size=None, num_workers=2)
    seen = [row["text"] for row in loader]
    assert sorted(seen) == sorted(f"row {i}" for i in range(20) for _ in range(copies))


def test_cache_remembers(animals):
    calls = []
    dataset = ImageDataset(animals.head(3), lambda image: calls.append(1) or torch.zeros(1))
    cached = CachedDataset(dataset)
    assert [cached[1], cached[1]][0] is cached[1]
    assert len(calls) == 1
    assert len(cached) == 3
    labelled = CachedDataset(ImageDataset(animals.head(3), lambda image: torch.zeros(1), sources.ANIMALS))
    assert list(labelled.labels) == [0, 0, 0]
    assert not hasattr(labelled, "lengths")  # images have none: the loader then groups nothing
