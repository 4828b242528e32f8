"""The exercises' common form: `check` an attempt, get a `hint`, read a `solution`.

A chapter's exercises are in its `exercises.py`, one right answer to each in the `answers.py` beside it.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Exercise:
    """One exercise of a chapter.

    Attributes:
        verify: called with the attempt; raises AssertionError with a sentence that says what was expected and
            what was found; may return a sentence that follows the praise, such as a score.
        hints: sentences, from a push in the right direction to nearly the answer.
        answer: one right attempt, under the name that the exercise asks for; `solution` shows its source.
        praise: what the learner has just shown, in one sentence.
    """

    verify: Callable[[object], str | None]
    hints: tuple[str, ...]
    answer: Callable
    praise: str

    def check(self, attempt: object) -> None:
        """Print whether the attempt (the function or class that was asked for) is right, else why not."""
        try:
            remark = self.verify(attempt)
        except AssertionError as error:
            print(f"Not yet: {error}.")
        except Exception as error:  # whatever a learner's code may raise is shown, never passed over
            print(f"Not yet: your code stopped with {type(error).__name__}: {error}.")
        else:
            print(f"Right. {self.praise} {remark or ''}".rstrip())

    def hint(self, number: int = 1) -> None:
        """Print hint 1, 2, ...; beyond the last one, the last one again."""
        place = min(max(number, 1), len(self.hints))
        print(f"Hint {place} of {len(self.hints)}: {self.hints[place - 1]}")

    def solution(self) -> None:
        """Print one right answer; there may be others."""
        print(inspect.getsource(self.answer).rstrip())
