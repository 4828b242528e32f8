"""How `benchmarks/gpu.py` measures: a part is a function that is called once for each of its entries there.

Data goes one way: the packed folder, `Bench`, a part, its figures.
"""

import functools
import itertools
import math
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import nn
from torch.nn import functional as F

from gpu_pack import LITE0, TEXT, Bench, endless
from helpers.data.collate import collate_images
from helpers.data.datasets import ImageDataset
from helpers.data.loaders import make_loader
from helpers.data.transforms import evaluation_preset, training_preset
from helpers.models.forward import forward
from helpers.training.loop import backward, evaluate, fit, predict_logits, to_device
from helpers.training.losses import Classification
from helpers.training.metrics import classification_metrics, macro_f1_interval
from helpers.training.runtime import Runtime
from helpers.tuning.optimization import make_optimizer, parameter_groups
from lessons.ch01.sizes import training_memory
from lessons.ch06.performance import finish

NEEDS_GPU = "needs a GPU"
# `autocast` is the runtime's precision; `allow_tf32` lets products and convolutions round float32 numbers.
PRECISIONS = {
    "float32": {"autocast": "no", "allow_tf32": False},
    "TF32": {"autocast": "no", "allow_tf32": True},
    "bf16": {"autocast": "bf16", "allow_tf32": False},
    "fp16": {"autocast": "fp16", "allow_tf32": False},
}
PHASES = ("data", "copy", "forward", "backward", "optimizer")
Step = Callable[[dict], None]  # what is done with one batch
SMALL_RATE = 1e-6  # a timing must not ruin the weights
ENDLESS = 20_000  # rows of JPEG files: no measurement comes to the end, where the workers' queues run empty


class Skipped(Exception):
    """An entry that is not measured here; the message says why."""


def figure(values: list[float], unit: str) -> dict:
    """Repeats of one measurement, as they are stored."""
    found = {"median": statistics.median(values), "min": min(values), "max": max(values)}
    rounded = {name: float(f"{value:.5g}") for name, value in found.items()}
    return rounded | {"repeats": len(values), "unit": unit}


def speed(call: Callable[[], object], rows: int, scale) -> dict:
    """Rows per second of `call`; the steps of a repeat follow each other without a wait, as in a training."""
    for _ in range(scale.warmup):
        call()
    steps = max(1, math.ceil(scale.seconds / seconds(call)))
    return figure([steps * rows / seconds(call, steps) for _ in range(scale.repeats)], "rows/s")


def seconds(call: Callable[[], object], times: int = 1) -> float:
    """How long so many calls take, until the device is done with them."""
    finish()
    start = time.perf_counter()
    for _ in range(times):
        call()
    finish()
    return time.perf_counter() - start


@contextmanager
def numbers(precision: str, bench: Bench) -> Iterator[str]:
    """Allow TF32 or not, as the precision asks; gives the name that `Runtime` has for it."""
    if not bench.on_gpu and precision in ("TF32", "fp16"):
        raise Skipped(NEEDS_GPU)
    products, convolutions = torch.backends.cuda.matmul, torch.backends.cudnn
    before = products.allow_tf32, convolutions.allow_tf32
    products.allow_tf32 = convolutions.allow_tf32 = PRECISIONS[precision]["allow_tf32"]
    try:
        yield PRECISIONS[precision]["autocast"]
    finally:
        products.allow_tf32, convolutions.allow_tf32 = before


def peak_of(call: Callable[[], object], bench: Bench) -> int | str:
    """The most bytes of the GPU in use while `call` runs."""
    if not bench.on_gpu:
        return NEEDS_GPU
    torch.cuda.reset_peak_memory_stats()
    seconds(call)
    return torch.cuda.max_memory_allocated()


