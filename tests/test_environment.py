"""On Colab the set-up installs what is missing or too old: by a real pip, into a Python of its own."""

import os
import shutil
import subprocess
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

from helpers.files import ROOT

SET_UP = """
import sys, types
sys.modules["google.colab"] = types.ModuleType("google.colab")
{first}
from helpers import assets, environment
from helpers.errors import InputError
try:
    environment.set_up()
except InputError as error:
    print("error:", error)
"""
REQUIREMENTS = "torch>=99\ntorchvision>=99\nnumpy>=9\ntoy-old>=2\ntoy-fine>=1.0\ntoy-missing>=1\n"


def make_wheel(folder, name: str, version: str, requires: str = "") -> None:
    """A package of one module that says its version."""
    module, info = name.replace("-", "_"), f"{name.replace('-', '_')}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    metadata += f"Requires-Dist: {requires}\n" if requires else ""
    parts = {
        f"{module}.py": f"version = {version!r}\n",
        f"{info}/METADATA": metadata,
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/top_level.txt": f"{module}\n",
    }
    record = "".join(f"{path},,\n" for path in [*parts, f"{info}/RECORD"])
    with zipfile.ZipFile(folder / f"{module}-{version}-py3-none-any.whl", "w") as archive:
        for path, text in (parts | {f"{info}/RECORD": record}).items():
            archive.writestr(path, text)


class Colab:
    """A Python that sees the packages here and has some of its own, beside a course that asks for those."""

    def __init__(self, folder, requirements: str = REQUIREMENTS):
        self.course, self.wheels = folder / "course", folder / "wheels"
        venv.create(folder / "venv", symlinks=os.name != "nt")
        self.python = next(path for path in (folder / "venv").glob("*/python*") if path.stem == "python")
        paths = {"base": str(folder / "venv"), "platbase": str(folder / "venv")}
        self.packages = Path(sysconfig.get_path("purelib", scheme="venv", vars=paths))
        (self.packages / "here.pth").write_text(sysconfig.get_path("purelib"))
        for part in ("helpers", "data"):
            shutil.copytree(
                ROOT / part, self.course / part, ignore=shutil.ignore_patterns("fetched", "__pycache__")
            )
        (self.course / "data" / "fetched").symlink_to(ROOT / "data" / "fetched")
        (self.course / "notebooks").mkdir()
        (self.course / "requirements.txt").write_text(requirements)
        self.wheels.mkdir()
        for name in ("toy-old", "toy-fine"):
            make_wheel(self.packages, name, "1.0")
            (wheel,) = self.packages.glob("*.whl")
            zipfile.ZipFile(wheel).extractall(self.packages)
            wheel.unlink()
        for name, version in (
            ("toy-old", "2.5"),
            ("toy-fine", "3.0"),
            ("toy-missing", "1.2"),
            ("numpy", "99"),
        ):
            make_wheel(self.wheels, name, version)

    def set_up(self, first: str = "") -> list[str]:
        """The lines that the set-up prints after a line of code."""
        environment = os.environ | {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(self.wheels)}
        environment.pop("PYTHONPATH", None)
        command = [self.python, "-c", SET_UP.format(first=first)]
        done = subprocess.run(
            command, cwd=self.course, env=environment, capture_output=True, text=True, check=True
        )
        assert done.stderr == ""
        return done.stdout.splitlines()

    def versions(self) -> dict[str, str]:
        """{"toy_old": "1.0", ...} of its own packages."""
        return dict(path.stem.rpartition("-")[::2] for path in self.packages.glob("*.dist-info"))


@pytest.fixture
def colab(tmp_path):
    return Colab(tmp_path)


def test_what_is_missing_or_too_old_is_installed_and_nothing_else(colab):
    said = colab.set_up()
    assert said[0] == "Installed or updated: toy-old 2.5, toy-missing 1.2"
    assert said[1].startswith("Ready: ")
    assert len(said) == 2
    assert colab.versions() == {"toy_old": "2.5", "toy_fine": "1.0", "toy_missing": "1.2"}
    assert [line[:6] for line in colab.set_up()] == ["Ready:"]


def test_a_package_that_was_loaded_asks_for_a_restart(colab):
    installed, asked = colab.set_up("import toy_old, toy_fine")
    assert installed.startswith("Installed or updated: ")
    assert asked == (
        "error: toy-old had been loaded before the update: choose Runtime > Restart session, then run this "
        "cell again"
    )


def test_no_package_brings_another_numpy(colab):
    make_wheel(colab.wheels, "toy-missing", "1.9", requires="numpy>=9")
    (colab.course / "requirements.txt").write_text("numpy>=9\ntoy-missing>=1.9\n")
    (said,) = colab.set_up()
    assert said.startswith("error: pip could not install toy-missing>=1.9 (ERROR: ")
    assert "numpy" not in colab.versions()


def test_what_is_here_stays_where_that_can_be(colab):
    """The newest of a package may need another version of what fits the rest of Colab."""
    make_wheel(colab.wheels, "toy-missing", "1.9", requires="toy-fine>=2")
    assert colab.set_up()[0] == "Installed or updated: toy-old 2.5, toy-missing 1.2"
    assert colab.versions()["toy_fine"] == "1.0"


def test_it_changes_where_nothing_else_fits(colab):
    make_wheel(colab.wheels, "toy-missing", "1.2", requires="toy-fine>=2")
    assert colab.set_up()[0] == "Installed or updated: toy-old 2.5, toy-missing 1.2"
    assert colab.versions()["toy_fine"] == "3.0"
