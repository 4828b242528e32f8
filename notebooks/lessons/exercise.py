"""The exercises' common form: `check` an attempt, get a `hint`, read a `solution`. Each chapter's exercises
are in chNN.py.
"""

import inspect
import textwrap
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Exercise:
    """One exercise of a chapter.

    Attributes:
        verify: called with the attempt; raises AssertionError with a sentence that says what was expected and
            what was found.
        hints: from a push in the right direction to nearly the answer.
        answer: one right attempt, written as a learner would write it; `solution` shows its source.
        praise: what the learner has just shown, in one sentence.
    """

    verify: Callable[[object], None]
    hints: tuple[str, ...]
    answer: Callable
    praise: str

    def check(self, attempt: object) -> None:
        """Print whether the attempt (a function, a class or a value: the exercise says which) is right, and
        if not, why.
        """
        try:
            self.verify(attempt)
        except AssertionError as error:
            print(f"Not yet: {error}.")
        except Exception as error:  # whatever a learner's code may raise is shown, never passed over
            print(f"Not yet: your code stopped with {type(error).__name__}: {error}.")
        else:
            print(f"Right. {self.praise}")

    def hint(self, number: int = 1) -> None:
        """Print hint 1, 2, ...; beyond the last one, the last one again."""
        place = min(max(number, 1), len(self.hints))
        print(f"Hint {place} of {len(self.hints)}: {self.hints[place - 1]}")

    def solution(self) -> None:
        """Print one right answer; there may be others."""
        print(textwrap.dedent(inspect.getsource(self.answer)).rstrip())
