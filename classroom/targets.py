"""For which systems and Pythons the course's packages come as wheels, and which file each of them takes."""

import contextlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from packaging import tags
from packaging.requirements import Requirement
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename


def _manylinux(machine: str) -> tuple[str, ...]:
    """What runs on Linux with glibc 2.28 (2018) and newer, the newest first."""
    old = ("manylinux2014", "manylinux2010", "manylinux1")
    names = [*(f"manylinux_2_{minor}" for minor in range(28, 4, -1)), *old, "linux"]
    return tuple(f"{name}_{machine}" for name in names)


@dataclass(frozen=True)
class System:
    """An operating system on a kind of processor: what markers ask of it, and the wheels that it takes."""

    name: str
    said: str
    markers: dict[str, str]
    platforms: tuple[str, ...]


_LINUX = {"os_name": "posix", "sys_platform": "linux", "platform_system": "Linux"}
_MACOS = {"os_name": "posix", "sys_platform": "darwin", "platform_system": "Darwin"}
_WINDOWS = {"os_name": "nt", "sys_platform": "win32", "platform_system": "Windows"}
SYSTEMS = {
    system.name: system
    for system in (
        System("linux", "Linux, x86-64", _LINUX | {"platform_machine": "x86_64"}, _manylinux("x86_64")),
        System("linux-arm", "Linux, ARM", _LINUX | {"platform_machine": "aarch64"}, _manylinux("aarch64")),
        System(
            "macos",
            "macOS 14 and newer, Apple silicon",
            _MACOS | {"platform_machine": "arm64"},
            tuple(tags.mac_platforms((14, 0), "arm64")),
        ),
        System("windows", "Windows, x86-64", _WINDOWS | {"platform_machine": "AMD64"}, ("win_amd64",)),
    )
}


@dataclass(frozen=True)
class Pin:
    """One package of a lock file: its line without the marker, and the sha256 of each file that it may be."""

    requirement: Requirement
    hashes: tuple[str, ...]

    @property
    def line(self) -> str:
        """As pip reads it, for any system."""
        hashes = "".join(f" --hash=sha256:{value}" for value in self.hashes)
        return f"{self.requirement.name}{self.requirement.specifier}{hashes}"


@dataclass(frozen=True)
class Target:
    """A system with one Python."""

    system: System
    python: str  # "3.12"

    def __str__(self):
        return f"{self.system.name}, Python {self.python}"

    def wants(self, pin: Pin) -> bool:
        """Whether the marker of a line is true there, with the first or the last 3.12, say."""
        marker = pin.requirement.marker
        return marker is None or any(marker.evaluate(self._environment(patch)) for patch in (0, 99))

    def _environment(self, patch: int) -> dict[str, str]:
        versions = {"python_version": self.python, "python_full_version": f"{self.python}.{patch}"}
        kind = {"implementation_name": "cpython", "platform_python_implementation": "CPython"}
        unknown = {"platform_release": "", "platform_version": "", "extra": ""}
        return (
            self.system.markers
            | versions
            | kind
            | unknown
            | {"implementation_version": versions["python_full_version"]}
        )

    @cached_property
    def tags(self) -> frozenset[tags.Tag]:
        """The kinds of wheels that pip takes there."""
        version = tuple(map(int, self.python.split(".")))
        interpreter = f"cp{version[0]}{version[1]}"
        own = tags.cpython_tags(version, [interpreter], self.system.platforms)
        return frozenset([*own, *tags.compatible_tags(version, interpreter, self.system.platforms)])

    def file_of(self, pin: Pin, names: Iterable[str]) -> str | None:
        """Which of these files is the pin's wheel there."""
        wanted = canonicalize_name(pin.requirement.name)
        for name in names:
            with contextlib.suppress(InvalidWheelFilename):
                found, version, _, kinds = parse_wheel_filename(name)
                if found == wanted and pin.requirement.specifier.contains(version) and kinds & self.tags:
                    return name
        return None


def pins_of(text: str) -> list[Pin]:
    """The lines of a lock file or of data/assets.txt."""
    lines = text.replace("\\\n", " ").splitlines()
    split = [line.split("--hash=sha256:") for line in lines if re.match(r"[A-Za-z0-9]", line)]
    return [Pin(Requirement(line), tuple(map(str.strip, hashes))) for line, *hashes in split]
