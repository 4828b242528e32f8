"""The memory that a piece of work takes beyond what was there before (chapter 10)."""

import ctypes
import gc
import sys
import threading
import time
from collections.abc import Callable

import psutil
import torch


def peak_bytes(work: Callable[[], object]) -> int:
    """The most bytes that `work()` needs at once, beyond what the process holds before.

    On a GPU PyTorch counts itself; on a CPU the process's memory is looked at every two milliseconds. What
    earlier work has freed goes back to the system first, as far as the system's allocator (glibc) can.
    """
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        work()
        return torch.cuda.max_memory_allocated() - before
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim:
        trim(0)  # kept memory would be taken again, and its need not be seen
    process, done = psutil.Process(), threading.Event()
    before = highest = process.memory_info().rss

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
    return highest - before
