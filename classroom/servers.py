"""A JupyterLab for each learner of a room, all on this machine; Ctrl-C or SIGTERM ends them all.

usage: make classroom N=30 [PORT=9000] [ADDRESS=127.0.0.1] [FOLDER=runs/classroom] [PROXY=https://NAME]

Each learner gets a folder of her own (a copy of the course, with her own progress and runs), a port and a
token; environment, data and weights are shared. Cores are shared, too: each program computes on cores // N
threads, at least one, and idle threads sleep. All servers run as the person who calls this.
"""

import argparse
import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

import psutil
from rooms import START, Learner, read_only, room

from helpers.doctor import NEEDED_MEMORY_GB, free_memory
from helpers.errors import InputError
from helpers.files import ROOT
from helpers.safety.signals import Signals, ignore_signals
from helpers.threads import share_cores

MEMORY_GB = 1.8  # of one learner while chapter 00 runs: benchmarks/classroom.py measures it
STARTED_AFTER = 180  # seconds in which all servers must answer
ENDED_AFTER = 20  # seconds after which what has not ended is killed


def share(learners: int) -> None:
    """Set for all that this process starts how many threads compute, and that idle ones sleep."""
    os.environ["COURSE_CLASSROOM"] = "1"
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // learners)))
    share_cores()


def judge_memory(learners: int, free: float) -> str:
    """One sentence: whether the room fits in so much free memory (GB).

    Raises InputError: not even chapter 00 of all learners at once would.
    """
    need, most = learners * MEMORY_GB, learners * NEEDED_MEMORY_GB
    if need > free:
        fits = int(free / MEMORY_GB)
        raise InputError(
            f"{learners} learners need {need:.0f} GB of memory in chapter 00 ({MEMORY_GB} GB each, as "
            f"measured), and {free:.0f} GB are free; take at most N={fits} here, or a larger machine"
        )
    found = f"Memory: {free:.0f} GB are free; {learners} learners take about {need:.0f} GB in chapter 00"
    if most > free:
        return f"{found}, and up to {most:.0f} GB in the largest chapter, which does not fit for all at once."
    return f"{found}, at most {most:.0f} GB in the largest chapter."


def check_ports(host: str, ports: range) -> None:
    """Raises InputError: one of the ports cannot be listened on."""
    if ports.start < 1024 or ports.stop > 65536:
        raise InputError(f"PORT: expected ports from 1024 to 65535, found {ports.start} to {ports.stop - 1}")
    for port in ports:
        try:
            family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
            with socket.socket(family) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind((host, port))
        except OSError as error:
            what = f"port {port} of {host} cannot be listened on ({error.strerror or error})"
            raise InputError(f"{what}; name another first port: make classroom PORT=9100") from error


def start(learner: Learner) -> None:
    """Start her server; `wait` says when it answers."""
    own = learner.folder / ".jupyter"
    paths = [str(learner.folder), str(learner.folder / "notebooks")]
    environment = os.environ | {
        "JUPYTER_TOKEN": learner.token,  # on the command line everybody on this machine could read it
        "JUPYTER_CONFIG_DIR": str(own / "config"),
        "JUPYTER_DATA_DIR": str(own / "data"),
        "JUPYTER_RUNTIME_DIR": str(own / "runtime"),
        "IPYTHONDIR": str(own / "ipython"),
        "COURSE_PROGRESS": str(learner.folder / "progress.json"),
        "PYTHONPATH": os.pathsep.join(paths),  # her copy of `helpers`, in terminals, too
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]),
    }
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"]
    command += [f"--ServerApp.ip={learner.host}", f"--ServerApp.port={learner.port}"]
    command += ["--ServerApp.port_retries=0", f"--ServerApp.base_url=/{learner.name}/"]
    command += [f"--ServerApp.root_dir={learner.folder}", f"--LabApp.default_url=/{START}"]
    command.append(f"--LabApp.app_settings_dir={ROOT / '.jupyterlab'}")  # as `make lab`
    if learner.proxy:  # a name of this machine, as a browser gives it through the proxy
        command.append(f"--ServerApp.local_hostnames={urlsplit(learner.proxy).hostname}")
    with learner.log.open("ab") as log:
        # A session of its own: Ctrl-C reaches this program alone, which then ends all of them.
        learner.process = subprocess.Popen(
            command,
            cwd=learner.folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def wait(learners: list[Learner]) -> None:
    """Until every server answers.

    Raises InputError: one has ended, or does not answer in time.
    """
    deadline = time.monotonic() + STARTED_AFTER
    for learner in learners:
        host = "127.0.0.1" if learner.host == "0.0.0.0" else learner.host
        url = f"http://{host}:{learner.port}/{learner.name}/api"
        while not _answers(url):
            ended = learner.process.poll() is not None
            if ended or time.monotonic() > deadline:
                what = "has ended" if ended else f"does not answer after {STARTED_AFTER} s"
                last = (learner.log.read_text(errors="replace").strip().splitlines() or ["nothing"])[-1]
                raise InputError(f"the server of {learner.name} {what} ({last}); {learner.log} says more")
            time.sleep(0.2)


def _answers(url: str) -> bool:
    with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=5):
        return True
    return False


