"""Is this machine ready for the course? Every finding comes with what to do about it (chapter 00)."""

import os
import platform
import shutil
import socket
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from helpers import assets
from helpers.environment import device, package_version, packages, precision, scale, versions
from helpers.files import ROOT
from helpers.threads import is_classroom

# All of the language model's weights in training: a checkpoint has 1.6 GB, the next is written beside it, and
# the model itself has 0.5 GB.
NEEDED_DISK_GB = 4.0
NEEDED_MEMORY_GB = 4.5  # above the largest kernel seen while `make test` ran all chapters: 4.1 GB
BUSY = 0.5  # programs per core: a guest on one of two cores slows what uses both
CONTAINER_LIMIT = Path("/sys/fs/cgroup/memory.max")  # bytes, or "max", of the container we are in


@dataclass(frozen=True)
class Check:
    """One line of the doctor: what was looked at, what was found, and what to do when it is not ready.

    `note` says that the course can begin as it is, but goes better after the remedy.
    """

    name: str
    ready: bool
    found: str
    remedy: str = ""
    note: bool = False

    @property
    def word(self) -> str:
        """ "FAIL", "note" or "ok"."""
        if not self.ready:
            return "FAIL"
        return "note" if self.note else "ok"


def examine() -> list[Check]:
    """Look at everything the course needs on this machine; nothing is changed."""
    kinds = (_python, _packages, _torch, _device, _load, _memory, _assets, _disk, _fonts, _port)
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
    return Check("device", True, f"{text}{', classroom mode' * is_classroom()}")


def _load() -> Check:
    """Programs that compute at the same time take the cores from each other: worth knowing, no fault."""
    if not hasattr(os, "getloadavg"):  # Windows
        return Check("load", True, "unknown on this system")
    return judge_load(os.getloadavg()[0], os.cpu_count() or 1, classroom=is_classroom())


def judge_load(load: float, cores: int, *, classroom: bool = False) -> Check:
    """What a load average (programs that computed or waited for a core, over a minute) means on `cores`."""
    found = f"{load:.1f} programs computed in the last minute, on {cores} core{'s' * (cores > 1)}"
    remedy = "end other programs (`top` shows them), or restart idle kernels"
    if not classroom:
        remedy += "; for several learners on one machine set COURSE_CLASSROOM=1, see README"
    return Check("load", True, found, remedy, note=load > BUSY * cores)


def _memory() -> Check:
    try:
        return judge_memory(free_memory())
    except ImportError:
        return Check("memory", True, "unknown without the package psutil")


def free_memory() -> float:
    """The memory that programs can still take here, in GB; ImportError: psutil is missing."""
    from psutil import virtual_memory  # comes with accelerate

    free = virtual_memory().available
    limit = CONTAINER_LIMIT.read_text(encoding="ascii").strip() if CONTAINER_LIMIT.is_file() else "max"
    return (free if limit == "max" else min(free, int(limit))) / 1e9


def judge_memory(free_gb: float) -> Check:
    """What so much free memory (GB) means: too little ends a kernel without a word."""
    found = f"{free_gb:.1f} GB free, the largest chapter takes {NEEDED_MEMORY_GB:.1f} GB"
    remedy = "shut down other kernels (JupyterLab: Kernel > Shut Down All Kernels) and close other programs"
    return Check("memory", True, found, remedy, note=free_gb < NEEDED_MEMORY_GB)


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
