"""The exercises judge rightly, and what `solution` prints is what the notebook asks for and can run."""

import ast
import builtins
import dis
import importlib
import json
import re
import types

import pytest
import torch

from helpers.files import ROOT
from lessons.exercise import Exercise

CHAPTERS = sorted(file.parent.name for file in (ROOT / "notebooks" / "lessons").glob("*/exercises.py"))
MODULES = {name: importlib.import_module(f"lessons.{name}.exercises") for name in CHAPTERS}
EXERCISES = {
    f"{chapter}.{name}": value
    for chapter, module in MODULES.items()
    for name, value in vars(module).items()
    if isinstance(value, Exercise)
}


def code_cells(path) -> dict[str, str]:
    """The code cells of a notebook with what each has printed."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return {
        "".join(cell["source"]): "".join("".join(output.get("text", "")) for output in cell["outputs"])
        for cell in cells
        if cell["cell_type"] == "code"
    }


def asked_for() -> tuple[dict[str, tuple[str, list[str]]], dict[str, tuple[str, str]]]:
    """For each exercise, the cell that a learner fills in, and all code cells of its notebook; then the name
    of the exercises there, and what the cell has printed.
    """
    asked, printed = {}, {}
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        cells = code_cells(path)
        imported = re.search(r"from lessons\.(\w+) import exercises as (\w+)", "\n".join(cells))
        for cell in cells if imported else ():
            checked = re.search(rf"^{imported[2]}\.(\w+)\.check\(", cell, flags=re.M)
            if checked:
                asked[f"{imported[1]}.{checked[1]}"] = cell, list(cells)
                printed[f"{imported[1]}.{checked[1]}"] = imported[2], cells[cell]
    return asked, printed


ASKED, PRINTED = asked_for()


def heading(definition: ast.FunctionDef | ast.ClassDef) -> str:
    """Name and arguments of a function, or name and bases of a class."""
    rest = definition.args if isinstance(definition, ast.FunctionDef) else ast.Tuple(definition.bases)
    return f"{definition.name}: {ast.unparse(rest)}"


def global_names(code: types.CodeType) -> set[str]:
    """What a piece of code, and all functions in it, look up outside of themselves."""
    names = {i.argval for i in dis.get_instructions(code) if i.opname in ("LOAD_GLOBAL", "LOAD_NAME")}
    return names.union(*(global_names(c) for c in code.co_consts if isinstance(c, types.CodeType)))


def names_of(cells: list[str]) -> set[str]:
    """What the cells import, define or assign."""
    found = set()
    for node in ast.walk(ast.parse("\n".join(cells))):
        if isinstance(node, ast.alias):
            found.add(node.asname or node.name.split(".")[0])
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
    return found


def printed_solution(exercise, capsys) -> str:
    exercise.solution()
    return capsys.readouterr().out


def test_each_chapter_has_three_and_its_notebook_asks_for_all():
    for chapter in CHAPTERS:
        assert sum(name.startswith(f"{chapter}.") for name in EXERCISES) >= 3, chapter
    assert set(ASKED) == set(EXERCISES)


@pytest.mark.parametrize("name", EXERCISES)
class TestEach:
    def test_solution_defines_what_the_notebook_asks_for(self, name, capsys):
        cell, _ = ASKED[name]
        wanted, checked = ast.parse(cell).body
        (found,) = ast.parse(printed_solution(EXERCISES[name], capsys)).body
        assert heading(found) == heading(wanted)
        assert ast.unparse(checked.value.args) == wanted.name
        assert not found.name.startswith("_")

    def test_the_notebook_stores_what_the_check_says_of_its_stub(self, name, capsys):
        exercises, printed = PRINTED[name]
        around = vars(importlib.import_module(EXERCISES[name].answer.__module__))
        exec(ASKED[name][0], around | {exercises: MODULES[name.partition(".")[0]]})
        assert capsys.readouterr().out == printed

    def test_solution_is_right_where_it_is_pasted(self, name, capsys):
        printed = printed_solution(EXERCISES[name], capsys)
        answer = EXERCISES[name].answer
        around = vars(importlib.import_module(answer.__module__)).copy()
        del around[answer.__name__]
        exec(printed, around)
        state = torch.random.get_rng_state()
        EXERCISES[name].check(around[answer.__name__])
        assert capsys.readouterr().out.startswith("Right. ")
        assert torch.equal(torch.random.get_rng_state(), state), "it draws the learner's random numbers"
        unknown = global_names(compile(printed, name, "exec")) - names_of(ASKED[name][1]) - set(dir(builtins))
        assert unknown <= {"__name__"}, f"the notebook does not know {unknown}"

    def test_hints_can_be_read(self, name, capsys):
        hints = EXERCISES[name].hints
        assert len(hints) >= 2
        EXERCISES[name].hint()
        EXERCISES[name].hint(99)
        first, last = capsys.readouterr().out.splitlines()
        assert first == f"Hint 1 of {len(hints)}: {hints[0]}"
        assert last == f"Hint {len(hints)} of {len(hints)}: {hints[-1]}"

    def test_an_empty_attempt_is_not_right(self, name, capsys):
        EXERCISES[name].check(lambda *_args, **_kwargs: ...)
        assert capsys.readouterr().out.startswith("Not yet: ")


def is_even(number):
    return number % 2 == 0


def _verify(attempt):
    if not attempt(4):  # a plain assert would be rewritten by pytest
        raise AssertionError("expected True for 4, found False")


def test_a_failing_attempt_is_reported_not_raised(capsys):
    exercise = Exercise(
        verify=_verify,
        hints=("Think of the remainder.", "Use %."),
        answer=is_even,
        praise="You know the remainder.",
    )
    exercise.check(lambda number: 1 / 0)
    exercise.check(lambda number: False)
    exercise.check(is_even)
    assert capsys.readouterr().out.splitlines() == [
        "Not yet: your code stopped with ZeroDivisionError: division by zero.",
        "Not yet: expected True for 4, found False.",
        "Right. You know the remainder.",
    ]
