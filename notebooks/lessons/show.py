"""The code of the course as the chapters print it: what it is called with and what it does."""

import ast
import inspect
import textwrap
from collections.abc import Callable


def code(shown: Callable) -> None:
    """Print the source of a function, method or class: with its signature and comments, without docstrings.

    Example:
        `show.code(datasets.to_rgb)`
    """
    source = textwrap.dedent(inspect.getsource(shown))
    lines = source.rstrip().splitlines()
    for node in sorted(_documented(ast.parse(source)), key=lambda node: node.lineno, reverse=True):
        docstring = node.body[0]
        first, after = docstring.lineno - 1, docstring.end_lineno
        while not lines[after].strip():
            after += 1
        del lines[first:after]  # from the last one up: the numbers of the lines above stay right
    print("\n".join(lines))


def _documented(tree: ast.AST) -> list[ast.AST]:
    """Every function and class with a docstring and more: one of a docstring alone would be left empty."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    nodes = [node for node in ast.walk(tree) if isinstance(node, kinds) and len(node.body) > 1]
    return [node for node in nodes if ast.get_docstring(node) is not None]
