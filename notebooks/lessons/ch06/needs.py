"""What a training of pictures needs: memory planned by counting, disk and minutes as far as measured."""

import json

import pandas as pd
import torch

from helpers import assets
from helpers.data import full
from helpers.files import ROOT
from helpers.models.images import image_model
from lessons import gpu_results
from lessons.ch06.performance import saved_bytes

BYTES_PER_WEIGHT = 16  # the weight, its gradient and AdamW's two moments, float32 each
UNKNOWN = "not measured"


def planned_bytes(name: str, size: int, batch: int) -> float:
    """Weights with gradients and moments, and the activations of a batch of `size` pixels, in float32.

    The activations are counted on the device "meta", which knows shapes and computes nothing.
    """
    model = image_model(name, 10, pretrained=False).to("meta").train()
    kept = saved_bytes(model, torch.empty(2, 3, size, size, device="meta")) / 2
    return BYTES_PER_WEIGHT * sum(p.numel() for p in model.parameters()) + kept * batch


def jobs() -> pd.DataFrame:
    """Five jobs, each with the memory of the training, RAM, the disk of its data and weights, and time."""
    animals = _results("case_studies")["animals, 2,000 training images"]["wall_seconds"]
    own = _results("photographs")
    stored = gpu_results.stored_gpu_results()
    peak, seconds = _on_gpu(stored, "efficientnet_lite0", 96, 4 * 2000)
    large_peak, large_seconds = _on_gpu(stored, "resnet50", 224, 1000)
    whole_peak, whole_time = _whole(stored)
    embedded = [assets.path("efficientnet_lite0.pth"), *assets.path("animals").glob("*.pickle.gz")]
    small = sum(file.stat().st_size for file in embedded) / 1e9
    copies = own["photographs"] * own["megabytes_each"] / 1e3
    large = (full.ASSETS["pets"].size + full.ASSETS["resnet50"].size) / 1e9
    asked = [
        (
            *("efficientnet_lite0", 96, 32, "2,000 animals, 4 epochs"),
            *(whole_peak, UNKNOWN, small, _minutes(animals) + whole_time),
        ),
        ("efficientnet_lite0", 96, 128, "the same", peak, UNKNOWN, small, seconds),
        (
            *("efficientnet_lite0", 96, 32, f"{own['photographs']} photographs of a phone"),
            *("no GPU", f"{own['copies']['peak_megabytes'] / 1e3:.1f} GB", copies),
            _minutes(own["copies"]["all"]),
        ),
        ("resnet50", 224, 32, "Pets", UNKNOWN, UNKNOWN, large, UNKNOWN),
        ("resnet50", 224, 128, "Pets", large_peak, UNKNOWN, large, large_seconds),
    ]
    rows = [
        {
            "job": f"{name}, {size} pixels, batch of {batch}: {what}",
            "GPU memory, planned": f"{planned_bytes(name, size, batch) / 1e9:.1f} GB",
            "measured": measured,
            "RAM": ram,
            "disk": f"{disk:.2f} GB",
            "time": time,
        }
        for name, size, batch, what, measured, ram, disk, time in asked
    ]
    return pd.DataFrame(rows).set_index("job")


def _on_gpu(stored: dict | None, model: str, size: int, pictures: int) -> tuple[str, str]:
    """Peak memory, and the time of so many pictures, of a GPU's steps in float32 on batches of 128."""
    usual = {"batch": 128, "precision": "float32", "layout": "channels_last", "mode": "training"}
    rows = gpu_results.measured(stored, "image_speed", model=model, size=size, **usual)
    if not rows:
        return UNKNOWN, UNKNOWN
    seconds = pictures / rows[0]["speed"]["median"]
    time = f"{pictures:,} pictures in {seconds:.1f} s on that GPU, steps alone"
    return f"{rows[0]['peak_bytes'] / 1e9:.1f} GB", time


def _whole(stored: dict | None) -> tuple[str, str]:
    """Peak memory of the case study on a GPU, and what it adds to the time on a CPU."""
    rows = gpu_results.measured(stored, "case_studies", task="images", training_rows=2000)
    if not rows:
        return UNKNOWN, ""
    peak = f"{rows[0]['peak_bytes'] / 1e9:.1f} GB in {rows[0]['precision']}"
    return peak, f", {rows[0]['whole']['median']:.0f} s on that GPU"


def _results(name: str) -> dict:
    return json.loads((ROOT / "benchmarks" / "results" / f"{name}.json").read_text(encoding="utf-8"))


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.1f} min on 2 CPU cores"
