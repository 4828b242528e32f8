"""What this machine can do: scale of the course, device, numeric precision, seeds."""

import importlib
import importlib.metadata
import os
import platform
import random
import re
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from helpers import assets, files
from helpers.errors import InputError

KEPT = ("torch", "torchvision", "numpy")  # Colab's own fit each other and its GPU, and may be loaded


def set_up() -> None:
    """The first cell of a notebook, safe to repeat: fetch what is missing, seed, say what this machine does.

    It makes `notebooks` the working directory, wherever the kernel was started. On Colab it installs the
    course's packages that are missing or too old there, and never torch, torchvision or numpy.

    Raises InputError: data, weights or packages are missing and cannot be downloaded; or a package was
        updated that this kernel has loaded, so that it must be restarted.
    """
    folder = str(files.ROOT / "notebooks")
    os.chdir(folder)
    sys.path[:] = dict.fromkeys([folder, *sys.path])  # for `lessons`, before a copy that is installed
    if "google.colab" in sys.modules or (find_spec("google") and find_spec("google.colab")):
        _install_lacking()
    assets.fetch()
    seed_everything(0)
    import torch

    here = f"torch {torch.__version__}, Python {platform.python_version()}"
    print(f"Ready: {scale()} scale on {device()}, {here}")


def _install_lacking() -> None:
    """Install what is missing or too old into the Python that runs here, and say so in a line."""
    from packaging.specifiers import SpecifierSet

    found = {name: package_version(name) for name in (*KEPT, *packages())}
    lacking = {name: line for name, line in packages().items() if name not in KEPT}
    for name, line in list(lacking.items()):
        if found[name] and SpecifierSet(line.removeprefix(name)).contains(found[name], prereleases=True):
            del lacking[name]
    if not lacking:
        return
    modules = importlib.metadata.packages_distributions()  # {"PIL": ["pillow"], ...}
    names = {name for module in {*modules} & {*sys.modules} for name in modules[module]}
    loaded = {name: package_version(name) for name in names}
    pip = (sys.executable, "-m", "pip")
    rest = [*pip, "list", "--format=freeze", *(f"--exclude={name}" for name in lacking)]
    here = subprocess.run(rest, capture_output=True, text=True, check=True).stdout
    with tempfile.TemporaryDirectory() as folder:
        constraint = Path(folder, "kept.txt")
        # What is here stays, where that can be; no package may bring another torch.
        for kept in (here, "".join(f"{name}=={found[name]}\n" for name in KEPT if found[name])):
            constraint.write_text(kept, encoding="utf-8")
            command = [*pip, "install", "--quiet", "--constraint", str(constraint), *lacking.values()]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode == 0:
                break
    if done.returncode:
        why = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or [done.stderr.strip()]
        what = ", ".join(lacking.values())
        raise InputError(f"pip could not install {what} ({why[-1]}); run this cell again")
    importlib.invalidate_caches()
    print("Installed or updated:", ", ".join(f"{name} {package_version(name)}" for name in lacking))
    changed = sorted(name for name, version in loaded.items() if package_version(name) != version)
    if changed:
        what = f"{', '.join(changed)} had been loaded before the update"
        raise InputError(f"{what}: choose Runtime > Restart session, then run this cell again")


def packages() -> dict[str, str]:
    """What `requirements.txt` asks for: {"torch": "torch>=2.11", ...}, in its order."""
    lines = (files.ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    return {re.split("[<>=]", line)[0]: line for line in lines if line and not line.startswith("#")}


def scale() -> str:
    """The course's size, "quick" (for 2 CPU cores) or "full" (a GPU): `COURSE_SCALE`, else by the hardware.

    Raises InputError: `COURSE_SCALE` holds another word.
    """
    chosen = os.environ.get("COURSE_SCALE", "").strip() or ("quick" if device() == "cpu" else "full")
    if chosen not in ("quick", "full"):
        found = f"found {chosen!r}; unset it to choose by the hardware"
        raise InputError(f"COURSE_SCALE must be quick or full, {found}")
    return chosen


def device() -> str:
    """The best device: "cuda", "mps" or "cpu"; for several processes no "mps": it cannot exchange tensors."""
    import torch

    if torch.cuda.is_available():
        return "cuda"
    alone = int(os.environ.get("WORLD_SIZE", "1")) == 1  # set by torchrun
    return "mps" if alone and torch.backends.mps.is_available() else "cpu"


def precision(*, convolutional: bool, on: str | None = None) -> str:
    """The fastest safe mixed precision for training here: "bf16", "fp16" or "no" (plain float32).

    On a GPU it is always half precision: bf16 where the chip has it (same range as float32, so no loss
    scaling), else fp16. It saves memory there; steps too small to keep an H100 busy got slower. On a CPU it
    pays only for matrix products on chips with bf16 instructions: on 2 such cores MiniLM trains 1.6 times as
    fast in bf16, EfficientNet-Lite0 at six tenths of its speed.

    Args:
        convolutional: whether most of the model's work is convolutions.
        on: the device, by default the best one here.
    """
    import torch

    on = on or device()
    if on == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    checks = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")  # private names: absent in some versions
    cpu_has_bf16 = any(getattr(torch.cpu, name, bool)() for name in checks)
    return "bf16" if on == "cpu" and not convolutional and cpu_has_bf16 else "no"


def seed_everything(seed: int) -> None:
    """Seed Python, NumPy and PyTorch (every device), so that a run can be repeated."""
    import torch

    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002  (other libraries draw from it)
    torch.manual_seed(seed)


def versions() -> dict[str, str]:
    """The versions that a result depends on: {"python": "3.11.7", "torch": "2.15.0", ...}."""
    installed = {name: package_version(name) for name in packages()}
    found = {name: version for name, version in installed.items() if version}
    return {"python": platform.python_version()} | found


def package_version(package: str) -> str | None:
    """The version of an installed package, or None."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
