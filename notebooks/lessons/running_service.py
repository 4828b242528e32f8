"""The service as a process of its own, for as long as a chapter or a test asks it (chapter 08)."""

import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from helpers.errors import InputError
from helpers.files import ROOT


@contextmanager
def running(run: str | Path, engine: str = "torch") -> Iterator[str]:
    """The real `serve` command in a process of its own, on a free port, for the length of a `with` block.

    Example: `with running(run) as address: urllib.request.urlopen(f"{address}/health")`

    Raises:
        InputError: the command said so.
    """
    folder = str(Path(run).absolute()) if Path(run).exists() else str(run)  # or the name of a model
    command = [sys.executable, "-m", "helpers", "serve", folder, "--port", "0"]
    command += [] if engine == "torch" else [f"--{engine}"]
    # A file, not a pipe: a log that nobody reads would fill a pipe and stop the service.
    with tempfile.TemporaryFile("w+", encoding="utf-8") as log:
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=log, text=True)
        try:
            address = re.search(r"http://\S+(?=/ until)", process.stdout.readline())
            if not address:
                process.wait()
                log.seek(0)
                raise InputError(f"the service did not start: {log.read().strip()[-500:]}")
            yield address.group()
        finally:
            process.terminate()
            process.wait()
            process.stdout.close()
