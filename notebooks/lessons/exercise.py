"""The exercises' common form: `check` an attempt, get a `hint`, read a `solution`.

A chapter's exercises are in its `exercises.py`, one right answer to each in the `answers.py` beside it. What
a learner does with them is kept on her machine (`keeping`).
"""

import contextlib
import functools
import inspect
import re
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from helpers.progress import Work, chapter_of
from lessons import keeping


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
        """Print whether the attempt (the function or class that was asked for) is right, else why not.

        The cells after it draw the same random numbers as without it.
        """
        right = False
        try:
            with _random_numbers_kept():
                remark = self.verify(attempt)
        except AssertionError as error:
            print(f"Not yet: {error}.")
        except Exception as error:  # whatever a learner's code may raise is shown, never passed over
            print(f"Not yet: your code stopped with {type(error).__name__}: {error}.")
        else:
            right = True
            print(f"Right. {self.praise} {remark or ''}".rstrip())
        if right or not is_untouched(attempt):
            self._keep(functools.partial(keeping.tried, right=right))

    def hint(self, number: int = 1) -> None:
        """Print hint 1, 2, ...; beyond the last one, the last one again."""
        place = min(max(number, 1), len(self.hints))
        print(f"Hint {place} of {len(self.hints)}: {self.hints[place - 1]}")
        self._keep(functools.partial(keeping.hinted, number=place))

    def solution(self) -> None:
        """Print one right answer; there may be others."""
        print(inspect.getsource(self.answer).rstrip())
        self._keep(keeping.shown)

    def _keep(self, change: Callable[[Work], None]) -> None:
        """Keep what was done, if this is an exercise of a chapter."""
        named = _chapter_and_name(self)
        if named is not None:
            keeping.keep(*named, change)


def _random_numbers_kept() -> contextlib.AbstractContextManager:
    """What is drawn in here is drawn again afterwards; where nobody has loaded torch, nobody has drawn."""
    torch = sys.modules.get("torch")
    return torch.random.fork_rng(devices=[]) if torch else contextlib.nullcontext()


def _chapter_and_name(exercise: Exercise) -> tuple[str, str] | None:
    """The chapter of an exercise, and its name there: that of the variable which holds it."""
    for module in list(sys.modules):
        found = re.fullmatch(r"lessons\.(\w+)\.exercises", module)
        for name, value in vars(sys.modules[module]).items() if found else ():
            if value is exercise:
                return chapter_of(found[1]), name
    return None


def is_untouched(attempt: object) -> bool:
    """Whether an attempt is still what the notebook gives: nothing is done, or `...` is returned."""
    if inspect.isclass(attempt):
        return not any(callable(value) for value in vars(attempt).values())
    code, empty = getattr(attempt, "__code__", None), _empty.__code__
    if code is None:
        return False
    does_nothing = (code.co_code, code.co_consts) == (empty.co_code, empty.co_consts)
    return does_nothing or (Ellipsis in code.co_consts and not code.co_names)


def _empty(): ...


def check_keys(found: object, keys: Iterable[str]) -> None:
    """Raise AssertionError unless an attempt is a dictionary with exactly these keys."""
    if not isinstance(found, dict) or set(found) != set(keys):
        raise AssertionError(
            f"expected a dictionary with the keys {', '.join(map(str, keys))}, found {found!r}"
        )


def check_diagnosis(
    found: object, truth: dict[str, str], advice: str, *, words: Iterable[str] = (), what: str = "faults"
) -> None:
    """Raise AssertionError unless an attempt names the fault of every run.

    Args:
        found: what the learner's function returned.
        truth: the fault of each run.
        advice: how to look again, for an attempt that confuses some of them.
        words: all faults that may be named; by default those of `truth`.
        what: what they are called.
    """
    check_keys(found, sorted(truth))
    allowed = list(words) or sorted(truth.values())
    unknown = [value for value in found.values() if value not in allowed]
    if unknown:
        raise AssertionError(f"the {what} are {', '.join(allowed)}, found {unknown[0]!r}")
    right = sum(found[name] == fault for name, fault in truth.items())
    if right < len(truth):
        raise AssertionError(f"{right} of {len(truth)} are right; {advice}")


def check_causes(found: object, truth: dict[str, str], clues: dict[str, str], what: str = "") -> None:
    """Raise AssertionError unless an attempt names each cause, with the clue of the first that is wrong.

    Args:
        found: what the learner's function returned.
        truth: the cause of each case.
        clues: every cause that may be named, with the sign by which it is known.
        what: the kind of case, before its name.
    """
    if not isinstance(found, dict) or set(found) != set(truth) or set(found.values()) - set(clues):
        raise AssertionError(
            f"expected a dictionary with the keys {', '.join(truth)} and values out of: {'; '.join(clues)}; "
            f"found {found!r}"
        )
    for name, cause in truth.items():
        if found[name] != cause:
            raise AssertionError(f"{what} {name} is not {found[name]!r}: {clues[cause]}".strip())
