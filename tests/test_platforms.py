"""What other systems refuse: names of files on Windows, texts without a stated encoding, consoles without
Unicode, float64 on Apple's GPUs.
"""

import ast
import json
import os
import re
import subprocess
import sys

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from helpers.cli import main
from helpers.files import ROOT
from helpers.training.loop import mean_loss
from helpers.training.losses import CausalLM
from helpers.training.runtime import Runtime

SOURCES = sorted([*(ROOT / "helpers").rglob("*.py"), *(ROOT / "notebooks").rglob("*.py")])
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def source_of(path) -> str:
    """The program of a file; of a notebook that of all its cells."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        return text
    cells = json.loads(text)["cells"]
    return "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")


def calls_without_encoding(source: str) -> list[int]:
    """The lines that open, read or write a text and leave its encoding to the system."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call) or any(word.arg == "encoding" for word in node.keywords):
            continue
        is_method = isinstance(node.func, ast.Attribute)
        name = node.func.attr if is_method else getattr(node.func, "id", "")
        if name in ("read_text", "write_text"):
            is_given = len(node.args) > (name == "write_text")
        elif name == "open" and not (is_method and is_no_file(node.func.value)):
            mode = [word.value for word in node.keywords if word.arg == "mode"] + node.args[not is_method :]
            is_given = bool(mode) and "b" in getattr(mode[0], "value", "b")
        else:
            continue
        if not is_given:
            found.append(node.lineno)
    return found


def is_no_file(value: ast.expr) -> bool:
    """Whether `value.open(...)` opens something else: a picture, an address, an archive, a descriptor."""
    return ast.unparse(value) in ("Image", "direct", "os", "self.cache", "opener", "self.opener", "tarfile")


@pytest.mark.parametrize("path", [*SOURCES, *NOTEBOOKS], ids=lambda path: path.relative_to(ROOT).as_posix())
def test_texts_say_their_encoding(path):
    assert calls_without_encoding(source_of(path)) == []


CONSOLE = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "cp1252", "PYTHONUTF8": "0"}
TEXTS = ("Café, ça va – “yes”", "joy \U0001f600 and 中文")
REFUSED = re.compile(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\..*)?$|.*[. ]$|.*[<>:\"|?*\\]")  # by Windows


def helpers_on_cp1252(*arguments: str, cwd) -> bytes:
    """What a command prints on a console of Western Windows; both streams can be read there."""
    command = [sys.executable, "-m", "helpers", *arguments]
    done = subprocess.run(command, cwd=cwd, env=CONSOLE, capture_output=True)
    done.stderr.decode("cp1252")
    assert done.returncode == 0, done.stderr
    assert done.stdout.decode("cp1252")
    return done.stdout


@pytest.fixture(scope="module")
def run(tiny_encoder, tiny_rows, tmp_path_factory):
    """A run with class names that no Western console shows as they are, and what the training printed."""
    folder = tmp_path_factory.mktemp("console")
    rows = tiny_rows.read_text(encoding="utf-8").replace(",good", ",gut 😀").replace(",bad", ",schlecht – 坏")
    (folder / "own.csv").write_text(rows, encoding="utf-8")
    options = ["--data", "own.csv", "--model", str(tiny_encoder), "--epochs", "1", "--output", "run"]
    return folder, helpers_on_cp1252("train", "text", *options, cwd=folder)


def test_a_training_and_its_use_lose_no_text_on_a_western_console(run):
    """What cp1252 has is shown as it is, all else as its number; files hold everything."""
    folder, printed = run
    assert b"always answering 'gut \\U0001f600' would score" in printed
    shown = helpers_on_cp1252("predict", "run", *TEXTS, cwd=folder)
    assert TEXTS[0].encode("cp1252") in shown
    assert b"\\U0001f600 and \\u4e2d\\u6587" in shown
    (folder / "in.txt").write_text("\n".join(TEXTS), encoding="utf-8")
    helpers_on_cp1252("predict", "run", "--input", "in.txt", "--output", "out.csv", cwd=folder)
    kept = (folder / "out.csv").read_text(encoding="utf-8")
    assert all(text in kept for text in (*TEXTS, "p_gut 😀", "p_schlecht – 坏"))
    helpers_on_cp1252("evaluate", "run", cwd=folder)
    report = (folder / "run" / "report.html").read_text(encoding="utf-8")
    assert "gut 😀" in report
    assert "schlecht – 坏" in report


@pytest.mark.parametrize("arguments", [["--help"], ["train", "--help"], ["doctor"], ["catch-up", "05"]])
def test_a_command_speaks_to_a_western_console(arguments, tmp_path):
    helpers_on_cp1252(*arguments, cwd=tmp_path)


def test_windows_takes_every_name_that_a_run_writes(run):
    folder, _ = run
    names = [path.name for path in (folder / "run").rglob("*")]
    assert len(names) > 15
    assert [name for name in names if REFUSED.match(name)] == []


def test_windows_takes_every_name_of_the_course():
    """All committed names, which `git clone` writes there, and no two that differ in case alone."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    names = listed.decode().rstrip("\0").split("\0")
    parts = {part for name in names for part in name.split("/")}
    assert [part for part in parts if REFUSED.match(part)] == []
    assert len({name.lower() for name in names}) == len(names)
    assert max(map(len, names)) < 120, "Windows takes 260 characters, the folder of the course included"


@pytest.mark.parametrize(
    "command", [["evaluate"], ["predict", "RUN", "hello"], ["train", "text", "--output"]]
)
def test_a_name_that_is_too_long_gets_one_sentence(command, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    name = "x" * 300
    arguments = [name if part == "RUN" else part for part in command]
    assert main([*arguments, *([] if "RUN" in command else [name])]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert "too long" in error
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["NUL", "con.txt", "com1", "a:b", "run ", "run.", "a?", 'a"'])
def test_the_search_knows_what_windows_refuses(name):
    assert REFUSED.match(name)
    assert not REFUSED.match(f"x{name.strip('. ?:')[0]}")


class NoFloat64(TorchDispatchMode):
    """A device without float64, as an Apple GPU is."""

    def __torch_dispatch__(self, operation, types, arguments=(), options=None):
        made = operation(*arguments, **(options or {}))
        if isinstance(made, torch.Tensor) and made.dtype == torch.float64:
            raise TypeError(f"{operation} made a float64")
        return made


def test_a_training_makes_no_float64(tiny_rows, tiny_encoder, tmp_path):
    options = ["--data", str(tiny_rows), "--model", str(tiny_encoder), "--output", str(tmp_path / "run")]
    with NoFloat64():
        assert main(["train", "text", *options, "--epochs", "1", "--limit", "0"]) == 0


def test_the_loss_of_a_language_model_makes_no_float64():
    model = torch.nn.Embedding(11, 11)
    model.forward = lambda input_ids, attention_mask: torch.nn.Embedding.forward(model, input_ids)
    ids = torch.arange(10).reshape(2, 5)
    batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": ids}
    with NoFloat64():
        found = mean_loss(model, [batch], CausalLM(), Runtime(precision="no"))["loss"]
    expected = torch.nn.functional.cross_entropy(model.weight[ids[:, :-1].flatten()], ids[:, 1:].flatten())
    assert found == pytest.approx(expected.item(), rel=1e-6)
