"""How the helpers say that an input is wrong: one sentence, or one line per bad row or file."""

from dataclasses import dataclass

MAX_LISTED = 20


class InputError(ValueError):
    """Something the user gave is wrong: the message says what, where, expected, found and what to do.

    The command line prints it without a traceback and exits with status 2.
    """


@dataclass(frozen=True)
class Problem:
    """One bad row or file of a dataset: `where` ("row 17 of my.csv") and `what` ("the text is empty")."""

    where: str
    what: str

    def __str__(self):
        return f"{self.where}: {self.what}"


class DataError(InputError):
    """Some rows or files are bad; `problems` holds them all, the message the first 20 and the count."""

    def __init__(self, problems: list[Problem], advice: str):
        self.problems = problems
        listed = "\n".join(f"  {problem}" for problem in problems[:MAX_LISTED])
        more = f"\n  ... and {len(problems) - MAX_LISTED} more" if len(problems) > MAX_LISTED else ""
        entries = "entry" if len(problems) == 1 else "entries"
        super().__init__(f"{len(problems)} bad {entries}; {advice}\n{listed}{more}")


class Interrupted(KeyboardInterrupt):
    """A signal asks the program to end. The exit status is 128 and its `number`, as in a shell."""

    def __init__(self, number: int, message: str = ""):
        self.number = number
        super().__init__(message)


class ProcessLost(InputError):
    """Another process of the run has ended, hangs or makes other calls; whoever notices it first says it."""


class OutOfMemory(InputError):
    """The memory is too small; met by one process of several alone, which says it itself."""
