"""Processes that load batches: one that hangs, dies or outlives its parent is told and ended (chapter 02)."""

import os
import re
import signal
import threading
import time
import weakref
from collections.abc import Iterator
from typing import ClassVar

import torch
from torch.utils.data import DataLoader, Dataset, get_worker_info

from helpers.errors import InputError


class WatchedLoader(DataLoader):
    """A DataLoader that says in one sentence which sample a worker was at when it hung or died."""

    started: ClassVar = weakref.WeakSet()  # loaders whose workers may die at any moment

    def __iter__(self) -> Iterator:
        if self.num_workers:
            self.started.add(self)
        try:
            batches = super().__iter__()  # the first worker may die before the last one is started
            if self.num_workers:
                _translate_signals()
        except RuntimeError as error:
            if "DataLoader worker" in str(error):
                raise _death(error) from error
            raise
        return self._translated(batches)

    def _translated(self, batches: Iterator) -> Iterator:
        try:
            yield from batches
        except RuntimeError as error:
            if "DataLoader timed out" in str(error):
                what = f"no batch came for {self.timeout:g} seconds: a process that loads batches hangs"
                remedy = "look at the disk or network that the files are on, or use 0 workers"
                raise InputError(f"{what}{_places(self.dataset)}; {remedy}") from error
            if "DataLoader worker" in str(error):
                raise _death(error) from error
            raise
        except (OSError, EOFError) as error:  # the pipe of a dead worker may break before torch looks at it
            time.sleep(1 if self.num_workers else 0)  # the signal of a death comes later, and says more
            dead = [child.pid for child in getattr(batches, "_workers", ()) if not child.is_alive()]
            if not dead:
                raise
            raise _death(RuntimeError(f"DataLoader worker (pid {dead[0]}) ended ({error!r})")) from error


def _translate_signals() -> None:
    """Make a sentence of what torch raises, in whatever the main process is doing, when a worker dies."""
    torchs = signal.getsignal(signal.SIGCHLD) if hasattr(signal, "SIGCHLD") else None
    if not callable(torchs) or hasattr(torchs, "translates"):
        return

    def translate(number, frame):
        try:
            torchs(number, frame)
        except RuntimeError as error:
            raise _death(error) from error

    translate.translates = True
    if threading.current_thread() is threading.main_thread():  # no other may set it
        signal.signal(signal.SIGCHLD, translate)


def _death(error: RuntimeError) -> InputError:
    reason = str(error).splitlines()[0].rstrip(". ")
    dead = {int(number) for number in re.findall(r"\d+", reason)}
    places = "".join(_places(loader.dataset, dead) for loader in list(WatchedLoader.started))
    remedy = "perhaps memory ran out: use fewer workers, smaller batches or smaller files"
    return InputError(f"a process that loads batches died{places}: {reason}; {remedy}")


def _places(dataset: Dataset, workers: set[int] | None = None) -> str:
    """Where all or some workers (process ids) are in a dataset that notes it, as a part of a sentence."""
    rows = getattr(dataset, "loading", torch.empty(0, 2, dtype=torch.int64)).tolist()
    at = [index for worker, index in rows if index >= 0 and (workers is None or worker in workers)]
    return f" at {', '.join(map(dataset.name_of, at))}" if at else ""


def start_worker(number: int) -> None:
    """Note which process worker `number` is, and end it soon after its parent, even where it hangs."""
    parent, loading = os.getppid(), getattr(get_worker_info().dataset, "loading", None)
    if loading is not None:
        loading[number] = torch.tensor([os.getpid(), -1])

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(2)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
