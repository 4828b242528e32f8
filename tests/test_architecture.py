"""The promises of the design: imports go one way, the core knows neither deployment nor lessons, and it stays
thin.
"""

import ast
import subprocess
import sys

import pytest

from helpers.files import ROOT

ROWS = [
    ("errors",),
    ("files",),
    ("assets", "environment", "doctor", "plots"),
    ("data",),
    ("models",),
    ("tuning",),
    ("tasks",),
    ("training",),
    ("deployment",),
    ("cli",),
    ("__main__",),
]
ROW = {name: number for number, names in enumerate(ROWS) for name in names}
CORE = ("data", "models", "tuning", "training")
HELPERS, LESSONS = ROOT / "helpers", ROOT / "notebooks" / "lessons"
FILES = [file for file in sorted(HELPERS.rglob("*.py")) if file != HELPERS / "__init__.py"]
LESSON_FILES = sorted(LESSONS.rglob("*.py"))


def imported(source: str):
    """Every module that a source imports, as far as the names tell: "helpers.training.loop",
    "lessons.ch05.labels".
    """
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def rows_of(source: str) -> list[str]:
    parts = [name.split(".") for name in imported(source)]
    return [names[1] for names in parts if names[0] == "helpers" and len(names) > 1 and names[1] in ROW]


def room(file) -> str:
    return file.relative_to(HELPERS).parts[0].removesuffix(".py")


def lines(file) -> int:
    return len(file.read_text(encoding="utf-8").splitlines())


def test_imports_go_one_way():
    assert len(FILES) > 20
    wrong = []
    for file in FILES:
        names = rows_of(file.read_text(encoding="utf-8"))
        wrong += [f"{file.name} imports {name}" for name in names if ROW[name] > ROW[room(file)]]
    assert not wrong, wrong


def test_the_direction_test_sees_a_wrong_import():
    assert rows_of("from helpers.training import loop") == ["training"]
    assert rows_of("def f():\n    from helpers import training, cli") == ["training", "cli"]
    assert rows_of("import helpers.deployment.page") == ["deployment"]
    assert list(imported("from lessons import exercise\nimport accelerate.utils")) == [
        "lessons.exercise",
        "accelerate.utils",
    ]


def test_the_package_knows_no_lesson():
    wrong = [
        file.name
        for file in FILES
        if any(n.split(".")[0] == "lessons" for n in imported(file.read_text(encoding="utf-8")))
    ]
    assert not wrong, wrong


def test_no_lesson_imports_another_chapters():
    chapters = {path.name for path in LESSONS.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert len(chapters) == 11
    wrong = []
    for file in LESSON_FILES:
        own = file.relative_to(LESSONS).parts[0]
        names = [n.split(".") for n in imported(file.read_text(encoding="utf-8"))]
        others = {n[1] for n in names if n[0] == "lessons"} & chapters - {own}
        wrong += [f"{file.name} imports {name}" for name in others]
    assert not wrong, wrong


LIGHT = (
    "helpers",
    "helpers.errors",
    "helpers.files",
    "helpers.assets",
    "helpers.environment",
    "helpers.cli",
    "helpers.doctor",
)


@pytest.mark.parametrize("module", LIGHT)
def test_import_is_light(module):
    code = (
        f"import time; t = time.perf_counter(); import {module}, sys; print(time.perf_counter() - t, "
        "*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    seconds, *loaded = done.stdout.split()
    assert float(seconds) < 1
    assert not {"torch", "pandas", "sklearn", "transformers", "matplotlib"} & set(loaded)


def test_modules_stay_readable():
    lengths = {file.relative_to(ROOT).as_posix(): lines(file) for file in FILES}
    assert max(lengths.values()) <= 330, max(lengths, key=lengths.get)


def test_every_public_function_has_a_docstring():
    bare = []
    for file in [*FILES, *LESSON_FILES]:
        tree = ast.parse(file.read_text(encoding="utf-8"))
        if not ast.get_docstring(tree) and tree.body:
            bare.append(file.name)
        if file.name == "exercises.py":
            continue  # the answers stand there as a learner would write them
        public = [
            n
            for n in tree.body
            if isinstance(n, ast.FunctionDef | ast.ClassDef) and not n.name.startswith("_")
        ]
        bare += [f"{file.name}: {node.name}" for node in public if not ast.get_docstring(node)]
    assert not bare, bare
