"""How far long work has come: a bar on a terminal, else a line every few seconds (chapter 07)."""

import sys
import time
from contextlib import contextmanager, nullcontext

from helpers.files import is_first_process

SECONDS_BETWEEN_LINES = 10  # where progress goes to a file or a pipe
WORTH_A_BAR = 200


def progress_display():
    """What shows the steps of a training: a bar on a terminal, else lines; nothing but in the first process.

    Returns:
        A context with a function to call after each optimizer step: `show(step, planned)`, or None.
    """
    if not is_first_process():
        return nullcontext()
    return progress_bar() if sys.stderr.isatty() else nullcontext(ProgressLines().show)


@contextmanager
def progress_bar():
    """A bar over the optimizer steps, and a line for each evaluation; see `progress_display`."""
    from tqdm import tqdm

    with tqdm(unit="step", file=sys.stderr) as bar:

        def show(step, planned: int) -> None:
            bar.total = planned
            # The bar draws itself a few times a second; a loss read more often would only make a GPU wait.
            if bar.update(step.step - bar.n):
                bar.set_postfix_str(f"loss={step.train_loss:.3f}", refresh=False)
            if step.validation:
                bar.write(evaluation_text(step), file=sys.stderr)

        yield show


def evaluation_text(step) -> str:
    """The scores of an evaluation on one line."""
    scores = ", ".join(f"{name} {value:.3f}" for name, value in step.validation.items() if name != "n")
    best = " (best)" if step.is_best else ""
    return f"epoch {step.epoch}: validation {scores}{best}".replace("macro_f1", "macro-F1")


class ProgressLines:
    """For files and pipes: a line every ten seconds at most, and one for each evaluation."""

    def __init__(self, clock=time.monotonic):
        self.clock = clock
        self.begun = self.shown = clock()
        self.first = None

    def show(self, step, planned: int) -> None:
        """Write a line if it is time; the loss is not read before."""
        now = self.clock()
        if self.first is None:
            self.first = step.step - 1  # of a resumed run, whose earlier steps took none of this time
        if step.validation:
            print(evaluation_text(step), file=sys.stderr, flush=True)
        if now - self.shown >= SECONDS_BETWEEN_LINES:
            self.shown = now
            rate = (step.step - self.first) / (now - self.begun)
            place = f"step {step.step:,} of {planned:,} (epoch {step.epoch})"
            speed = f"{rate:.2f} steps/s, about {(planned - step.step) / rate:,.0f} s left"
            print(f"{place}: loss {step.train_loss:.3f}, {speed}", file=sys.stderr, flush=True)


@contextmanager
def counting(total: int, unit: str):
    """A bar, or lines, over `total` things; `advance(number)` says that so many more are done.

    Few things are not worth a bar; work that takes less than ten seconds writes no line.
    """
    if sys.stderr.isatty() and total >= WORTH_A_BAR:
        from tqdm import tqdm

        with tqdm(total=total, unit=f" {unit}", file=sys.stderr) as bar:
            yield bar.update
        return
    begun = shown = time.monotonic()
    done = 0

    def advance(number: int) -> None:
        nonlocal done, shown
        done, now = done + number, time.monotonic()
        if now - shown >= SECONDS_BETWEEN_LINES:
            shown = now
            rate = done / (now - begun)
            left = f"{rate:,.0f} {unit}/s, about {(total - done) / rate:,.0f} s left"
            print(f"{done:,} of {total:,} {unit}: {left}", file=sys.stderr, flush=True)

    yield advance
