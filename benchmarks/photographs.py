"""What large photographs cost: `train images` with small copies on disk, without them, and as it was before.

`python benchmarks/photographs.py` writes results/photographs.json: 80 photographs of 12 megapixels, 4 epochs;
about six minutes on 2 cores. `--photographs 24 --small 500` tries it in a minute and writes nothing.

* "in full": every picture is decoded in full in every epoch, by the training's own process.
* "no copies": decoded at a part of its size, shrunk, and nothing is kept.
* "copies": as `train` does it, beginning with an empty folder; "copies again": a second training.
* "shrunk before": the same photographs, made small before by hand.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from helpers.files import write_atomically

RESULTS = Path(__file__).resolve().parent / "results" / "photographs.json"
SIZE, CLASSES, EPOCHS = (4000, 3000), ("elephant", "giraffe"), 4
VARIANTS = ("in full", "no copies", "copies", "copies again", "shrunk before")


def photographs(folder: Path, number: int) -> None:
    """Write photographs of 2 to 5 MB: silhouettes as large objects with light, colour and grain."""
    from helpers.data import sources

    rng, animals = np.random.default_rng(0), sources.animals()
    grain = rng.normal(0, 6, (SIZE[1], SIZE[0], 1)).astype(np.float32)
    rough = [rng.normal(0, 25, (SIZE[1] // step, SIZE[0] // step)).astype(np.float32) for step in (8, 60)]
    texture = sum(np.asarray(Image.fromarray(part).resize(SIZE, Image.Resampling.BICUBIC)) for part in rough)
    for name in CLASSES:
        (folder / name).mkdir(parents=True)
        images = animals[animals["label"] == name]["image"].drop_duplicates(ignore_index=True)
        for place, image in enumerate(images.head(number // len(CLASSES))):
            mask = np.asarray(Image.fromarray(image).resize(SIZE, Image.Resampling.BICUBIC)) / 255
            ground, animal = rng.uniform(30, 225, (2, 3))
            shift = tuple(rng.integers(0, SIZE[1], 2))
            colours = ground + mask[..., None].astype(np.float32) * (animal - ground)
            pixels = colours + np.roll(texture, shift, (0, 1))[..., None] + np.roll(grain, shift, (0, 1))
            photo = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
            photo.save(folder / name / f"{place:03d}.jpg", quality=85)


def shrunk_before(source: Path, target: Path) -> None:
    """The same photographs as somebody would shrink them beforehand, to what the model needs."""
    from helpers.data.pictures import open_image
    from helpers.data.transforms import copy_side
    from helpers.models.images import PREPROCESSING

    side = copy_side(PREPROCESSING["efficientnet_lite0"])
    for file in sorted(source.rglob("*.jpg")):
        place = target / file.parent.name / f"{file.stem}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        open_image(file, shorter_side=side).save(place)


def train(variant: str, data: str, output: str) -> dict:
    """Seconds of the reading, of each epoch, and the scores; runs in a process of its own."""
    from helpers.runs import recipes, run
    from helpers.tasks import Images

    if variant == "in full":
        Images.cache = lambda *_, **__: None
    workers = 0 if variant == "in full" else None
    training = recipes.default_training("images", "full", epochs=EPOCHS, num_workers=workers)
    config = recipes.RunConfig("images", data=data, model="efficientnet_lite0", limit=0, training=training)
    start, ends, begun = time.perf_counter(), {}, []

    def on_step(step, _planned: int) -> None:
        begun.append(time.perf_counter() - start)
        ends[step.epoch] = begun[-1]

    metrics = run.train(config, Path(output), on_step=on_step)
    seconds = np.diff([0, *ends.values()])
    return {
        "first_epoch": round(float(seconds[0]), 2),  # with reading, check, model and its first batch
        "later_epochs": [round(float(value), 2) for value in seconds[1:]],
        "all": round(time.perf_counter() - start, 2),
        "accuracy": {name: metrics[name]["accuracy"] for name in ("validation", "test")},
        "loss": {name: metrics[name]["loss"] for name in ("validation", "test")},
        "peak_megabytes": peak_megabytes(),
    }


def check(folder: str) -> dict:
    """Seconds and memory of the check of many small pictures; runs in a process of its own."""
    from helpers import own

    before, start = peak_megabytes(), time.perf_counter()
    frame, _ = own.from_folder(folder)
    seconds = round(time.perf_counter() - start, 2)
    return {"pictures": len(frame), "seconds": seconds, "megabytes": peak_megabytes() - before}


def small_pictures(folder: Path, number: int) -> None:
    """Write JPEG files of 48 x 48 pixels."""
    from helpers.data import sources

    animals = sources.animals()
    for place in range(number):
        label, image = animals["label"][place % len(animals)], animals["image"][place % len(animals)]
        (folder / label).mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).resize((48, 48)).save(folder / label / f"{place:05d}.jpg")


def peak_megabytes() -> int:
    """Most memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def alone(*arguments: str, cache: Path) -> dict:
    """The result of this script in a fresh process, with copies in `cache`."""
    environment = os.environ | {"COURSE_CACHE": str(cache)}
    command = [sys.executable, __file__, *arguments]
    done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def measure(folder: Path, number: int, small: int) -> dict:
    """All figures of the module's first lines."""
    photographs(folder / "large", number)
    shrunk_before(folder / "large", folder / "small")
    sizes = [file.stat().st_size for file in (folder / "large").rglob("*.jpg")]
    nowhere = folder / "file"  # a file: nothing can be kept below it
    nowhere.touch()
    result = {
        "cores": os.cpu_count(),
        "photographs": len(sizes),
        "megabytes_each": round(statistics.mean(sizes) / 1e6, 2),
    }
    for variant in VARIANTS:
        data = folder / ("small" if variant == "shrunk before" else "large")
        cache = folder / "cache" if variant.startswith("copies") else nowhere
        result[variant] = alone("--train", variant, str(data), str(folder / f"run {variant}"), cache=cache)
        print(variant, result[variant], flush=True)
    result["megabytes_of_copies"] = round(
        sum(file.stat().st_size for file in (folder / "cache" / "pictures").iterdir()) / 1e6, 2
    )
    small_pictures(folder / "many", small)
    result["check"] = alone("--check", str(folder / "many"), cache=folder / "cache")
    print("check", result["check"], flush=True)
    return result


def main() -> None:
    """Measure, or one part of it in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photographs", type=int, default=80, metavar="N")
    parser.add_argument("--small", type=int, default=20_000, metavar="N")
    parser.add_argument("--train", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--check", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.train:
        print(json.dumps(train(*options.train)))
    elif options.check:
        print(json.dumps(check(options.check)))
    else:
        with tempfile.TemporaryDirectory() as folder:
            result = measure(Path(folder), options.photographs, options.small)
        if options.photographs >= parser.get_default("photographs"):
            write_atomically(RESULTS, json.dumps(result, indent=2).encode())


if __name__ == "__main__":
    main()
