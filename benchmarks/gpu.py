"""Measure on ONE GPU what the chapters say about GPUs: speed, waiting, memory, and the two jobs end to end.

usage: python benchmarks/gpu.py pack FOLDER
       python benchmarks/gpu.py measure FOLDER [--output FILE_OR_FOLDER] [--minutes 8] [--quick --device cpu]

`pack` runs where the course is installed and writes one folder below 50 MB: weights in half precision,
cleaned and split rows, the comments already as tokens. `measure` runs on the machine with the GPU, in the
course's folder with PYTHONPATH=.:notebooks; it needs neither a network nor the course's data. It writes
benchmarks/results/gpu_CARD.json, which chapters 01, 03, 04, 06 and 07 draw when it is there.

That machine needs torch, torchvision, transformers, timm, accelerate, safetensors, numpy, pandas, pillow and
scikit-learn, and a C compiler for torch.compile; nothing else that the course requires is imported. A package
that is missing there travels as a wheel: `pip download --no-deps`, then `pip install --no-index --no-deps`.

Every entry of every part is guarded: one that fails leaves its sentence in the file, and the others go on.
None begins after `--minutes`, nor when it would take longer than what is left. Each figure has its repeats,
median, min and max; each time ends when the GPU is done. `--quick` tries all of it in tiny sizes, also with
`--device cpu`; such figures mean nothing.
"""

import argparse
import datetime
import itertools
import json
import operator
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from pathlib import Path

import gpu_pack
import gpu_parts
import torch
from gpu_pack import CLASSES, LAYOUTS, LITE0, RESNET, TEXT
from gpu_parts import PRECISIONS, STEPS

from helpers import environment
from helpers.errors import InputError
from helpers.files import ROOT, write_atomically


@dataclass(frozen=True)
class Scale:
    """How much is measured: see `FULL` and, for a dry run, `QUICK`."""

    repeats: int = 5
    seconds: float = 0.1  # least time of one repeat: many short steps are timed together
    warmup: int = 3
    text_batches: tuple = (16, 64, 256)
    tokens: tuple = (32, 128)  # the second with the middle batch only
    networks: tuple = ((LITE0, 96), (LITE0, 224), (RESNET, 224))
    image_batches: tuple = (32, 128, 512)  # all precisions and layouts with the middle one only
    workers: tuple = (0, 2, 4, 8)
    jpegs: int = 64  # files, read again and again
    jpeg_size: tuple = (500, 375)
    loading_batch: int = 64
    windows: int = 3  # repeats of the loading
    window: float = 1.0  # least seconds of each
    recipe_batch: int | None = None  # None: that of the recipe
    phase_steps: int = 30
    memory_texts: tuple = ((8, 16), (32, 32), (32, 128), (256, 128))  # rows and tokens
    memory_images: int = 64
    oom_rows: int = 256
    oom_parts: int = 8
    case_rows: tuple = (2000, 0)  # training rows; 0 is all
    case_epochs: int | None = None  # None: those of the recipe


FULL = Scale()
QUICK = Scale(
    repeats=1, seconds=0.0, warmup=0, text_batches=(1, 2, 3), tokens=(4, 5), image_batches=(2, 3, 4),
    networks=((LITE0, 32), (LITE0, 48), (RESNET, 32)), workers=(0, 2), jpegs=2, jpeg_size=(64, 48),
    loading_batch=2, windows=1, window=0.0, recipe_batch=2, phase_steps=2, memory_texts=((2, 8),),
    memory_images=2, oom_rows=4, oom_parts=2, case_rows=(8,), case_epochs=1,
)  # fmt: skip
QUICK_ROWS = 16  # of each split


@dataclass(frozen=True)
class Part:
    """One part of the measurement.

    Attributes:
        function: name of the function in `gpu_parts`.
        entries: the arguments of its calls, in order.
        needs: seconds that must be left to begin an entry, at full scale.
    """

    function: str
    entries: list[dict]
    needs: float = 5.0


