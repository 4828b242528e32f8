"""Scripts of the notebook's functions, and `torchrun` as a command that a cell waits for (chapter 12)."""

import contextlib
import inspect
import os
import re
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil

from helpers.files import ROOT

# What the chapter's cell of imports holds: the first lines of every script (a test compares the two).
IMPORTS = """\
import json
import os
import signal
import sys
import time
from datetime import timedelta
from pathlib import Path

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from safetensors.torch import load_file, save_file
from torch import nn
from torch.distributed.checkpoint.state_dict import get_state_dict, set_state_dict
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel

from lessons.ch09.decoder import Decoder, DecoderConfig
"""


def write_script(file: Path, imports: str, *functions: Callable) -> None:
    """A script of these functions: the imports, their sources, and a call of the last one.

    Args:
        imports: the lines that stand at its head.
        functions: defined in cells; the last one is called with the words of the command line.
    """
    sources = [inspect.getsource(function).rstrip() for function in functions]
    call = f"{functions[-1].__name__}(*sys.argv[1:])"
    parts = [imports.strip(), *sources, f'if __name__ == "__main__":\n    {call}']
    file.write_text("\n\n\n".join(parts) + "\n", encoding="utf-8")


def start(command: str, folder: Path) -> subprocess.Popen:
    """Start a `torchrun ...` command in `folder`; what it prints, errors too, waits in its `stdout`.

    One thread per process: the processes share the cores of this machine.
    """
    torchrun, *words = shlex.split(command)
    if torchrun != "torchrun":
        raise ValueError(f"expected a command that begins with torchrun, found {command!r}")
    env = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    env |= {"PYTHONWARNINGS": "ignore", "TORCH_CPP_LOG_LEVEL": "ERROR"}
    return subprocess.Popen(
        [sys.executable, "-m", "torch.distributed.run", *words],
        cwd=folder,
        env=env,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def finish(process: subprocess.Popen, timeout: float = 300) -> tuple[int, str]:
    """Its exit status and what it printed; after `timeout` seconds it and its workers are killed."""
    try:
        said, _ = process.communicate(timeout=timeout)
    finally:
        if process.poll() is None:
            for started in [*workers_of(process), process]:  # workers are not in torchrun's group
                with contextlib.suppress(psutil.NoSuchProcess):
                    started.kill()
            process.wait()
    return process.returncode, said


def run(command: str, folder: Path, timeout: float = 300) -> tuple[int, str]:
    """`start` and `finish`.

    Example: `status, said = launching.run("torchrun --standalone --nproc-per-node 2 train.py", scratch)`
    """
    began = time.perf_counter()
    status, said = finish(start(command, folder), timeout)
    print(f"$ {command}\n(exit status {status}, {time.perf_counter() - began:.0f} s)")
    return status, said


def lines_with(said: str, *words: str, width: int = 150) -> str:
    """The lines of an output that hold one of these words, cut to `width` characters.

    PyTorch's own errors begin with a place in its source, which is left out.
    """
    lines = [line for line in said.splitlines() if any(word in line for word in words)]
    return "\n".join(re.sub(r"\[/\S+:\d+\] ", "", line)[:width] for line in lines)


def free_port() -> int:
    """A port of this machine that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def slurm_text(folder: Path = ROOT / "docs" / "slurm") -> str:
    """The course's Slurm file, each line with its number; or that there is none."""
    files = sorted(file for file in folder.glob("*") if file.is_file())
    if not files:
        return "The course has no Slurm file yet."
    lines = files[0].read_text(encoding="utf-8").rstrip().splitlines()
    return "\n".join([files[0].name, *(f"{number:>3}  {line}" for number, line in enumerate(lines, start=1))])


def workers_of(torchrun: subprocess.Popen) -> list[psutil.Process]:
    """The processes that a running torchrun has started."""
    return psutil.Process(torchrun.pid).children(recursive=True)