def training_step(model: nn.Module, runtime: Runtime, called: nn.Module | None = None) -> Step:
    """One optimizer step of the course's loop on a batch; `called` is the compiled model, if there is one."""
    optimizer = make_optimizer("adamw", parameter_groups(model, SMALL_RATE))
    runtime.prepare(model, optimizer)
    model.train()
    called = model if called is None else called

    def step(batch: dict) -> None:
        backward(called, [batch], Classification(), runtime)
        runtime.step(model, optimizer, 1.0)

    return step


def inference_step(model: nn.Module, runtime: Runtime) -> Step:
    """One forward pass without gradients."""
    model.eval()

    def step(batch: dict) -> None:
        with torch.no_grad(), runtime.autocast():
            forward(model, batch)

    return step


STEPS = {"training": training_step, "inference": inference_step}


def rounding(bench: Bench, precision: str) -> dict:
    """How far a product and a convolution are from their exact results: does a precision do what it says?"""
    shapes = {"product": ((256, 256), (256, 256)), "convolution": ((4, 64, 16, 16), (64, 64, 3, 3))}
    errors = {name: [] for name in shapes}
    with numbers(precision, bench) as name:
        runtime = Runtime(precision=name)
        for seed, what in itertools.product(range(3), shapes):
            draw = torch.Generator().manual_seed(seed)
            inputs = [torch.randn(shape, generator=draw).to(bench.device) for shape in shapes[what]]
            operation = torch.matmul if what == "product" else F.conv2d
            with runtime.autocast():
                found = operation(*inputs).double()
            exact = operation(*(tensor.double() for tensor in inputs))
            errors[what].append(float((found - exact).norm() / exact.norm()))
    return {what: figure(values, "relative distance") for what, values in errors.items()}


def throughput(
    bench: Bench, model: str, mode: str, precision: str, batch: int, tokens=None, size=None, layout="planes"
) -> dict:
    """Rows per second and peak memory of training steps, or of forward passes, on a batch that lies ready."""
    with numbers(precision, bench) as name:
        network, rows = bench.ready(model, batch, tokens, size, layout)
        call = functools.partial(STEPS[mode](network, Runtime(network, name)), rows)
        return {"speed": speed(call, batch, bench.scale), "peak_bytes": peak_of(call, bench)}


def compiled(bench: Bench, model: str, batch: int, tokens=None, size=None) -> dict:
    """Training steps in bf16 without torch.compile and with it, and how long the first compiled one takes."""
    if not bench.on_gpu:
        raise Skipped(NEEDS_GPU)
    torch._dynamo.reset()
    network, rows = bench.ready(model, batch, tokens, size, "channels_last")
    runtime = Runtime(network, "bf16")
    plain = speed(functools.partial(training_step(network, runtime), rows), batch, bench.scale)
    call = functools.partial(training_step(network, runtime, torch.compile(network)), rows)
    first = figure([seconds(call)], "s")
    return {"plain": plain, "first_step": first, "compiled": speed(call, batch, bench.scale)}


def loading(bench: Bench, model: str, size: int, mode: str, workers: int) -> dict:
    """Rows per second from JPEG files to the end of a step, and for which share of the time the GPU waits."""
    classes, batch_size = bench.recipe(model)["classes"], bench.scale.loading_batch
    files = bench.jpegs * math.ceil(ENDLESS / len(bench.jpegs))
    preset = training_preset if mode == "training" else evaluation_preset
    transform = preset(replace(bench.classifier(model).preprocessor, size=size))
    dataset = ImageDataset(pd.DataFrame({"path": files, "label": classes[0]}), transform, tuple(classes))
    batches = iter(make_loader(dataset, batch_size, collate_images, shuffle=True, num_workers=workers))
    network = bench.network(model).to(memory_format=torch.channels_last)
    step = STEPS[mode](network, Runtime(network, "bf16"))
    speeds, shares = [], []
    for window in range(1 + bench.scale.windows):
        # The first window starts the workers, fills their queues and warms the network up; it does not count.
        least, least_time = (2, bench.scale.window) if window else (2 * workers + 3, 0.0)
        count, waited, start = 0, 0.0, time.perf_counter()
        while count < least or time.perf_counter() - start < least_time:
            asked = time.perf_counter()
            batch = next(batches)
            waited += time.perf_counter() - asked
            step(to_device(batch, bench.device))
            finish()  # else the next wait would overlap with this step, and nobody could say who waits
            count += 1
        took = time.perf_counter() - start
        speeds.append(count * batch_size / took)
        shares.append(waited / took)
    found = {"speed": figure(speeds[1:], "rows/s"), "waiting": figure(shares[1:], "share of the time")}
    kilobytes = statistics.mean(Path(file).stat().st_size for file in bench.jpegs) / 1000
    return found | {"batch": batch_size, "kilobytes_per_file": round(kilobytes, 1)}


