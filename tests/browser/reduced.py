"""A chapter in a form that a browser test has time for: what its widgets need, and the first section's code.

Without COURSE_BROWSER=full the long chapters run like this; the checked notebooks of `make test` run whole.
"""

import ast
import copy

from IPython.core.inputtransformer2 import TransformerManager

WHOLE = ("00", "02", "A", "B")  # run with all their cells in every test run


def reduced(book: dict, widgets: tuple[str, ...]) -> dict:
    """The notebook with all its prose, its first code cells and those that the named calls need."""
    code = [cell for cell in book["cells"] if cell["cell_type"] == "code"]
    names = [_names(cell["source"]) for cell in code]
    kept = {
        number for number, cell in enumerate(code) if number < 2 or any(w in cell["source"] for w in widgets)
    }
    waiting = sorted(kept)
    while waiting:
        number = waiting.pop()
        for name in names[number][1]:
            makers = [before for before in range(number) if name in names[before][0]]
            if makers and makers[-1] not in kept:
                kept.add(makers[-1])
                waiting.append(makers[-1])
    left = {id(code[number]) for number in kept}
    small = copy.copy(book)
    small["cells"] = [cell for cell in book["cells"] if cell["cell_type"] != "code" or id(cell) in left]
    return small


def _names(source: str) -> tuple[set[str], set[str]]:
    """The names that a cell makes, and those that it reads."""
    made, read = set(), set()
    for node in ast.walk(ast.parse(TransformerManager().transform_cell(source))):
        if isinstance(node, ast.Name):
            (made if isinstance(node.ctx, ast.Store) else read).add(node.id)
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            made.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            made |= {(alias.asname or alias.name).split(".")[0] for alias in node.names}
    return made, read
