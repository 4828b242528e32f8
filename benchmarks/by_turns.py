"""Processes that measure by turns: each is made ready once, then runs only while it is asked.

By turns, so that whatever slows this machine for a while slows all that is compared; in processes of their
own, because what OpenMP, accelerate and the allocator were told first holds for a whole process.
"""

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


class Worker:
    """A script of its own process, which answers each request (a dictionary) with another one."""

    def __init__(self, script: Path, *arguments: str, environment: dict[str, str]):
        paths = [str(ROOT), str(ROOT / "notebooks"), os.environ.get("PYTHONPATH", "")]
        environment = environment | {"PYTHONPATH": os.pathsep.join(path for path in paths if path)}
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self.process = subprocess.Popen([sys.executable, script, *arguments], env=environment, **pipes)

    def send(self, **request) -> None:
        """Ask, and do not wait."""
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()

    def receive(self) -> dict:
        """The next answer; a worker that ended has said why on stderr."""
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"a measuring process ended: {' '.join(map(str, self.process.args))}")
        return json.loads(line)

    def ask(self, **request) -> dict:
        """Ask, and wait for the answer."""
        self.send(**request)
        return self.receive()

    def close(self) -> None:
        """Let it end."""
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait()


def serve(prepare: Callable[[], Callable[..., dict]]) -> None:
    """What a worker does: prepare, then answer requests by what `prepare` returned, to the last one."""
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints must not stand among the answers
    answer = prepare()
    print(json.dumps({"ready": True}), file=replies, flush=True)
    for line in sys.stdin:
        print(json.dumps(answer(**json.loads(line))), file=replies, flush=True)


def own_environment() -> dict[str, str]:
    """This process's environment without what a person or `helpers` said about threads."""
    about_threads = ("OMP_", "GOMP_", "KMP_", "MKL_", "COURSE_CLASSROOM")
    return {name: value for name, value in os.environ.items() if not name.startswith(about_threads)}


def median(values: list[float], digits: int = 3) -> float:
    """The median, rounded for a results file."""
    return round(statistics.median(values), digits)
