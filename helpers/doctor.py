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
    kinds = (_python, _packages, _torch, _device, _assets, _disk, _fonts, _port)
    return [check() for check in kinds]


def findings(checks: list[Check]) -> dict:
    """What was found as one JSON-ready dictionary."""
    ready = all(check.ready for check in checks)
    return {"ready": ready, "checks": [asdict(check) for check in checks], "versions": versions()}


def _python() -> Check:
    found = f"{platform.python_version()} at {sys.executable}"
    remedy = "install Python 3.11 or newer, delete .venv and run `make setup`"
    return Check("python", sys.version_info >= (3, 11), found, remedy)


def _packages() -> Check:
    missing = [name for name in packages() if package_version(name) is None]
    found = f"all {len(packages())} of requirements.txt installed"
    if missing:
        found = f"missing: {', '.join(missing)}"
    return Check("packages", not missing, found, "run `make setup`, or pip install -r requirements.txt")


def _torch() -> Check:
    """torchvision must be built for the installed torch: a mismatch fails at import, inside an operator."""
    remedy = "install torch and torchvision together: pip install --force-reinstall -r requirements.txt"
    try:
        import torch
        import torchvision
    except (ImportError, RuntimeError, OSError) as error:
        return Check("torch", False, str(error).splitlines()[0], remedy)
    return Check("torch", True, f"torch {torch.__version__}, torchvision {torchvision.__version__}", remedy)


def _device() -> Check:
    import torch

    kind, threads = device(), torch.get_num_threads()
    name = torch.cuda.get_device_name() if kind == "cuda" else f"{threads} thread{'s' if threads > 1 else ''}"
    text = f"{kind} ({name}), scale {scale()}, precision {precision(convolutional=False)} for text"
    return Check("device", True, text)


def _assets() -> Check:
    bad = [f"{target} is {fault}" for target, fault in assets.status().items() if fault]
    found = "; ".join(bad[:3]) if bad else f"all verified in {assets.FOLDER}"
    if len(bad) > 3:
        found += f" and {len(bad) - 3} more"
    return Check("assets", not bad, found, "run `python -m helpers fetch`")


def _disk() -> Check:
    free = shutil.disk_usage(ROOT).free / 1e9
    remedy = f"free at least {NEEDED_DISK_GB:.0f} GB for runs and checkpoints"
    return Check("disk", free >= NEEDED_DISK_GB, f"{free:.1f} GB free", remedy)


def _fonts() -> Check:
    from matplotlib import font_manager

    found = str(font_manager.findfont("DejaVu Sans", fallback_to_default=True))
    remedy = "reinstall matplotlib, which brings the font DejaVu Sans"
    return Check("fonts", os.path.exists(found), found, remedy)


def _port() -> Check:
    """JupyterLab takes the next port by itself when 8888 is busy: worth knowing, no fault."""
    with socket.socket() as probe:
        busy = probe.connect_ex(("127.0.0.1", 8888)) == 0
    found = "8888 is busy: `make lab PORT=8890` chooses another" if busy else "8888 is free"
    return Check("port", True, found)
