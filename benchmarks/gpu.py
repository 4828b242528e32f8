"""Measure on ONE GPU what the chapters say about GPUs: speed, waiting, memory, and the two jobs end to end.

usage: python benchmarks/gpu.py pack FOLDER
       python benchmarks/gpu.py measure FOLDER [--output FILE_OR_FOLDER] [--minutes 15] [--keep]
                                       [--quick --device cpu]

`pack` runs where the course is installed and writes one folder below 50 MB: weights in half precision,
cleaned and split rows, the comments already as tokens. `measure` runs on the machine with the GPU, in the
course's folder with PYTHONPATH=.:notebooks; it needs neither a network nor the course's data. It writes
benchmarks/results/gpu_CARD.json, which the chapters draw when it is there. With `--keep` figures that this
file has already, of the same card and versions, stay, and the minutes go to what is missing.

That machine needs torch, torchvision, transformers, timm, accelerate, peft, safetensors, numpy, pandas,
pillow and scikit-learn, and a C compiler for torch.compile; nothing else that the course requires is
imported. A package that is missing there travels as a wheel: `pip download --no-deps`, then
`pip install --no-index --no-deps`.

Every entry of every part is guarded: one that fails leaves its sentence in the file, and the others go on.
None begins after `--minutes` (on an H100 all take 14), nor when it would take longer than what is left. Each
figure has its repeats, median, min and max; each time ends when the GPU is done. `--quick` tries all of it in
tiny sizes, also with `--device cpu`; such figures mean nothing.
"""

import argparse
import datetime
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

import gpu_language
import gpu_pack
import gpu_parts
from gpu_parts import PRECISIONS
from gpu_plan import FULL, QUICK, QUICK_ROWS, Part, Scale, plan
from helpers import environment
from helpers.errors import InputError
from helpers.files import ROOT, write_atomically

DECISIVE = ("python", "torch", "torchvision", "transformers", "accelerate", "peft", "timm", "cuda")


def run(
    parts: dict[str, Part],
    bench,
    results: dict,
    deadline: float,
    keep: Callable[[dict], None],
    earlier: dict | None = None,
) -> None:
    """Measure every entry of every part into `results["parts"]`; whatever fails, the others go on.

    Args:
        parts: of `plan`.
        bench: passed to every call.
        results: changed in place.
        deadline: time.monotonic() after which nothing begins.
        keep: called with the results after every entry.
        earlier: parts of an earlier run, whose figures are taken over.
    """
    print({name: round(part.expected * len(part.entries)) for name, part in parts.items()}, "s are expected")
    for name, part in parts.items():  # all at once: a run that is cut off loses nothing that was measured
        old = (earlier or {}).get(name, {"seconds": 0.0, "rows": []})
        ended = {"skipped": "the run ended before it"}
        rows = [measured_before(entry, part, old["rows"]) or entry | ended for entry in part.entries]
        results["parts"][name] = {"seconds": old["seconds"], "rows": rows}
    for name, part in parts.items():
        own, start, new = results["parts"][name], time.monotonic(), 0
        before = own["seconds"]
        for place, entry in enumerate(part.entries):
            left = deadline - time.monotonic()
            if "skipped" not in own["rows"][place]:
                continue
            if left < (part.needs if bench.scale == FULL else 0):
                own["rows"][place] = entry | {"skipped": f"{max(0, left):.0f} s were left"}
            else:
                own["rows"][place], new = entry | guarded(function_of(part), bench, entry), new + 1
            own["seconds"] = round(before + time.monotonic() - start, 2)
            keep(results)
        bench.forget()
        print(f"{name}: {new} of {len(own['rows'])} entries in {time.monotonic() - start:.0f} s", flush=True)


def function_of(part: Part) -> Callable:
    """What is called for each entry of a part."""
    return getattr(gpu_parts, part.function, None) or getattr(gpu_language, part.function)


def measured_before(entry: dict, part: Part, rows: list[dict]) -> dict | None:
    """The row with figures of this very entry in an earlier run."""
    names = {name for other in part.entries for name in other}
    for row in rows:
        if not {"skipped", "error"} & set(row) and all(row.get(name) == entry.get(name) for name in names):
            return row
    return None


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


def earlier_run(file: Path, now: dict) -> dict:
    """The results in `file`, to which this machine may add its own; without the file, none.

    Raises:
        InputError: they are of another card or of other versions.
    """
    if not file.is_file():
        return {"minutes": 0, "parts": {}}
    found = json.loads(file.read_text(encoding="utf-8"))
    names = [name for name in DECISIVE if found["machine"]["versions"].get(name) != now["versions"].get(name)]
    names += ["card"] * (found["machine"]["card"] != now["card"])
    if names:
        raise InputError(f"{file} has another {', '.join(names)}; measure all anew, without --keep")
    return found


def measure(folder: Path, output: Path, minutes: float, scale: Scale, is_kept: bool = False) -> Path:
    """Measure all parts with the packed `folder`; returns the file of the results.

    Args:
        is_kept: whether figures that the file has already are taken over, and only the others measured.

    Raises:
        InputError: `folder` was not written by `pack`, or what is to be kept is of another machine.
    """
    if not (folder / "recipes.json").is_file():
        raise InputError(f"{folder} holds no packed course; run `python benchmarks/gpu.py pack {folder}`")
    deadline, this = time.monotonic() + 60 * minutes, machine()
    file = results_file(output, this["card"])
    earlier = earlier_run(file, this) if is_kept else {"minutes": 0, "parts": {}}
    minutes = round(minutes + earlier["minutes"], 2)
    results = {"scale": "full" if scale == FULL else "quick", "minutes": minutes, "machine": this}
    results |= {"precisions": PRECISIONS, "parts": {}}
    keep = lambda results: write_atomically(file, (json.dumps(results, indent=1) + "\n").encode())
    with tempfile.TemporaryDirectory() as temporary:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = temporary  # nothing that an earlier run has compiled
        bench = gpu_pack.Bench(folder, scale, Path(temporary))
        run(plan(scale), bench, results, deadline, keep, earlier["parts"])
    return file


def main(arguments: list[str]) -> None:
    """Pack or measure, as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("command", choices=("pack", "measure"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--output", type=Path)
    parser.add_argument("--minutes", type=float, default=15)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--keep", action="store_true", help="measure only what the file has no figures of")
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
        scale = QUICK if options.quick else FULL
        print(measure(options.folder, output, options.minutes, scale, options.keep))
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main(sys.argv[1:])