def look(learner: Learner, seconds: float) -> tuple[float, float]:
    """Her memory now in MB (what is shared counted in parts), and her CPU in percent since the last look."""
    memory, used = 0.0, 0.0
    with contextlib.suppress(psutil.NoSuchProcess):
        server = psutil.Process(learner.process.pid)
        learner.seen |= {process.pid: process for process in (server, *server.children(recursive=True))}
    for process in list(learner.seen.values()):
        try:
            times, found = process.cpu_times(), process.memory_full_info()
        except psutil.NoSuchProcess:
            del learner.seen[process.pid]
            continue
        memory += getattr(found, "pss", found.rss) / 1e6
        used += times.user + times.system
    percent = 100 * max(0.0, used - learner.cpu_seconds) / seconds
    learner.cpu_seconds = used
    return memory, percent


def watch(learners: list[Learner], every: float) -> None:
    """Print each learner's memory and CPU again and again; a server that has ended is started again."""
    while True:
        time.sleep(every)
        rows = []
        for learner in learners:
            if learner.process.poll() is not None:
                print(f"the server of {learner.name} has ended ({learner.log}): started again", flush=True)
                start(learner)
            rows.append(look(learner, every))
        print(f"{time.strftime('%H:%M')}  {'learner':<12}{'memory':>10}{'CPU':>8}")
        total = ("together", sum(row[0] for row in rows), sum(row[1] for row in rows))
        for name, memory, percent in [*((one.name, *row) for one, row in zip(learners, rows)), total]:
            print(f"       {name:<12}{memory:>7.0f} MB{percent:>6.0f} %")
        print(f"       {free_memory():.1f} GB of memory are free", flush=True)


def stop(learners: list[Learner]) -> None:
    """End every server with its kernels and terminals; what does not end in time is killed."""
    running = [learner for learner in learners if learner.process]
    for learner in running:
        look(learner, 1)  # kernels and terminals have sessions of their own: noted here
        if learner.process.poll() is None:
            learner.process.send_signal(signal.SIGTERM)
    everybody = [process for learner in running for process in learner.seen.values()]
    _, left = psutil.wait_procs(everybody, timeout=ENDED_AFTER)
    for process in left:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(left, timeout=5)
    for learner in running:
        learner.process.wait()


def whole(text: str, what: str) -> int:
    """A number of the command line.

    Raises InputError: it is none, or not above zero.
    """
    if not text.isascii() or not text.isdigit() or int(text) == 0:
        raise InputError(f"{what} must be a whole number above zero, found {text!r}; for example {what}=30")
    return int(text)


def main(arguments: list[str] | None = None) -> int:
    """Run the room until a signal ends it; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("learners", help="how many")
    parser.add_argument("--port", default="9000", help="of the first learner; the others follow")
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen on")
    parser.add_argument("--proxy", default="", help="https://NAME of a reverse proxy before all servers")
    parser.add_argument("--folder", type=Path, default=ROOT / "runs" / "classroom")
    parser.add_argument("--course", type=Path, default=ROOT, help="what each learner gets a copy of")
    parser.add_argument("--every", type=float, default=60, metavar="SECONDS", help="between two tables")
    options = parser.parse_args(arguments)
    learners: list[Learner] = []
    try:
        with Signals(at_once=True), read_only(options.course.resolve() / "data" / "fetched"):
            count, port = whole(options.learners, "N"), whole(options.port, "PORT")
            print(judge_memory(count, free_memory()), flush=True)
            check_ports(options.host, range(port, port + count))
            proxy = options.proxy.rstrip("/")
            if proxy and not (urlsplit(proxy).scheme in ("http", "https") and urlsplit(proxy).hostname):
                raise InputError(
                    f"PROXY: expected an address such as https://course.example, found {proxy!r}"
                )
            share(count)
            folder, course = options.folder.resolve(), options.course.resolve()
            learners = room(folder, count, options.host, port, course, proxy)
            try:
                for learner in learners:
                    start(learner)
                wait(learners)
                for learner in learners:
                    print(f"{learner.name}  {learner.address}")
                threads = os.environ["OMP_NUM_THREADS"]
                print(f"{count} servers, {threads} thread(s) each; Ctrl-C ends them all", flush=True)
                watch(learners, options.every)
            finally:
                ignore_signals()
                stop(learners)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as error:
        print(f"{len(learners)} servers have ended", file=sys.stderr)
        return 128 + getattr(error, "number", signal.SIGINT)
    return 0


if __name__ == "__main__":
    sys.exit(main())