def phases(bench: Bench, model: str, workers: int, synchronised: bool) -> dict:
    """Milliseconds of each phase of a recipe's step; not synchronised: as the clock of the CPU sees them."""
    config = bench.config(model, workers)
    batches = endless(bench.loader(model, "train", config))
    network = bench.network(model).train()
    runtime, loss, laps = Runtime(network, "bf16"), Classification(), []
    optimizer = make_optimizer("adamw", parameter_groups(network, SMALL_RATE))
    runtime.prepare(network, optimizer)

    def lap() -> None:
        if synchronised:
            finish()
        laps.append(time.perf_counter())

    for _ in range(bench.scale.warmup + bench.scale.phase_steps):
        lap()
        batch = next(batches)
        lap()
        batch = to_device(batch, runtime.device)
        lap()
        with runtime.autocast():
            mean = loss(network, batch) / loss.items(batch)
        lap()
        runtime.backward(mean)
        lap()
        runtime.step(network, optimizer, 1.0)
        lap()
    times = 1000 * np.diff(np.reshape(laps, (-1, 1 + len(PHASES))))[bench.scale.warmup :]  # (steps, phases)
    found = {phase: figure(values.tolist(), "ms") for phase, values in zip(PHASES, times.T)}
    waiting = figure((times[:, 0] / times.sum(1)).tolist(), "share of the time")
    return {"batch": config.batch_size, "phases": found, "waiting": waiting}


def memory(bench: Bench, model: str, precision: str, batch: int, tokens=None, size=None) -> dict:
    """Peak memory of a training step beside what the planner of chapter 01 says (bytes)."""
    bench.forget()
    network, rows = bench.build(model).model, bench.batch(model, batch, tokens, size)
    inputs = rows.get("images", {name: rows.get(name) for name in ("input_ids", "attention_mask")})
    planned = training_memory(network, inputs, precision="float32" if precision == "float32" else "mixed")
    found = {"planned_peak": planned.peak, "planned_total": planned.total, "measured": NEEDS_GPU}
    before = torch.cuda.memory_allocated() if bench.on_gpu else 0
    with numbers(precision, bench) as name:
        step = training_step(network, Runtime(network, name))
        call = functools.partial(step, to_device(rows, bench.device))
        call()  # creates the optimizer's values
        if bench.on_gpu:
            found["measured"] = figure([peak_of(call, bench) - before for _ in range(3)], "bytes")
    return found


