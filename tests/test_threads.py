"""Idle threads: what `import helpers` says about them reaches every library and process, and yours wins."""

import json
import os
import shutil
import subprocess
import sys

import pytest
import torch

from helpers.files import ROOT
from helpers.threads import SPINS

REPORT = """
import json, os
names = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY", "OMP_NUM_THREADS")
print(json.dumps([os.environ.get(name) for name in names]))
"""
THREADS = "print(__import__('torch').get_num_threads())"


def python(code, **said):
    """What a fresh Python prints as JSON, in an environment in which nobody else spoke about threads."""
    unsaid = ("OMP_", "GOMP_", "COURSE_CLASSROOM", "MKL_")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(unsaid)} | said
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({}, [SPINS, None, None]),
        ({"COURSE_CLASSROOM": "0"}, [SPINS, None, None]),
        ({"COURSE_CLASSROOM": "1"}, [None, "PASSIVE", "1"]),
        ({"COURSE_CLASSROOM": "1", "OMP_NUM_THREADS": "3"}, [None, "PASSIVE", "3"]),
        ({"COURSE_CLASSROOM": "1", "GOMP_SPINCOUNT": SPINS}, [None, "PASSIVE", "1"]),  # said by a parent
        ({"GOMP_SPINCOUNT": "70"}, ["70", None, None]),
        ({"COURSE_CLASSROOM": "1", "GOMP_SPINCOUNT": "70"}, ["70", "PASSIVE", "1"]),
        ({"OMP_WAIT_POLICY": "ACTIVE"}, [None, "ACTIVE", None]),
        ({"OMP_NUM_THREADS": "1"}, [SPINS, None, "1"]),
    ],
)
def test_import_helpers_says_it_and_yours_wins(said, expected):
    assert python(f"import helpers{REPORT}", **said) == expected


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="one core has one thread anyway")
def test_in_a_classroom_a_torch_that_was_loaded_first_computes_on_one_thread():
    assert python(f"import torch, helpers; {THREADS}") > 1
    assert python(f"import torch, helpers; {THREADS}", COURSE_CLASSROOM="1") == 1
    assert python(f"import torch, helpers; {THREADS}", COURSE_CLASSROOM="1", OMP_NUM_THREADS="2") == 2


@pytest.mark.skipif(sys.platform != "linux", reason="GNU's OpenMP, which reports what it read")
def test_the_openmp_of_torch_has_read_it():
    code = "import helpers, torch; torch.ones(1000, 1000).sum()"
    unsaid = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_"))}
    environment = unsaid | {"OMP_DISPLAY_ENV": "VERBOSE"}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    if "GOMP_SPINCOUNT" not in done.stderr:
        pytest.skip("this torch brings another OpenMP")
    assert f"GOMP_SPINCOUNT = '{SPINS}'" in done.stderr


@pytest.mark.parametrize("way", ["fork", "spawn"])
def test_loader_workers_and_other_processes_inherit_it(way, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import json, multiprocessing, os, sys\n"
        f"sys.path.insert(0, {str(ROOT)!r})\n"
        "def said():\n"
        "    print(json.dumps(os.environ.get('GOMP_SPINCOUNT')))\n"
        "if __name__ == '__main__':\n"
        "    import helpers\n"
        f"    process = multiprocessing.get_context({way!r}).Process(target=said)\n"
        "    process.start()\n"
        "    process.join()\n",
        encoding="utf-8",
    )
    assert python(f"import runpy; runpy.run_path({str(script)!r}, run_name='__main__')") == SPINS


@pytest.mark.parametrize("name", sorted(path.name for path in (ROOT / "notebooks").glob("*.ipynb")))
def test_every_notebook_meets_helpers_before_torch(name):
    """Its first cell is all that can speak where VS Code or Colab started the kernel."""
    notebook = json.loads((ROOT / "notebooks" / name).read_text(encoding="utf-8"))
    first = next("".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code")
    before, _, _ = first.partition("from helpers import")
    assert "from helpers import" in first
    assert "import torch" not in before


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
@pytest.mark.parametrize(("said", "expected"), [([], ""), (["CLASSROOM=1"], "1")])
def test_make_lab_hands_it_on_to_every_kernel(said, expected):
    """Run as `make lab` writes it, with a report in JupyterLab's place of what a kernel inherits."""
    recipe = subprocess.run(
        ["make", "-n", "lab", *said], cwd=ROOT, capture_output=True, text=True, check=True
    )
    line = next(line for line in recipe.stdout.splitlines() if "jupyterlab" in line)
    assert line.startswith(f'COURSE_CLASSROOM="{expected}" ')
    begin = line.split("-c '")[1].split(";")[0]
    told = python(f"{begin}{REPORT}", COURSE_CLASSROOM=expected)
    assert told == ([None, "PASSIVE", "1"] if expected else [SPINS, None, None])


def test_in_a_classroom_onnx_runtime_computes_on_one_thread_too(tmp_path, monkeypatch):
    from onnx import TensorProto, helper, save

    from helpers.deployment.predict import OnnxModel

    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["B", 3]) for name in ("images", "logits")]
    graph = helper.make_graph([helper.make_node("Identity", ["images"], ["logits"])], "g", ends[:1], ends[1:])
    save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9),
        tmp_path / "m.onnx",
    )
    monkeypatch.delenv("COURSE_CLASSROOM", raising=False)
    options = OnnxModel(tmp_path / "m.onnx").session.get_session_options()
    assert options.intra_op_num_threads == 0
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    monkeypatch.setenv("COURSE_CLASSROOM", "1")
    options = OnnxModel(tmp_path / "m.onnx").session.get_session_options()
    torch.set_num_threads(threads)
    assert options.intra_op_num_threads == 1
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"
