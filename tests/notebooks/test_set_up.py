"""The set-up cell in real kernels: on Colab with the notebook alone, and from any folder of a computer."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from jupyter_client.manager import start_new_kernel

from helpers import publish
from helpers.files import ROOT

NOTEBOOK = ROOT / "notebooks" / "B_flowcharts.ipynb"
PLACE = ("some-one/course", "main")
WHERE = (
    "import helpers, lessons\nprint(Path.cwd(), Path(helpers.__file__).parent, Path(lessons.__file__).parent)"
)

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")


def set_up_cell(notebook) -> str:
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    return next("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")


class Kernel:
    """A kernel started in a folder, without a way to reach a package index."""

    def __init__(self, folder, **environment):
        given = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        environment = given | {"PIP_NO_INDEX": "1", "COURSE_SCALE": "quick"} | environment
        self.manager, self.client = start_new_kernel(kernel_name="python3", cwd=str(folder), env=environment)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)

    def restart(self):
        self.manager.restart_kernel(now=True)
        self.client.wait_for_ready(timeout=60)

    def run(self, code: str) -> tuple[str, str]:
        """What a cell prints, and the message of its error."""
        printed, errors = [], []

        def look(message):
            printed.append(message["content"].get("text", ""))
            errors.append(message["content"].get("evalue", ""))

        self.client.execute_interactive(code, output_hook=look, timeout=120)
        return "".join(printed), "".join(errors)

    def is_set_up(self, cell: str, course) -> None:
        printed, error = self.run(cell)
        assert (error, printed.count("\n"), printed[:6]) == ("", 1, "Ready:")
        notebooks = course / "notebooks"
        places = f"{notebooks} {course / 'helpers'} {notebooks / 'lessons'}\n"
        assert self.run(WHERE) == (places, "")


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """A published course with the code of this one and its data, and a bare repository of it beside it."""
    course = tmp_path_factory.mktemp("published") / "copy"
    without_notebooks = shutil.ignore_patterns("[0-9A]*.ipynb", "__pycache__", ".ipynb_checkpoints")
    shutil.copytree(ROOT / "helpers", course / "helpers", ignore=without_notebooks)
    shutil.copytree(ROOT / "notebooks", course / "notebooks", ignore=without_notebooks)
    shutil.copytree(ROOT / "data", course / "data", ignore=shutil.ignore_patterns("fetched"))
    (course / "data" / "fetched").symlink_to(ROOT / "data" / "fetched")
    for name in ("README.md", "requirements.txt"):
        shutil.copy(ROOT / name, course)
    publish.write(PLACE, course)
    who = ("-c", "user.name=A", "-c", "user.email=a@example.org")
    for command in (("init", "-q", "-b", "main"), ("add", "."), (*who, "commit", "-qm", "All")):
        subprocess.run(["git", *command], cwd=course, check=True)
    subprocess.run(["git", "clone", "-q", "--bare", course, course.with_name("bare.git")], check=True)
    return course


@pytest.fixture(scope="module")
def colab(tmp_path_factory):
    """A folder from which `google.colab` can be imported."""
    folder = tmp_path_factory.mktemp("packages")
    (folder / "google" / "colab").mkdir(parents=True)
    (folder / "google" / "colab" / "__init__.py").touch()
    return folder


def github_is(repository) -> dict[str, str]:
    """Variables by which git takes a local repository for the published one."""
    address = f"https://github.com/{PLACE[0]}"
    told = {"GIT_CONFIG_KEY_0": f"url.{repository.as_uri()}.insteadOf", "GIT_CONFIG_VALUE_0": address}
    return {"GIT_CONFIG_COUNT": "1", **told}


def test_colab_gets_the_course_by_its_button(copy, colab, tmp_path):
    """The notebook is alone in an empty folder; then once more, and after a restart of the runtime."""
    cell = set_up_cell(copy / "notebooks" / NOTEBOOK.name)
    assert "ADDRESS = " in cell
    shutil.copy(copy / "notebooks" / NOTEBOOK.name, tmp_path)
    environment = github_is(copy.with_name("bare.git")) | {"PYTHONPATH": str(colab)}
    with Kernel(tmp_path, **environment) as kernel:
        kernel.is_set_up(cell, tmp_path / "course")
        kernel.is_set_up(cell, tmp_path / "course")
        (tmp_path / "course" / "mine.txt").write_text("kept")
        kernel.restart()
        kernel.is_set_up(cell, tmp_path / "course")
    assert (tmp_path / "course" / "mine.txt").read_text() == "kept"


@pytest.mark.parametrize("folder", [ROOT, ROOT / "notebooks"], ids=["root", "notebooks"])
def test_it_is_found_upwards(folder):
    with Kernel(folder) as kernel:
        kernel.is_set_up(set_up_cell(NOTEBOOK), ROOT)


@pytest.mark.parametrize("frontend", ["VS Code", "Jupyter", "a folder course"])
def test_it_is_found_from_elsewhere(copy, tmp_path, frontend):
    notebook = copy / "notebooks" / NOTEBOOK.name
    environment = {"JPY_SESSION_NAME": str(notebook)} if frontend == "Jupyter" else {}
    if frontend == "a folder course":
        (tmp_path / "course").symlink_to(copy)
    with Kernel(tmp_path, **environment) as kernel:
        if frontend == "VS Code":
            kernel.run(f"__vsc_ipynb_file__ = {str(notebook)!r}")
        finds = set_up_cell(notebook).removesuffix("environment.set_up()") + "print(environment.__file__)"
        printed, error = kernel.run(finds)
    assert error == ""
    assert Path(printed.strip()).resolve() == copy / "helpers" / "environment.py"


@pytest.mark.parametrize("what", ["no Colab", "no address", "no repository"])
def test_where_there_is_no_course_one_sentence_says_what_to_do(copy, colab, what):
    sibling = copy.with_name(f"sibling with {what}")
    sibling.mkdir()
    cell = set_up_cell(copy / "notebooks" / NOTEBOOK.name)
    environment = github_is(copy.with_name("missing.git"))
    if what != "no Colab":
        environment["PYTHONPATH"] = str(colab)
    if what == "no address":
        cell = publish.ADDRESS.sub('ADDRESS = ""', cell)
    with Kernel(sibling, **environment) as kernel:
        printed, error = kernel.run(cell)
    assert error.startswith(
        f"no course at {sibling}: open this notebook in the course's folder, or get it: `git"
    )
    assert "\n" not in error
    assert ("fatal" in printed) == (what == "no repository")
    assert list(sibling.iterdir()) == []
