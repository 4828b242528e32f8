"""Chapter 00 run by one learner and by a whole room at once, each on her own server (`make classroom`).

usage: python benchmarks/classroom.py [N [CELLS]]     (8 learners: about 6 minutes on 2 idle cores)

The servers are those of classroom/servers.py, with their threads, folders and tokens. A kernel is opened
through each server's REST API, in the learner's copy of the notebook, and runs its code cells in their order.
One learner alone runs the chapter twice (while the other servers wait), then all run it at once. Memory is
the most that a learner's processes held, looked at every two seconds; what several share is counted in parts.
Results go to results/classroom.json; the first CELLS alone only try the script. Linux and macOS.
"""

import json
import os
import platform
import statistics
import sys
import tempfile
import threading
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
from jupyter_client.blocking import BlockingKernelClient

from helpers import environment
from helpers.files import ROOT, write_atomically
from helpers.safety.signals import Signals

sys.path.append(str(ROOT / "classroom"))
import rooms
import servers

RESULTS = Path(__file__).resolve().parent / "results" / "classroom.json"
NOTEBOOK = "notebooks/00_start_here.ipynb"
FIRST_PORT = 9600


def request(learner: rooms.Learner, method: str, path: str, content: dict | None = None) -> dict:
    """Call a learner's server as her browser does."""
    data = json.dumps(content).encode() if content else None
    headers = {"Authorization": f"token {learner.token}", "Content-Type": "application/json"}
    url = f"http://{learner.host}:{learner.port}/{learner.name}/api/{path}"
    asked = urllib.request.Request(url, data, headers, method=method)
    with urllib.request.urlopen(asked, timeout=60) as answer:
        return json.loads(answer.read() or b"{}")


def opened(learner: rooms.Learner) -> tuple[BlockingKernelClient, str]:
    """Open the notebook on her server: a client of its kernel, which is ready, and the session's id."""
    session = {"path": NOTEBOOK, "type": "notebook", "name": "00", "kernel": {"name": "python3"}}
    made = request(learner, "POST", "sessions", session)
    runtime = learner.folder / ".jupyter" / "runtime"
    client = BlockingKernelClient(connection_file=str(runtime / f"kernel-{made['kernel']['id']}.json"))
    client.load_connection_file()
    client.start_channels(hb=False)  # a heart that is late on a busy machine is no death
    client.wait_for_ready(timeout=120)
    return client, made["id"]


def run_chapter(learner: rooms.Learner, client: BlockingKernelClient, cells: int | None) -> float:
    """Run the code cells of her notebook, or the first ones; seconds."""
    notebook = json.loads((learner.folder / NOTEBOOK).read_text(encoding="utf-8"))
    code = [cell["source"] for cell in notebook["cells"] if cell["cell_type"] == "code"]
    began = time.perf_counter()
    for source in code[:cells]:
        run_cell(client, source)
    return time.perf_counter() - began


def run_cell(client: BlockingKernelClient, source: str | list[str]) -> None:
    """Run one cell to its end; what it shows is thrown away."""
    reply = client.execute_interactive("".join(source), output_hook=lambda _: None, allow_stdin=False)
    if reply["content"]["status"] != "ok":
        raise SystemExit(f"a cell of {NOTEBOOK} failed: {reply['content'].get('evalue')}")


def at_once(learners: list[rooms.Learner], cells: int | None) -> dict:
    """All of these run the chapter now: seconds and peak memory of each, and the peak of their sum."""
    peaks, together, ended = dict.fromkeys((one.name for one in learners), 0.0), [0.0], threading.Event()

    def look() -> None:
        while not ended.wait(2):
            held = {one.name: servers.look(one, 2)[0] for one in learners}
            peaks.update({name: max(peaks[name], held[name]) for name in peaks})
            together[0] = max(together[0], sum(held.values()))

    notebooks = [opened(learner) for learner in learners]
    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        with ThreadPoolExecutor(len(learners)) as pool:
            runs = [pool.submit(run_chapter, one, book[0], cells) for one, book in zip(learners, notebooks)]
            seconds = [run.result() for run in runs]
    finally:
        ended.set()
        watcher.join()
    for learner, (client, session) in zip(learners, notebooks):
        client.stop_channels()
        request(learner, "DELETE", f"sessions/{session}")
    return {
        "seconds": [round(value, 1) for value in seconds],
        "peak_mb": [round(value) for value in peaks.values()],
        "peak_mb_together": round(together[0]),
    }


def machine() -> dict:
    """What this was measured on."""
    names = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    processors = [line.split(":")[1].strip() for line in names.splitlines() if line.startswith("model name")]
    memory = round(psutil.virtual_memory().total / 1e9)
    processor = processors[0] if processors else platform.processor()
    return {"cores": os.cpu_count(), "processor": processor, "memory_gb": memory, "system": platform.system()}


def main(count: int, cells: int | None = None) -> None:
    """Measure, and store the result; with the first `cells` alone nothing is stored."""
    load = os.getloadavg()[0]
    servers.share(count)
    with tempfile.TemporaryDirectory() as folder:
        learners = rooms.room(Path(folder), count, "127.0.0.1", FIRST_PORT, ROOT)
        try:
            for learner in learners:
                servers.start(learner)
            servers.wait(learners)
            alone = [at_once(learners[:1], cells) for _ in range(2)]
            print("alone:", *alone, flush=True)
            room = at_once(learners, cells)
            print("at once:", room, flush=True)
        finally:
            servers.stop(learners)
    one = statistics.median(run["seconds"][0] for run in alone)
    content = {
        "machine": machine(),
        "load_before": round(load, 1),
        "learners": count,
        "threads_each": int(os.environ["OMP_NUM_THREADS"]),
        "alone": alone,
        "at_once": room,
        "slowest_at_once_to_alone": round(max(room["seconds"]) / one, 2),
        "gb_of_a_learner": round(max(room["peak_mb_together"] / count, *room["peak_mb"]) / 1000, 2),
        "versions": environment.versions(),
    }
    if cells is None:
        write_atomically(RESULTS, (json.dumps(content, indent=1) + "\n").encode())
    print(f"{count} at once take {content['slowest_at_once_to_alone']} times as long as one alone")


if __name__ == "__main__":
    with Signals(at_once=True):
        main(*map(int, sys.argv[1:3] or ["8"]))
