"""A chapter in a form that a browser test has time for: what its widgets need, on fewer rows.

Without COURSE_BROWSER=full the long chapters run like this; the checked notebooks of `make test` run whole.
"""

import ast
import copy
import symtable

from IPython.core.inputtransformer2 import TransformerManager

WHOLE = ("00", "02", "A", "B")  # run with all their cells in every test run
# Trainings that take a minute or two, shortened; what is asserted there of their results is left out.
SHORTER = {
    "06": {"limit=2000": "limit=500", "epochs=2": "epochs=1"},
    "07": {"ROWS = 2000": "ROWS = 500"},
    "10": {"405, 200": "60, 40"},
}


def reduced(book: dict, widgets: tuple[str, ...], shorter: dict[str, str] | None = None) -> dict:
    """The notebook with all its prose, its first code cells and those that the named calls need.

    Args:
        shorter: what one of these cells says, and what it says instead.
    """
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
    if shorter:
        small["cells"] = [cell | {"source": _shortened(cell, shorter)} for cell in small["cells"]]
    return small


def _shortened(cell: dict, shorter: dict[str, str]) -> str:
    """What a cell says with fewer rows, and without its assertions."""
    source = cell["source"]
    if cell["cell_type"] != "code":
        return source
    for long, short in shorter.items():
        source = source.replace(long, short)
    asserted = [node for node in _statements(source) if isinstance(node, ast.Assert)]
    places = {line for node in asserted for line in range(node.lineno, node.end_lineno + 1)}
    return "\n".join(line for n, line in enumerate(source.split("\n"), start=1) if n not in places)


def _statements(source: str) -> list[ast.stmt]:
    return ast.parse(TransformerManager().transform_cell(source)).body


def _names(source: str) -> tuple[set[str], set[str]]:
    """The names that a cell makes, and those that it reads before it has made them itself."""
    made, read = set(), set()
    for statement in _statements(source):
        table = symtable.symtable(ast.unparse(statement), "cell", "exec")
        loops = [node.target for node in ast.walk(statement) if isinstance(node, ast.For)]
        turning = {node.id for loop in loops for node in ast.walk(loop) if isinstance(node, ast.Name)}
        read |= _read(table) - turning - made
        made |= {name.get_name() for name in table.get_symbols() if name.is_assigned() or name.is_imported()}
        made |= {
            node.value.id  # an item of something that was made before: both cells are needed
            for node in ast.walk(statement)
            if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store)
            if isinstance(node.value, ast.Name)
        }
    return made, read


def _read(table: symtable.SymbolTable) -> set[str]:
    """The names of the cell that a block and the functions in it read."""
    names = {name.get_name() for name in table.get_symbols() if name.is_referenced() and name.is_global()}
    return names.union(*map(_read, table.get_children()))
