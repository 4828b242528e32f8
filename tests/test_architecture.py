"""The promises of the design: imports go one way, the core knows neither deployment nor lessons, and it stays
thin.
"""

import ast
import subprocess
import sys

import pytest

from helpers.files import ROOT

ROWS = [
    ("errors", "threads"),
    ("files",),
    ("assets", "conversion", "environment", "doctor", "plots", "display", "planner", "publish", "catch_up"),
    ("safety", "progress", "progress_report"),
    ("data",),
    ("own",),
    ("models",),
    ("tuning",),
    ("tasks", "generation"),
    ("training",),
    ("runs",),
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
    """Every module or name that a source imports: "helpers.training.loop", "lessons.ch05.labels.alpha"."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def imports_of(file) -> list[list[str]]:
    return [name.split(".") for name in imported(file.read_text(encoding="utf-8"))]


def rows_of(names: list[list[str]]) -> list[str]:
    return [name[1] for name in names if name[0] == "helpers" and len(name) > 1 and name[1] in ROW]


def room(file) -> str:
    return file.relative_to(HELPERS).parts[0].removesuffix(".py")


def lines(file) -> int:
    return len(file.read_text(encoding="utf-8").splitlines())


def test_imports_go_one_way():
    assert len(FILES) > 20
    wrong = []
    for file in FILES:
        wrong += [
            f"{file.name} imports {name}" for name in rows_of(imports_of(file)) if ROW[name] > ROW[room(file)]
        ]
    assert not wrong, wrong


def test_the_direction_test_sees_a_wrong_import():
    source = (
        "from helpers.training import loop\nimport helpers.deployment.page\ndef f():\n    from helpers "
        "import runs, cli"
    )
    assert rows_of([name.split(".") for name in imported(source)]) == [
        "training",
        "deployment",
        "runs",
        "cli",
    ]
    assert list(imported("from lessons import exercise\nimport accelerate.utils")) == [
        "lessons.exercise",
        "accelerate.utils",
    ]


def test_the_package_knows_no_lesson():
    assert not [file.name for file in FILES if any(name[0] == "lessons" for name in imports_of(file))]


def test_no_lesson_imports_another_chapters():
    chapters = {path.name for path in LESSONS.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert len(chapters) == 15
    wrong = []
    for file in LESSON_FILES:
        own = file.relative_to(LESSONS).parts[0]
        found = {name[1] for name in imports_of(file) if name[0] == "lessons"}
        wrong += [f"{own}/{file.name} imports {name}" for name in found & chapters - {own}]
    assert not wrong, wrong


def test_only_the_runtime_knows_accelerate_and_the_processes():
    """In any form of the import, so that `from accelerate.utils import x` is seen, too."""
    users = {
        file.relative_to(HELPERS).as_posix()
        for file in FILES
        if any(name[0] == "accelerate" or name[:2] == ["torch", "distributed"] for name in imports_of(file))
    }
    assert users == {"training/runtime.py", "training/sharded.py"}


# Lines of each room, as they may be at most: the first four are what a learner reads. Every line counts.
MOST_LINES = {"data": 2480, "models": 1202, "tuning": 390, "training": 1790, "safety": 430, "own": 1550}


def test_the_package_is_thin():
    """The core is what a learner reads: loaders, models, train loops."""
    sizes = {name: sum(map(lines, (HELPERS / name).glob("*.py"))) for name in MOST_LINES}
    assert {name: size for name, size in sizes.items() if size > MOST_LINES[name]} == {}
    assert sum(sizes[name] for name in CORE) <= 5823, sizes
    assert sum(map(lines, FILES)) <= 15058


def test_modules_stay_readable():
    lengths = {file.relative_to(ROOT).as_posix(): lines(file) for file in FILES}
    assert max(lengths.values()) <= 300, max(lengths, key=lengths.get)


def loaded_by(module: str) -> tuple[float, set[str]]:
    """Seconds that a fresh Python needs to import `module`, and what is loaded then."""
    code = (
        f"import time; t = time.perf_counter(); import {module}, sys; print(time.perf_counter() - t, "
        "*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    seconds, *modules = done.stdout.split()
    return float(seconds), set(modules)


LIGHT = (
    "helpers",
    "helpers.errors",
    "helpers.files",
    "helpers.threads",
    "helpers.assets",
    "helpers.environment",
    "helpers.doctor",
    "helpers.cli",
    "helpers.display",
    "helpers.planner",
)


@pytest.mark.parametrize("module", LIGHT)
def test_what_a_learner_meets_first_is_light(module):
    seconds, loaded = loaded_by(module)
    assert seconds < 1
    assert not {"torch", "pandas", "sklearn", "transformers", "matplotlib"} & loaded


def test_predicting_loads_no_training():
    assert (
        not {"pandas", "sklearn", "accelerate", "helpers.training", "helpers.runs"}
        & loaded_by("helpers.deployment.predict")[1]
    )


def test_the_training_loads_no_deployment():
    assert not {
        name
        for name in loaded_by("helpers.runs.run")[1]
        if name.startswith(("helpers.deployment", "lessons"))
    }


def test_every_public_function_has_a_docstring():
    bare = []
    for file in [*FILES, *LESSON_FILES]:
        tree = ast.parse(file.read_text(encoding="utf-8"))
        if not ast.get_docstring(tree) and tree.body:
            bare.append(file.name)
        if file.name in ("exercises.py", "answers.py"):
            continue  # the answers stand there as a learner would write them
        public = [
            n
            for n in tree.body
            if isinstance(n, ast.FunctionDef | ast.ClassDef) and not n.name.startswith("_")
        ]
        bare += [f"{file.name}: {node.name}" for node in public if not ast.get_docstring(node)]
    assert not bare, bare
