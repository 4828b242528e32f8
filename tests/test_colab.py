"""The course on Google Colab: what it imports is there, and the stored run of `make test-colab` is whole."""

import ast
import importlib
import json
import re
import sys

import pytest
from packaging.requirements import Requirement

from helpers import environment
from helpers.files import ROOT

sys.path.append(str(ROOT / "tests"))
colab = importlib.import_module("colab")  # it imports the versions from a neighbour
sys.path.remove(str(ROOT / "tests"))  # there the folder `lessons` would hide the package

READY = "Ready: quick scale on cpu, torch 2.11.0+cu130, Python 3.13.0"
BEFORE = {"torch": "2.11.0", "numpy": "2.1.3"}
AFTER = BEFORE | {"imagehash": "4.3.2", "pywavelets": "1.10.0"}
TOLD = {"error": None, "said": ["Installed or updated: ImageHash 4.3.2", READY], "said_again": [READY]}


def spelled(name: str) -> str:
    return re.sub("[-_.]+", "-", name).lower()


def with_dependencies(names: list[str]) -> set[str]:
    """The packages of these names and all that they need, as far as installed here."""
    found = set()
    while names:
        name = spelled(names.pop())
        if name not in found and environment.package_version(name):
            needed = map(Requirement, importlib.metadata.requires(name) or ())
            names += [one.name for one in needed if not one.marker or one.marker.evaluate({"extra": ""})]
        found.add(name)
    return found


class Imports(ast.NodeVisitor):
    """The modules that a program imports whatever is installed: not in `try`, nor after `find_spec`."""

    def __init__(self, code: str):
        self.names = set()
        self.visit(ast.parse(code))

    def visit_Import(self, node):
        self.names |= {alias.name.split(".")[0] for alias in node.names}

    def visit_ImportFrom(self, node):
        self.names |= {node.module.split(".")[0]} if not node.level else set()

    def visit_Try(self, node):
        pass

    def visit_If(self, node):
        if "find_spec" not in ast.unparse(node.test):
            self.generic_visit(node)

    def visit_FunctionDef(self, node):
        if "find_spec" not in ast.unparse(node):
            self.generic_visit(node)


def code_of(path) -> list[str]:
    if path.suffix == ".py":
        return [path.read_text(encoding="utf-8")]
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]


def test_what_the_course_imports_is_on_colab_or_installed_there():
    """A package of the extra `lab` is on the machines of all who write the course, and not on Colab."""
    have = with_dependencies([*environment.packages(), *colab.COLAB, *colab.SERVER, *colab.OTHERS])
    own = {"helpers", "lessons", *(path.stem for path in (ROOT / "notebooks" / "figures").glob("*.py"))}
    of_module = importlib.metadata.packages_distributions()
    lacking = {}
    programs = [path for folder in ("helpers", "notebooks") for path in (ROOT / folder).rglob("*.py")]
    for path in [*programs, *(ROOT / "notebooks").glob("*.ipynb")]:
        names = set().union(*(Imports(code).names for code in code_of(path))) - own - sys.stdlib_module_names
        if missing := {n for n in names if have.isdisjoint(map(spelled, of_module.get(n, ())))}:
            lacking[path.name] = missing
    assert not lacking


def test_a_truthful_set_up_has_no_fault():
    assert colab.faults(TOLD, BEFORE, AFTER) == []


@pytest.mark.parametrize(
    ("told", "after", "fault"),
    [
        ({"error": "KeyError: 1"}, {}, "KeyError: 1"),
        ({}, {"torch": "2.15.0"}, "torch became 2.15.0"),
        ({"said": [READY]}, {}, "the set-up cell says [], and ['imagehash 4.3.2'] were installed"),
        ({}, {"gguf": "0.19.0"}, "and ['gguf 0.19.0', 'imagehash 4.3.2'] were installed"),
        ({"said": [TOLD["said"][0], READY.replace("2.11", "2.15")]}, {}, "and torch is 2.11.0"),
        ({"said_again": TOLD["said"]}, {}, "after a restart it says"),
    ],
)
def test_what_it_says_is_compared_with_what_it_did(told, after, fault):
    assert fault in " ".join(colab.faults(TOLD | told, BEFORE, AFTER | after))


def test_the_readme_says_which_chapters_ran_with_colabs_versions():
    """The stored result, and the sentence of the README that tells it."""
    result = json.loads(colab.RESULT.read_text(encoding="utf-8"))
    assert result["versions"] == colab.COLAB | colab.SERVER | colab.OTHERS
    names = {path.name.split("_")[0] for path in (ROOT / "notebooks").glob("*.ipynb")}
    ran = {name for name, chapter in result["chapters"].items() if chapter["ran"]}
    assert set(result["chapters"]) == names
    said = result["set_up"]["said"]
    assert said[-1].endswith(f"torch {colab.COLAB['torch']}+cu130, Python {result['python']}")
    assert not set(environment.KEPT) & set(result["set_up"]["installed"])
    readme = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    told = f"{len(ran)} of {len(names)} ran to their end (Python {result['python']}, no GPU)"
    assert told + (f", and not {', '.join(sorted(names - ran))}" if names - ran else "") in readme
