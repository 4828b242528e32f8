"""The promises of the package's design: one direction of imports, a light import, a thin size."""

import ast
import subprocess
import sys

from helpers.assets import ROOT

ROWS = [
    ("errors",),
    ("assets", "environment"),
    ("data",),
    ("models",),
    ("tuning",),
    ("training",),
    ("deployment", "export", "drift"),
    ("service", "service_guard", "service_page"),
    ("teaching",),
    ("report",),
    ("cli", "cli_deployment"),
    ("__main__",),
]
ROW = {name: number for number, names in enumerate(ROWS) for name in names}
FILES = [file for file in sorted((ROOT / "helpers").rglob("*.py")) if file.relative_to(ROOT / "helpers").as_posix() != "__init__.py"]


def imported_rows(source: str):
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "helpers":
            names = [node.module.split(".")[1]] if "." in node.module else [alias.name for alias in node.names]
            yield from (name for name in names if name in ROW)
        elif isinstance(node, ast.Import):
            yield from (alias.name.split(".")[1] for alias in node.names if alias.name.startswith("helpers."))


def test_imports_go_one_way():
    assert len(FILES) > 20
    wrong = []
    for file in FILES:
        own = file.relative_to(ROOT / "helpers").parts[0].removesuffix(".py")
        wrong += [f"{file.name} imports {name}" for name in imported_rows(file.read_text(encoding="utf-8")) if ROW[name] > ROW[own]]
    assert not wrong, wrong


def test_the_direction_test_sees_a_wrong_import():
    assert list(imported_rows("from helpers.training import loop")) == ["training"]
    assert list(imported_rows("def f():\n    from helpers import report, cli")) == ["report", "cli"]
    assert list(imported_rows("import helpers.teaching.plots")) == ["teaching"]


def test_only_the_training_row_imports_accelerate():
    users = {f.relative_to(ROOT / "helpers").parts[0] for f in FILES if "accelerate import" in f.read_text(encoding="utf-8")}
    assert users == {"training"}


def test_import_is_light():
    loaded = subprocess.run(
        [sys.executable, "-c", "import time; t = time.perf_counter(); import helpers, sys; print(time.perf_counter() - t, 'torch' in sys.modules)"],
        capture_output=True, text=True, check=True,
    ).stdout.split()  # fmt: skip
    assert float(loaded[0]) < 0.2
    assert loaded[1] == "False"


def test_modules_stay_readable():
    lengths = {file.relative_to(ROOT).as_posix(): len(file.read_text(encoding="utf-8").splitlines()) for file in FILES}
    assert max(lengths.values()) <= 330, max(lengths, key=lengths.get)


def test_every_public_function_has_a_docstring():
    bare = []
    for file in FILES:
        tree = ast.parse(file.read_text(encoding="utf-8"))
        if not ast.get_docstring(tree) and tree.body:
            bare.append(file.name)
        if file.parent.name == "exercises" and file.name.startswith("ch"):
            continue  # the answers stand there as a learner would write them
        public = [n for n in tree.body if isinstance(n, ast.FunctionDef | ast.ClassDef) and not n.name.startswith("_")]
        bare += [f"{file.name}: {node.name}" for node in public if not ast.get_docstring(node)]
    assert not bare, bare