def out_of_memory(bench: Bench, model: str, batch_norm: str, tokens=None, size=None) -> dict:
    """The gradient of many rows at once and in small parts: is it the same, and which runs out of memory?

    The limit is one that this process sets itself, half way between what the two need: the card stays free.
    """
    rows, parts = bench.scale.oom_rows, bench.scale.oom_parts
    ways = {"at_once": rows, "in_parts": rows // parts}  # rows that are on the device together
    network = bench.network(model).train(batch_norm == "of each part")  # else no dropout draws, either
    found = {"rows": rows, "parts": parts, "limit_bytes": NEEDS_GPU}
    times, peaks, distances = {way: [] for way in ways}, {}, []
    with numbers("float32", bench) as name:
        runtime = Runtime(network, name)

        def accumulate(whole: dict, size_of_part: int) -> None:
            network.zero_grad()
            pieces = zip(*(tensor.split(size_of_part) for tensor in whole.values()))
            backward(network, [dict(zip(whole, piece)) for piece in pieces], Classification(), runtime)

        for seed in range(3):
            whole, gradients = bench.batch(model, rows, tokens, size, seed), {}
            for way, size_of_part in ways.items():
                call = functools.partial(accumulate, whole, size_of_part)
                peaks[way] = peak_of(call, bench)
                times[way].append(seconds(call))
                gradients[way] = torch.cat([p.grad.cpu().flatten() for p in network.parameters()])
            exact = gradients["at_once"].double()
            distances.append(float((gradients["in_parts"] - exact).norm() / exact.norm()))
        if bench.on_gpu:
            found["limit_bytes"] = (peaks["at_once"] + peaks["in_parts"]) // 2
        for way, size_of_part in ways.items():
            call = functools.partial(accumulate, whole, size_of_part)
            ended = ended_under(found["limit_bytes"], call, network) if bench.on_gpu else NEEDS_GPU
            found[way] = {"seconds": figure(times[way], "s"), "peak_bytes": peaks[way], "ended": ended}
    return found | {"distance": figure(distances, "relative distance")}


def ended_under(limit: int, call: Callable[[], object], network: nn.Module) -> str:
    """How `call` ends when PyTorch may take `limit` bytes of the GPU: "ok", or the sentence of the error."""
    network.zero_grad()
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(limit / torch.cuda.mem_get_info()[1])
    try:
        seconds(call)
        return "ok"
    except torch.OutOfMemoryError as error:
        return str(error).split(". ")[0]
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)


def case_study(bench: Bench, task: str, training_rows: int) -> dict:
    """One of the course's two jobs from packed rows to its test scores; 0 rows are all of them."""
    bench.forget()
    if bench.on_gpu:
        torch.cuda.reset_peak_memory_stats()
    start = time.perf_counter()
    # The comments' tokens lie ready in memory, the pictures are augmented while the GPU works.
    name, workers = (TEXT, 0) if task == "text" else (LITE0, max(bench.scale.workers))
    config, network = bench.config(name, workers), bench.network(name)
    runtime = Runtime(network, config.precision)
    limits = {"train": training_rows, "validation": training_rows // 2, "test": 0}
    loaders = {split: bench.loader(name, split, config, limit) for split, limit in limits.items()}
    loss = Classification()
    if task == "text":  # half the label, half the shares of the raters' votes
        targets = torch.from_numpy(bench.comments["train_targets"])
        loss = Classification(distributions=targets[: training_rows or None])
    score = functools.partial(evaluate, loader=loaders["validation"], runtime=runtime)
    steps = sum(1 for _ in fit(network, loaders["train"], config, loss=loss, score=score, runtime=runtime))
    trained = time.perf_counter() - start
    logits, targets = predict_logits(network, loaders["test"], runtime), loaders["test"].dataset.labels
    groups = bench.comments["test_groups"] if task == "text" else None
    interval = macro_f1_interval(targets, logits.argmax(1), logits.shape[1], groups=groups)
    return {
        "rows": {split: len(loader.dataset) for split, loader in loaders.items()},
        "epochs": config.epochs,
        "steps": steps,
        "precision": runtime.precision,
        "num_workers": workers,
        "training": figure([trained], "s"),
        "whole": figure([time.perf_counter() - start], "s"),
        "peak_bytes": torch.cuda.max_memory_allocated() if bench.on_gpu else NEEDS_GPU,
        "validation": score(network),
        "test": asdict(classification_metrics(logits, targets)) | {"macro_f1_interval": interval},
    }
