"""Signals that ask a program to end: Ctrl-C, SIGTERM of a scheduler, SIGHUP of a closed terminal."""

import contextlib
import signal
import threading
from collections.abc import Iterator

from helpers.errors import Interrupted, ProcessLost

ENDING = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


def ignore_signals() -> None:
    """Let a first signal that asks to end pass by: this process is about to end by itself."""
    for number in ENDING if threading.current_thread() is threading.main_thread() else ():
        signal.signal(number, signal.SIG_IGN)


class Signals:
    """Inside, a first ending signal is noted as `number` or, `at_once`, raises `Interrupted`.

    A second one ends the process. Signals that are ignored (nohup) stay so; other threads hear of none.
    """

    def __init__(self, *, at_once: bool):
        self.at_once, self.number = at_once, 0
        self.before: dict = {}

    def __enter__(self):
        if threading.current_thread() is threading.main_thread():
            found = {number: signal.getsignal(number) for number in ENDING}
            self.before = {
                n: handler for n, handler in found.items() if handler not in (None, signal.SIG_IGN)
            }
        for number in self.before:
            signal.signal(number, self._note)
        return self

    def __exit__(self, _, error, __):
        for number, handler in self.before.items():
            signal.signal(number, handler)
        # A loader's workers, or other processes, that the same signal has ended may make this one fail.
        is_told = isinstance(error, ProcessLost)  # torchrun ends the others by a signal when one has gone
        if self.number and (error is None or isinstance(error, Exception)) and not is_told:
            raise Interrupted(self.number) from error

    def _note(self, number: int, _) -> None:
        for other in self.before:
            signal.signal(other, signal.SIG_DFL)
        self.number = number
        if self.at_once:
            raise Interrupted(number)

    @contextlib.contextmanager
    def not_waiting(self) -> Iterator[None]:
        """A first signal in here raises at once."""
        self.at_once = True
        try:
            yield
        finally:
            self.at_once = False