def plan(scale: Scale) -> dict[str, Part]:
    """Every part with its entries; the last ones are those to miss first when time is short."""
    precisions, modes = axis("precision", PRECISIONS), axis("mode", STEPS)
    small, middle, large = scale.image_batches
    networks = [{"model": model, "size": size} for model, size in scale.networks]
    _, lite0, _ = networks
    texts = [{"model": TEXT, "batch": batch, "tokens": scale.tokens[0]} for batch in scale.text_batches]
    texts.append({"model": TEXT, "batch": scale.text_batches[1], "tokens": scale.tokens[1]})
    layouts = product(axis("batch", [middle]), axis("layout", LAYOUTS), precisions)
    batches = product(axis("batch", [small, large]), [{"layout": "channels_last", "precision": "bf16"}])
    phases = [{"model": TEXT, "workers": 0}]
    phases += product(axis("model", [LITE0]), axis("workers", [0, max(scale.workers)]))
    memory = [{"model": TEXT, "batch": batch, "tokens": tokens} for batch, tokens in scale.memory_texts]
    memory += product(networks, axis("batch", [scale.memory_images]))
    parts = [{"model": TEXT, "tokens": scale.tokens[1], "batch_norm": "none"}]
    parts += product([lite0], axis("batch_norm", ["of each part", "frozen"]))
    loading = product(networks, axis("mode", ["training"]), axis("workers", scale.workers))
    loading += product([lite0], axis("mode", ["inference"]), axis("workers", scale.workers))
    cases = product(axis("training_rows", scale.case_rows), axis("task", CLASSES))
    return {
        "rounding": Part("rounding", precisions),
        "text_speed": Part("throughput", product(texts, modes, precisions)),
        "image_speed": Part("throughput", product(networks, modes, layouts + batches)),
        "phases": Part("phases", product(phases, axis("synchronised", [True, False]))),
        "memory": Part("memory", product(memory, axis("precision", ["float32", "bf16"]))),
        "out_of_memory": Part("out_of_memory", parts),
        "case_studies": Part("case_study", cases, 60),
        "loading": Part("loading", loading, 10),
        "compile": Part("compiled", [texts[1], *product(networks, axis("batch", [middle]))], 60),
    }


def axis(name: str, values) -> list[dict]:
    """One argument with each of its values."""
    return [{name: value} for value in values]


def product(*axes: list[dict]) -> list[dict]:
    """Every combination of entries of the axes, the last axis the fastest."""
    return [reduce(operator.or_, entries) for entries in itertools.product(*axes)]


def run(parts: dict[str, Part], bench, results: dict, deadline: float, keep: Callable[[dict], None]) -> None:
    """Measure every entry of every part into `results["parts"]`; whatever fails, the others go on.

    Args:
        parts: of `plan`.
        bench: passed to every call.
        results: changed in place.
        deadline: time.monotonic() after which nothing begins.
        keep: called with the results after every entry.
    """
    for name, part in parts.items():
        start, rows = time.monotonic(), []
        results["parts"][name] = {"seconds": 0.0, "rows": rows}
        for entry in part.entries:
            left = deadline - time.monotonic()
            if left < (part.needs if bench.scale == FULL else 0):
                found = {"skipped": f"{max(0, left):.0f} s were left"}
            else:
                found = guarded(getattr(gpu_parts, part.function), bench, entry)
            rows.append(entry | found)
            results["parts"][name]["seconds"] = round(time.monotonic() - start, 2)
            keep(results)
        bench.forget()
        print(f"{name}: {len(rows)} entries in {time.monotonic() - start:.0f} s", flush=True)


