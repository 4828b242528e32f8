"""A stick of tiny wheels: made by the real pip from a folder of wheels, gone on with, and installed from."""

import hashlib
import json
import os
import shlex
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from helpers.errors import InputError
from helpers.files import ROOT

sys.path.append(str(ROOT / "classroom"))
import stick
from targets import SYSTEMS, Target, pins_of

LINUX, MACOS, WINDOWS = (Target(SYSTEMS[name], "3.12") for name in ("linux", "macos", "windows"))
KINDS = {
    "anywhere-1.0-py3-none-any.whl": "",
    "compiled-2.0-cp312-cp312-manylinux_2_17_x86_64.manylinux2014_x86_64.whl": "",
    "compiled-2.0-cp312-cp312-macosx_11_0_arm64.whl": "",
    "compiled-2.0-cp312-cp312-win_amd64.whl": "",
    "compiled-2.0-cp311-cp311-win_amd64.whl": "",
    "nvidia_tiny-3.0-py3-none-manylinux_2_27_x86_64.whl": "sys_platform == 'linux'",
    "pywintiny-4.0-cp310-abi3-win_amd64.whl": "os_name == 'nt'",
    "older-1.0-py3-none-any.whl": "python_full_version < '3.12.5'",
    "older-2.0-py3-none-any.whl": "python_full_version >= '3.12.5'",
}


def make_wheel(folder: Path, name: str) -> str:
    """A wheel with one module; its sha256."""
    package, version, *tags = name.removesuffix(".whl").split("-")
    info = f"{package}-{version}.dist-info"
    head = f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {'-'.join(tags)}\n"
    with zipfile.ZipFile(folder / name, "w") as wheel:
        wheel.writestr(f"{package}.py", f"kind = {name!r}\n")
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n")
        wheel.writestr(f"{info}/WHEEL", head)
        wheel.writestr(f"{info}/RECORD", "")
    return hashlib.sha256((folder / name).read_bytes()).hexdigest()


@pytest.fixture
def index(tmp_path, monkeypatch):
    """A folder of wheels in the index's place, and the lock file that pins them: (folder, lock)."""
    folder = tmp_path / "index"
    folder.mkdir()
    hashes: dict[str, list[str]] = {}
    for name, marker in KINDS.items():
        package, version = name.split("-")[:2]
        line = f"{package.replace('_', '-')}=={version}" + (f" ; {marker}" if marker else "")
        hashes.setdefault(line, []).append(make_wheel(folder, name))
    lock = tmp_path / "requirements.lock"
    entries = [
        " \\\n".join([line, *(f"    --hash=sha256:{value}" for value in found)])
        for line, found in hashes.items()
    ]
    lock.write_text("\n    # via something\n".join(entries) + "\n", encoding="utf-8")
    for name in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", folder.as_uri())
    return folder, lock


def fill(dest, index, *targets):
    return stick.fill(dest, list(targets), lock=index[1], assets=None)


def names(dest) -> set[str]:
    return {file.name for file in (dest / "wheels").iterdir()}


def test_each_system_gets_its_wheels_and_no_other(index, tmp_path):
    manifest = fill(tmp_path / "linux", index, LINUX)
    assert names(tmp_path / "linux") == {name for name in KINDS if "win" not in name and "macos" not in name}
    manifest = fill(tmp_path / "both", index, MACOS, WINDOWS)
    assert names(tmp_path / "both") == {name for name in KINDS if "linux" not in name and "cp311" not in name}
    assert {"macos, Python 3.12", "windows, Python 3.12"} == set(manifest["complete"])
    assert manifest == json.loads((tmp_path / "both" / "manifest.json").read_text(encoding="utf-8"))
    assert "Windows, x86-64: Python 3.12\n" in (tmp_path / "both" / "README.txt").read_text(encoding="utf-8")
    assert (tmp_path / "both" / "course" / "helpers" / "cli.py").is_file()


def test_what_was_stopped_goes_on_and_what_is_damaged_comes_again(index, tmp_path, monkeypatch, capsys):
    dest, kill = tmp_path / "stick", stick._pip

    def stopped(lines, *others):
        kill(lines, *others)
        (dest / ".download-left").mkdir()
        raise KeyboardInterrupt

    monkeypatch.setattr(stick, "AT_ONCE", 2)
    monkeypatch.setattr(stick, "_pip", stopped)
    with pytest.raises(KeyboardInterrupt):
        fill(dest, index, LINUX)
    assert len(names(dest)) == 2
    monkeypatch.setattr(stick, "_pip", kill)
    fill(dest, index, LINUX)
    assert not list(dest.glob(".download-*"))
    assert "5 packages, 3 to download" in capsys.readouterr().out

    damaged = dest / "wheels" / "anywhere-1.0-py3-none-any.whl"
    damaged.write_bytes(damaged.read_bytes()[:-7])
    (dest / "wheels" / "gone-0.1-py3-none-any.whl").write_bytes(b"of an older course")
    fill(dest, index, LINUX)
    told = capsys.readouterr().out
    assert "anywhere-1.0-py3-none-any.whl is damaged or of another version of the course: removed" in told
    assert "5 packages, 1 to download" in told
    assert "gone-0.1-py3-none-any.whl" not in names(dest)


