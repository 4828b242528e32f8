"""Is this machine ready for the course? Every finding comes with what to do about it (chapter 00)."""

import os
import platform
import shutil
import socket
import sys
from dataclasses import asdict, dataclass

from helpers import assets
from helpers.environment import device, package_version, packages, precision, scale, versions
from helpers.files import ROOT

NEEDED_DISK_GB = 2.0


@dataclass(frozen=True)
class Check:
    """One line of the doctor: what was looked at, what was found, and what to do when it is not ready."""

    name: str
    ready: bool
    found: str
    remedy: str = ""


def examine() -> list[Check]:
    """Look at everything the course needs on this machine; nothing is changed."""
    return [
        _check_python(),
        _check_packages(),
        _check_import(),
        _check_device(),
        _check_assets(),
        _check_disk(),
        _check_fonts(),
        _check_port(),
    ]


def findings(checks: list[Check]) -> dict:
    """What was found as one JSON-ready dictionary."""
    return {
        "ready": all(check.ready for check in checks),
        "checks": [asdict(check) for check in checks],
        "versions": versions(),
    }


def _check_python() -> Check:
    found = f"{platform.python_version()} at {sys.executable}"
    return Check(
        "python",
        sys.version_info >= (3, 11),
        found,
        "install Python 3.11 or newer, delete .venv and run `make setup`",
    )


def _check_packages() -> Check:
    missing = [name for name in packages() if package_version(name) is None]
    found = (
        f"missing: {', '.join(missing)}"
        if missing
        else f"all {len(packages())} of requirements.txt installed"
    )
    return Check("packages", not missing, found, "run `make setup`, or pip install -r requirements.txt")


def _check_import() -> Check:
    """torchvision must be built for the installed torch: a mismatch fails at import, deep inside an
    operator.
    """
    remedy = "install torch and torchvision together: pip install --force-reinstall -r requirements.txt"
    try:
        import torch
        import torchvision
    except (ImportError, RuntimeError, OSError) as error:
        return Check("torch", False, str(error).splitlines()[0], remedy)
    return Check("torch", True, f"torch {torch.__version__}, torchvision {torchvision.__version__}", remedy)


def _check_device() -> Check:
    import torch

    kind, threads = device(), torch.get_num_threads()
    name = torch.cuda.get_device_name() if kind == "cuda" else f"{threads} thread{'s' if threads > 1 else ''}"
    text = f"{kind} ({name}), scale {scale()}, precision {precision(convolutional=False)} for text"
    return Check("device", True, text)


def _check_assets() -> Check:
    bad = [f"{target} is {fault}" for target, fault in assets.status().items() if fault]
    found = (
        "; ".join(bad[:3]) + (f" and {len(bad) - 3} more" if len(bad) > 3 else "")
        if bad
        else f"all verified in {assets.FOLDER}"
    )
    return Check("assets", not bad, found, "run `python -m helpers fetch`")


def _check_disk() -> Check:
    free = shutil.disk_usage(ROOT).free / 1e9
    return Check(
        "disk",
        free >= NEEDED_DISK_GB,
        f"{free:.1f} GB free",
        f"free at least {NEEDED_DISK_GB:.0f} GB for runs and checkpoints",
    )


def _check_fonts() -> Check:
    from matplotlib import font_manager

    found = str(font_manager.findfont("DejaVu Sans", fallback_to_default=True))
    return Check(
        "fonts", os.path.exists(found), found, "reinstall matplotlib, which brings the font DejaVu Sans"
    )


def _check_port() -> Check:
    """JupyterLab takes the next port by itself when 8888 is busy, so a busy port is worth knowing, not a
    fault.
    """
    with socket.socket() as probe:
        free = probe.connect_ex(("127.0.0.1", 8888)) != 0
    return Check(
        "port", True, "8888 is free" if free else "8888 is busy: `make lab PORT=8890` chooses another"
    )
