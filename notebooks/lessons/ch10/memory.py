"""The memory that a piece of work takes beyond what was there before (chapter 10)."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import torch

RESET, STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")


def peak_bytes(work: Callable[[], object]) -> int:
    """The most bytes that `work()` needs at once, beyond what the process holds before.

    On a GPU PyTorch counts itself, and on Linux the kernel does. Elsewhere the process's memory is looked at
    every two milliseconds. On a CPU the figure is rough by what the allocator has kept from earlier work.
    """
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        work()
        return torch.cuda.max_memory_allocated() - before
    before = psutil.Process().memory_info().rss
    return (_counted if RESET.exists() else _watched)(work) - before


def _counted(work: Callable[[], object]) -> int:
    """The process's peak in bytes, as the kernel counts it: 5 sets its highest value (VmHWM) to today's."""
    RESET.write_text("5", encoding="ascii")
    work()
    line = next(line for line in STATUS.read_text(encoding="ascii").splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


def _watched(work: Callable[[], object]) -> int:
    process, done = psutil.Process(), threading.Event()
    highest = process.memory_info().rss

    def watch() -> None:
        nonlocal highest
        while not done.is_set():
            highest = max(highest, process.memory_info().rss)
            time.sleep(0.002)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        work()
    finally:
        done.set()
        watcher.join()
    return highest
