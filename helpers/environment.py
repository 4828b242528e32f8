"""What this machine can do: scale of the course, device, numeric precision, seeds, and the doctor of chapter 00."""

import importlib.metadata
import importlib.util
import os
import platform
import random
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from helpers import assets
from helpers.errors import InputError

NEEDED_DISK_GB = 2.0


def set_up() -> None:
    """The first cell of every notebook: fetch what is missing, seed, and say what this machine will do; safe to repeat.

    On Colab it installs the course's packages that are missing there, and never touches torch or numpy, which the running
    kernel has already loaded.

    Raises:
        InputError: data or weights are missing and cannot be downloaded.
    """
    if importlib.util.find_spec("google") and importlib.util.find_spec("google.colab"):  # the parent first, or find_spec raises
        _install_missing()
    assets.fetch()
    seed_everything(0)
    import torch

    print(f"Ready: {scale()} scale on {device()}, torch {torch.__version__}, Python {platform.python_version()}")


def _install_missing() -> None:
    missing = [line for name, line in packages().items() if name not in ("torch", "torchvision", "numpy") and _version(name) is None]
    if missing:
        subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", *missing], check=True)


def packages() -> dict[str, str]:
    """What `requirements.txt` asks for: {"torch": "torch>=2.11", ...}, in its order."""
    lines = (assets.ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    return {re.split("[<>=]", line)[0]: line for line in lines if line and not line.startswith("#")}


def scale() -> str:
    """ "quick" (embedded data, small enough for 2 CPU cores) or "full" (a GPU): `COURSE_SCALE`, else by the hardware.

    Raises:
        InputError: `COURSE_SCALE` holds another word.
    """
    chosen = os.environ.get("COURSE_SCALE", "").strip() or ("quick" if device() == "cpu" else "full")
    if chosen not in ("quick", "full"):
        raise InputError(f"COURSE_SCALE must be quick or full, found {chosen!r}; unset it to choose by the hardware")
    return chosen


def device() -> str:
    """The best device that PyTorch sees here: "cuda", "mps" or "cpu"; with several processes never "mps", which cannot exchange tensors."""
    import torch

    if torch.cuda.is_available():
        return "cuda"
    alone = int(os.environ.get("WORLD_SIZE", "1")) == 1  # set by torchrun
    return "mps" if alone and torch.backends.mps.is_available() else "cpu"


def precision(*, convolutional: bool, on: str | None = None) -> str:
    """The fastest safe mixed precision for training here: "bf16", "fp16" or "no" (plain float32).

    On a GPU half precision always pays: bf16 where the chip has it (same range as float32, so no loss scaling), else
    fp16. On a CPU it pays only for matrix products on chips with bf16 instructions: measured on 2 such cores, MiniLM trains
    1.6 times as fast in bf16, EfficientNet-Lite0 at six tenths of its speed.

    Args:
        convolutional: whether most of the model's work is convolutions.
        on: the device, by default the best one here.
    """
    import torch

    on = on or device()
    if on == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    if on == "cpu" and not convolutional and _cpu_has_bf16():
        return "bf16"
    return "no"


def _cpu_has_bf16() -> bool:
    import torch

    checks = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")  # private names: absent in some versions
    return any(getattr(torch.cpu, name, bool)() for name in checks)


def seed_everything(seed: int) -> None:
    """Seed Python, NumPy and PyTorch (every device), so that a run can be repeated."""
    import torch

    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002  (other libraries draw from it)
    torch.manual_seed(seed)


def is_writable(folder: Path) -> bool:
    """Whether a file can be made in an existing folder: tried, since permission bits do not tell (read-only disks, root)."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            return True
    except OSError:
        return False


def versions() -> dict[str, str]:
    """The versions that a result depends on: {"python": "3.11.7", "torch": "2.15.0", ...}."""
    return {"python": platform.python_version()} | {name: version for name in packages() if (version := _version(name))}


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


@dataclass(frozen=True)
class Check:
    """One line of the doctor: what was looked at, what was found, and what to do when it is not ready."""

    name: str
    ready: bool
    found: str
    remedy: str = ""


def doctor() -> list[Check]:
    """Look at everything the course needs on this machine; nothing is changed."""
    return [_check_python(), _check_packages(), _check_import(), _check_device(), _check_assets(), _check_disk(),
            _check_fonts(), _check_port()]  # fmt: skip


def report(checks: list[Check]) -> dict:
    """The doctor's findings as one JSON-ready dictionary."""
    return {"ready": all(check.ready for check in checks), "checks": [asdict(check) for check in checks], "versions": versions()}


def _check_python() -> Check:
    found = f"{platform.python_version()} at {sys.executable}"
    return Check("python", sys.version_info >= (3, 11), found, "install Python 3.11 or newer, delete .venv and run `make setup`")


def _check_packages() -> Check:
    missing = [name for name in packages() if _version(name) is None]
    found = f"missing: {', '.join(missing)}" if missing else f"all {len(packages())} of requirements.txt installed"
    return Check("packages", not missing, found, "run `make setup`, or pip install -r requirements.txt")


def _check_import() -> Check:
    """torchvision must be built for the installed torch: a mismatch fails at import, deep inside an operator."""
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
    found = "; ".join(bad[:3]) + (f" and {len(bad) - 3} more" if len(bad) > 3 else "") if bad else f"all verified in {assets.FOLDER}"
    return Check("assets", not bad, found, "run `python -m helpers fetch`")


def _check_disk() -> Check:
    free = shutil.disk_usage(assets.ROOT).free / 1e9
    return Check("disk", free >= NEEDED_DISK_GB, f"{free:.1f} GB free", f"free at least {NEEDED_DISK_GB:.0f} GB for runs and checkpoints")


def _check_fonts() -> Check:
    from matplotlib import font_manager

    found = str(font_manager.findfont("DejaVu Sans", fallback_to_default=True))
    return Check("fonts", os.path.exists(found), found, "reinstall matplotlib, which brings the font DejaVu Sans")


def _check_port() -> Check:
    """JupyterLab takes the next port by itself when 8888 is busy, so a busy port is worth knowing, not a fault."""
    with socket.socket() as probe:
        free = probe.connect_ex(("127.0.0.1", 8888)) != 0
    return Check("port", True, "8888 is free" if free else "8888 is busy: `make lab PORT=8890` chooses another")