def test_a_missing_wheel_is_named_with_its_system_and_the_rest_is_there(index, tmp_path):
    (index[0] / "compiled-2.0-cp312-cp312-macosx_11_0_arm64.whl").unlink()
    with pytest.raises(
        InputError, match=r"no wheel of compiled==2\.0 \(macos, Python 3\.12\); .*: windows, "
    ):
        fill(tmp_path / "stick", index, MACOS, WINDOWS)
    assert "anywhere-1.0-py3-none-any.whl" in names(tmp_path / "stick")
    readme = (tmp_path / "stick" / "README.txt").read_text(encoding="utf-8")
    assert "Windows, x86-64: Python 3.12" in readme
    assert "macOS 14" not in readme


def test_another_file_under_a_pinned_name_is_refused(index, tmp_path):
    name = "anywhere-1.0-py3-none-any.whl"
    with zipfile.ZipFile(index[0] / name, "a") as wheel:
        wheel.writestr("more.py", "")
    with pytest.raises(InputError, match=r"another file than the pinned one.*do not use it"):
        fill(tmp_path / "stick", index, LINUX)
    assert name not in names(tmp_path / "stick")


def test_a_folder_of_somebody_else_is_left_alone(index, tmp_path):
    mine = tmp_path / "stick" / "wheels" / "mine.whl"
    mine.parent.mkdir(parents=True)
    mine.write_bytes(b"precious")
    with pytest.raises(InputError, match="that this command did not make; name another folder"):
        fill(tmp_path / "stick", index, LINUX)
    assert mine.read_bytes() == b"precious"


def test_pip_installs_from_the_stick_alone_with_hashes(index, tmp_path, monkeypatch):
    """As `make setup STICK=...` calls it, from a path with a space."""
    here = Target(SYSTEMS["linux"], f"3.{sys.version_info.minor}")
    lock = tmp_path / "small.lock"
    lock.write_text(index[1].read_text(encoding="utf-8").split("compiled")[0], encoding="utf-8")
    dest = tmp_path / "USB STICK"
    stick.fill(dest, [here], lock=lock, assets=None)
    shutil.rmtree(index[0])
    monkeypatch.delenv("PIP_FIND_LINKS")
    monkeypatch.delenv("PIP_NO_INDEX")
    recipe = subprocess.run(
        ["make", "-n", "setup", "--always-make", f"STICK={dest}"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout.splitlines()  # fmt: skip
    line = next(line for line in recipe if "--require-hashes" in line)
    said = line.partition('".venv/bin/python"')[0]
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--require-hashes"]
    command += ["--target", str(tmp_path / "site"), "-r", str(lock)]
    without_index = os.environ | {"PIP_CONFIG_FILE": os.devnull}
    subprocess.run(["bash", "-c", said + shlex.join(command)], check=True, env=without_index)
    assert (tmp_path / "site" / "anywhere.py").is_file()
    assert sum("PIP_NO_INDEX=1" in line for line in recipe) == 3


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--systems", "linux", "beos"], "SYSTEMS: 'beos' is none of linux, linux-arm, macos, windows"),
        (["--pythons", "3.9"], "expected versions such as 3.12, from 3.11 on; found '3.9'"),
    ],
)
def test_bad_words_end_in_one_sentence(arguments, expected, tmp_path, capsys):
    assert stick.main([str(tmp_path / "stick"), *arguments]) == 2
    assert expected in capsys.readouterr().err
    assert not (tmp_path / "stick").exists()


def test_make_names_what_is_missing(tmp_path):
    done = subprocess.run(
        ["make", "setup", "--always-make", f"STICK={tmp_path}"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert f"there is no folder {tmp_path}/wheels" in done.stderr


def test_the_real_lock_asks_each_system_for_its_own():
    pins = pins_of((ROOT / "requirements.lock").read_text(encoding="utf-8"))
    wanted = {
        str(target): {pin.requirement.name for pin in pins if target.wants(pin)}
        for target in (LINUX, MACOS, WINDOWS)
    }
    nvidia = {pin.requirement.name for pin in pins if pin.requirement.name.startswith("nvidia-")}
    assert len(nvidia) > 10
    assert nvidia <= wanted[str(LINUX)]
    assert not nvidia & (wanted[str(MACOS)] | wanted[str(WINDOWS)])
    assert "pywinpty" in wanted[str(WINDOWS)] - wanted[str(LINUX)]
    assert all("torch" in names and "setuptools" in names for names in wanted.values())
    old = Target(SYSTEMS["linux"], "3.11")  # which of its releases, nobody knows: both of a pair come along
    assert [pin.requirement.name for pin in pins if old.wants(pin)].count("soupsieve") == 2
