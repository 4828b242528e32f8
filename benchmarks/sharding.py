"""SmolLM2 trained by 1, 2 and 4 processes, as copies (DDP) and with its weights shared out (FSDP2).

Writes results/sharding.json: the losses of 20 steps, bytes and peak memory of a process, seconds a step, the
time of a checkpoint in parts, and a run of four processes that goes on in two and in one. The processes share
this machine's cores, so seconds tell what the exchange costs here, not what more machines would gain.

Usage: python benchmarks/sharding.py [--layers N] [--steps N] [--output FILE]
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import torch

from helpers import environment
from helpers.data import sources
from helpers.data.chat import AnswerCollate, ChatDataset
from helpers.data.loaders import make_loader
from helpers.files import ROOT
from helpers.models.language import language_model
from helpers.training.archives import CHECKPOINT
from helpers.training.checkpoints import Keeper
from helpers.training.config import TrainingConfig
from helpers.training.loop import fit
from helpers.training.losses import CausalLM
from helpers.training.runtime import Runtime

RESULT = ROOT / "benchmarks/results/sharding.json"
WAYS = [("ddp", 1), ("ddp", 2), ("fsdp", 2), ("ddp", 4), ("fsdp", 4)]
BATCH, TOKENS = 8, 64  # a batch gives each of four processes two rows


def held(model, optimizer) -> dict[str, int]:
    """Bytes of a process: its own parts of parameters, gradients (as they are in a step) and moments."""
    own = [getattr(p, "to_local", lambda p=p: p)() for p in model.parameters()]
    weights = sum(part.untyped_storage().nbytes() for part in own)
    learnt = sum(part.untyped_storage().nbytes() for part in own if part.requires_grad)
    moments = [value for state in optimizer.state.values() for value in state.values() if value.ndim]
    parts = [getattr(value, "to_local", lambda v=value: v)() for value in moments]
    buffers = sum(buffer.untyped_storage().nbytes() for buffer in model.buffers())
    of_moments = sum(part.untyped_storage().nbytes() for part in parts)
    return {"weights": weights, "gradients": learnt, "moments": of_moments, "buffers": buffers}


def worker(options) -> None:
    """One training, in each of its processes; the first one prints what it found."""
    torch.set_num_threads(1)
    lm = language_model("smollm2", max_length=TOKENS)
    del lm.model.model.layers[options.layers :]
    lm.model.config.num_hidden_layers = len(lm.model.model.layers)
    frame = sources.comments().head(400)
    conversations = [sources.conversation(row) for _, row in frame.iterrows()]
    kept = [c for c in conversations if len(lm.tokenizer.apply_chat_template(c)["input_ids"]) <= TOKENS]
    rows = ChatDataset(kept, lm.tokenizer, TOKENS)
    runtime = Runtime(lm.model, "no", shard=options.way == "fsdp")
    collate = AnswerCollate(lm.tokenizer.pad_token_id)
    loader = make_loader(rows, BATCH, collate, shuffle=True, num_workers=0, **runtime.sharding)
    counts = {"max_steps": options.steps, "batch_size": BATCH, "evaluate_every": 10**6}
    counts["checkpoint_every"] = options.checkpoint_every or 10**6
    config = TrainingConfig(**counts, learning_rate=1e-4, precision="no", select="-loss")
    keeper, score = Keeper(), lambda _: {"loss": 0.0}
    if options.folder:
        resume = (options.folder / CHECKPOINT).is_file()
        keeper = Keeper(options.folder, resume=resume, scores=("loss",))
    losses, clock, began = [], [], time.perf_counter()
    for step in fit(lm.model, loader, config, loss=CausalLM(), score=score, runtime=runtime, keeper=keeper):
        losses.append(step.train_loss)
        clock.append(time.perf_counter() - began)
        if step.step == options.stop_at:
            break
        found = held(lm.model, keeper.optimizer)
        began = time.perf_counter()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    all_found = runtime.gather_objects({"held": found, "peak_bytes": peak})
    if runtime.is_main:
        seconds = sorted(clock)[len(clock) // 2]
        print("RESULT" + json.dumps({"losses": losses, "seconds_per_step": seconds, "clock": clock,
            "held": [each["held"] for each in all_found], "first_step": step.step - len(losses) + 1,
            "peak_bytes": [each["peak_bytes"] for each in all_found]}))  # fmt: skip
    sys.stdout.flush()
    runtime.wait()
    os._exit(0)  # a run that stops early has nothing to finish


def start(options, way: str, processes: int, *more) -> dict:
    """What a training by so many processes found."""
    launch = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"]
    command = [sys.executable, *(launch if processes > 1 else []), __file__, "--way", way]
    command += ["--layers", options.layers, "--steps", options.steps, *more]
    surroundings = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(list(map(str, command)), env=surroundings, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr[-3000:])
    line = next(line for line in done.stdout.splitlines() if line.startswith("RESULT"))
    return json.loads(line.removeprefix("RESULT"))


def resumed(options) -> dict:
    """Four processes begin, two go on, one ends; how long a checkpoint takes and how large it is."""
    with tempfile.TemporaryDirectory() as name:
        folder, third = Path(name), options.steps // 3
        go = partial(start, options)
        parts, plans = [], [("fsdp", 4, third), ("fsdp", 2, 2 * third), ("ddp", 1, 0)]
        for way, processes, stop_at in plans:
            more = ["--folder", folder, "--checkpoint-every", third, "--stop-at", stop_at]
            parts.append(go(way, processes, *more))
            if processes == 4:
                sizes = [file.stat().st_size for file in folder.glob("checkpoints/last-*/*")]
                # The last step of the first part ends with a checkpoint, the steps before it do not.
                seconds = parts[0]["clock"][-1] - parts[0]["seconds_per_step"]
        losses = [loss for part in parts for loss in part["losses"]]
        shutil.rmtree(folder / "checkpoints")
    return {"losses": losses, "checkpoint_bytes": sizes, "checkpoint_seconds": seconds,
            "first_steps": [part["first_step"] for part in parts]}  # fmt: skip


def measure(options) -> dict:
    """All that the result holds."""
    found = {f"{way} {processes}": start(options, way, processes) for way, processes in WAYS}
    alone = found["ddp 1"]["losses"]
    curve = resumed(options)
    for name, result in {**found, "resumed": curve}.items():
        result["largest_difference"] = max(abs(a - b) for a, b in zip(result["losses"], alone, strict=True))
        print(f"{name}: losses differ by {result['largest_difference']:.1e}", file=sys.stderr, flush=True)
    settings = {"layers": options.layers, "steps": options.steps, "batch": BATCH, "tokens": TOKENS}
    return {"settings": settings, "runs": found, "resumed": curve, "versions": environment.versions()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--layers", type=int, default=30)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--output", type=Path, default=RESULT)
    for name in ("--checkpoint-every", "--stop-at"):
        parser.add_argument(name, type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--way", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.way:
        worker(options)
    options.output.write_text(json.dumps(measure(options), indent=1) + "\n")


if __name__ == "__main__":
    main()
