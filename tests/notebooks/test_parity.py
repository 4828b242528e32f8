"""What a chapter writes by hand is what the package holds: equal syntax trees, but for docstrings,
annotations and comments.

A cell with the tag `same-as:lessons.ch03.networks.CNN` must define `CNN` as that module does.
"""

import ast
import importlib
import inspect
import json
import textwrap

import pytest

from helpers.files import ROOT

TAG = "same-as:"
BY_HAND = [
    pytest.param(
        "".join(cell["source"]), tag.removeprefix(TAG), id=f"{path.stem[:2]}-{tag.rsplit('.', 1)[1]}"
    )
    for path in sorted((ROOT / "notebooks").glob("*.ipynb"))
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]
    for tag in cell["metadata"].get("tags", [])
    if tag.startswith(TAG)
]


class _Bare(ast.NodeTransformer):
    """Drops what does not change what the code does."""

    def _bare(self, node):
        self.generic_visit(node)
        if ast.get_docstring(node) is not None:
            node.body = node.body[1:] or [ast.Pass()]
        if isinstance(node, ast.FunctionDef):
            node.returns = None
        return node

    visit_FunctionDef = visit_ClassDef = _bare

    def visit_arg(self, node):
        node.annotation = None
        return node


def bare(source: str, name: str) -> str:
    """The definition of `name` in `source`, as text without docstrings, annotations, comments and layout."""
    found = [node for node in ast.parse(source).body if getattr(node, "name", None) == name]
    assert len(found) == 1, f"expected one definition of {name}, found {len(found)}"
    return ast.unparse(_Bare().visit(found[0]))


@pytest.mark.parametrize(("source", "target"), BY_HAND)
def test_written_by_hand_equals_imported(source, target):
    module, name = target.rsplit(".", 1)
    imported = textwrap.dedent(inspect.getsource(getattr(importlib.import_module(module), name)))
    assert bare(source, name) == bare(imported, name)


def test_the_comparison_sees_a_change_and_ignores_texts():
    one = 'def f(x: int) -> int:\n    """Doc."""\n    return x + 1  # why\n'
    assert bare(one, "f") == bare("def f(x):\n    return x + 1", "f")
    assert bare(one, "f") != bare("def f(x):\n    return x + 2", "f")