def guarded(function: Callable, bench, entry: dict) -> dict:
    """What `function` found; an error, or a figure that is not a number, becomes a sentence."""
    try:
        found = function(bench, **entry)
        json.dumps(found, allow_nan=False)
        return found
    except gpu_parts.Skipped as reason:
        return {"skipped": str(reason)}
    except Exception as error:
        sentence = (str(error).strip() or "no reason given").splitlines()[0]
        print(f"{entry}: {type(error).__name__}: {sentence}", file=sys.stderr, flush=True)
        return {"error": f"{type(error).__name__}: {sentence}"}


def machine() -> dict:
    """Card, driver, versions, date, and how torch rounds and chooses by default."""
    found = {
        "device": environment.device(),
        "card": platform.machine(),
        "cpu_cores": os.cpu_count(),
        "date": datetime.date.today().isoformat(),
        "versions": environment.versions() | {"cuda": torch.version.cuda},
        "torch_defaults": {
            "float32_matmul_precision": torch.get_float32_matmul_precision(),
            "cudnn_allow_tf32": torch.backends.cudnn.allow_tf32,
            "cudnn_benchmark": torch.backends.cudnn.benchmark,
        },
    }
    if found["device"] != "cuda":
        return found
    card = torch.cuda.get_device_properties(0)
    return found | {
        "card": card.name,
        "driver": driver(),
        "compute_capability": f"{card.major}.{card.minor}",
        "multiprocessors": card.multi_processor_count,
        "memory_bytes": card.total_memory,
        "cudnn": torch.backends.cudnn.version(),
    }


def driver() -> str:
    """Version of the GPU's driver."""
    query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        return subprocess.run(query, capture_output=True, text=True, check=True, timeout=30).stdout.strip()
    except (OSError, subprocess.SubprocessError) as error:
        return f"unknown ({error})"


def results_file(output: Path, card: str) -> Path:
    """`output`; where it is a folder, the file in it that is named by the card: gpu_nvidia_h200.json."""
    name = re.sub("[^a-z0-9]+", "_", card.lower()).strip("_")
    return output / f"gpu_{name}.json" if output.is_dir() else output


def measure(folder: Path, output: Path, minutes: float, scale: Scale) -> Path:
    """Measure all parts with the packed `folder`; returns the file of the results.

    Raises:
        InputError: `folder` was not written by `pack`.
    """
    if not (folder / "recipes.json").is_file():
        raise InputError(f"{folder} holds no packed course; run `python benchmarks/gpu.py pack {folder}`")
    deadline = time.monotonic() + 60 * minutes
    results = {"scale": "full" if scale == FULL else "quick", "minutes": minutes, "machine": machine()}
    results |= {"precisions": PRECISIONS, "parts": {}}
    file = results_file(output, results["machine"]["card"])
    keep = lambda results: write_atomically(file, (json.dumps(results, indent=1) + "\n").encode())
    with tempfile.TemporaryDirectory() as temporary:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = temporary  # nothing that an earlier run has compiled
        run(plan(scale), gpu_pack.Bench(folder, scale, Path(temporary)), results, deadline, keep)
    return file


def main(arguments: list[str]) -> None:
    """Pack or measure, as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("command", choices=("pack", "measure"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--output", type=Path)
    parser.add_argument("--minutes", type=float, default=8)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args(arguments)
    try:
        if options.command == "pack":
            gpu_pack.pack(options.folder, QUICK_ROWS if options.quick else 0)
            return
        if options.device == "cpu":
            os.environ["CUDA_VISIBLE_DEVICES"] = ""  # before torch looks for a GPU
        if environment.device() != options.device:
            raise InputError("torch finds no GPU here; for a dry run on the CPU add --device cpu --quick")
        is_dry_run = options.quick or options.device == "cpu"
        if is_dry_run and options.output is None:
            raise InputError(
                "a dry run says nothing about a GPU, so it has no place by itself; give --output FILE"
            )
        output = options.output or ROOT / "benchmarks" / "results"
        print(measure(options.folder, output, options.minutes, QUICK if options.quick else FULL))
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main(sys.argv[1:])
