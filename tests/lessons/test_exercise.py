"""The exercises judge rightly: each solution passes, and each typical wrong attempt fails with a sentence
that helps.
"""

import importlib

import pytest

from helpers.files import ROOT
from lessons.exercise import Exercise

CHAPTERS = sorted(file.parent.name for file in (ROOT / "notebooks" / "lessons").glob("*/exercises.py"))
MODULES = {name: importlib.import_module(f"lessons.{name}.exercises") for name in CHAPTERS}
EXERCISES = [
    pytest.param(value, id=f"{chapter}.{name}")
    for chapter, module in MODULES.items()
    for name, value in vars(module).items()
    if isinstance(value, Exercise)
]


def test_each_chapter_has_three():
    for chapter, module in MODULES.items():
        assert sum(isinstance(value, Exercise) for value in vars(module).values()) >= 3, chapter


@pytest.mark.parametrize("exercise", EXERCISES)
class TestEach:
    def test_solution_is_right(self, exercise, capsys):
        exercise.check(exercise.answer)
        assert capsys.readouterr().out.startswith("Right. ")

    def test_hints_and_solution_can_be_read(self, exercise, capsys):
        assert len(exercise.hints) >= 2
        exercise.hint()
        exercise.hint(99)
        exercise.solution()
        out = capsys.readouterr().out
        assert out.startswith("Hint 1 of ")
        assert f"Hint {len(exercise.hints)} of {len(exercise.hints)}" in out
        assert exercise.answer.__name__ in out

    def test_an_empty_attempt_is_not_right(self, exercise, capsys):
        exercise.check(lambda *_args, **_kwargs: ...)
        assert capsys.readouterr().out.startswith("Not yet: ")


def is_even(number):
    return number % 2 == 0


def _verify(attempt):
    if not attempt(4):  # a plain assert would be rewritten by pytest
        raise AssertionError("expected True for 4, found False")


def test_a_failing_attempt_is_reported_not_raised(capsys):
    exercise = Exercise(_verify, ("Think of the remainder.", "Use %."), is_even, "You know the remainder.")
    exercise.check(lambda number: 1 / 0)
    exercise.check(lambda number: False)
    exercise.check(is_even)
    assert capsys.readouterr().out.splitlines() == [
        "Not yet: your code stopped with ZeroDivisionError: division by zero.",
        "Not yet: expected True for 4, found False.",
        "Right. You know the remainder.",
    ]
