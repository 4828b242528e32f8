"""Measure the HTTP service under load: 1,000 mixed requests from 4 clients against the real server process,
per engine; then 10,000 requests from 8 clients while 300 others hold a connection and ask nothing.

usage: python benchmarks/service_load.py [RUN]     (about 6 minutes on 2 CPU cores; without RUN the default
run is trained first)

RUN must hold both exports (`python -m helpers export RUN --format onnx`, and again with --int8); they are
made where missing. Each client sends its next request when the last one was answered, and every status code
is checked. Latencies are wall times in ms as a client sees them, on a machine on which client and server
share the cores. The memory is what the service says of itself (Linux only). Results go to
benchmarks/results/service_load.json.
"""

import itertools
import json
import os
import selectors
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import numpy as np
from prometheus_client.parser import text_string_to_metric_families

from export import trained
from helpers import environment
from helpers.cli import main as command
from helpers.data import sources
from helpers.deployment.predict import ENGINES, FOLDERS
from lessons.running_service import running

RESULTS = Path(__file__).resolve().parent / "results" / "service_load.json"
REQUESTS, CLIENTS = 1000, 4
CROWD = {"requests": 10_000, "clients": 8, "idle": 300}
HALF = b"GET /health HTTP/1.1\r\nHost: localhost\r\n"
IDLE = (b"", HALF, HALF + b"\r\n")  # silent, half a request, one that was answered and leaves the line open
# Of every ten requests seven are valid; the rest is what a service meets as well. Kind: the status that is
# right for it.
MIX = {
    "comment": 200,
    "batch of 16": 200,
    "emoji": 200,
    "Chinese": 200,
    "empty": 422,
    "1 MB": 413,
    "malformed JSON": 400,
}
SHARES = (
    "comment",
    "comment",
    "comment",
    "batch of 16",
    "emoji",
    "Chinese",
    "comment",
    "empty",
    "1 MB",
    "malformed JSON",
)


def body(kind: str, number: int, comments: list[str]) -> bytes:
    """The bytes of one request."""
    texts = {
        "comment": comments[number : number + 1],
        "batch of 16": comments[number : number + 16],
        "emoji": ["\U0001f600\U0001f44d great \u2764\ufe0f"],
        "Chinese": ["\u8fd9\u90e8\u7535\u5f71\u5f88\u597d\u770b"],
        "empty": [""],
        "1 MB": ["a" * 1_000_000],
    }
    return b'{"texts": ["half of' if kind == "malformed JSON" else json.dumps({"texts": texts[kind]}).encode()


def ask(client: httpx.Client, kind: str, number: int, comments: list[str]) -> tuple[str, int, float]:
    """Send one request; its kind, status and latency in ms."""
    content = body(kind, number, comments)
    start = time.perf_counter()
    response = client.post("/predict", content=content, headers={"Content-Type": "application/json"})
    response.json()  # every answer is JSON, the refusals too
    return kind, response.status_code, 1000 * (time.perf_counter() - start)


def measure(run: Path, engine: str, comments: list[str]) -> dict:
    """Start the server with an engine, send the mix, and see that it still answers."""
    kinds = [SHARES[number % len(SHARES)] for number in range(REQUESTS)]
    with running(run, engine) as address, httpx.Client(base_url=address, timeout=60) as client:
        for number in range(5):
            ask(client, "comment", number, comments)  # the first calls also allocate: not counted
        start = time.perf_counter()
        with ThreadPoolExecutor(CLIENTS) as clients:
            found = list(clients.map(lambda job: ask(client, job[1], job[0], comments), enumerate(kinds)))
        seconds = time.perf_counter() - start
        alive = client.get("/health").json()["status"] == "ok"
        metrics = client.get("/metrics").text
    wrong = [(kind, status) for kind, status, _ in found if status != MIX[kind]]
    if wrong or not alive or "course_requests_total" not in metrics:
        raise SystemExit(
            f"{engine}: {len(wrong)} wrong answers, the first {wrong[:5]}; alive afterwards: {alive}"
        )
    latency = {kind: [ms for name, _, ms in found if name == kind] for kind in MIX}
    rows = {
        kind: {
            "status": MIX[kind],
            "requests": len(ms),
            "ms_p50": float(np.percentile(ms, 50)),
            "ms_p95": float(np.percentile(ms, 95)),
        }
        for kind, ms in latency.items()
    }
    return {"requests_per_second": REQUESTS / seconds, "alive_afterwards": alive, "kinds": rows}


@contextmanager
def idle_clients(address: str, number: int) -> Iterator[None]:
    """So many connections that ask nothing; where the service closes one, the next takes its place."""
    place, stopped = urlsplit(address), threading.Event()

    def connect(selector, start):
        client = socket.create_connection((place.hostname, place.port), timeout=10)
        client.sendall(start)
        selector.register(client, selectors.EVENT_READ, start)

    def hang():
        with selectors.DefaultSelector() as selector:
            for start in itertools.islice(itertools.cycle(IDLE), number):
                connect(selector, start)
            ready.set()
            while not stopped.is_set():
                for key, _ in selector.select(timeout=0.1):
                    try:
                        is_open = bool(key.fileobj.recv(65536))
                    except ConnectionResetError:
                        is_open = False
                    if not is_open:
                        selector.unregister(key.fileobj)
                        key.fileobj.close()
                        connect(selector, key.data)
            for key in list(selector.get_map().values()):
                key.fileobj.close()

    ready, thread = threading.Event(), threading.Thread(target=hang)
    thread.start()
    if not ready.wait(timeout=60):
        raise SystemExit("the idle clients found no connection")
    try:
        yield
    finally:
        stopped.set()
        thread.join()


def gauge(client: httpx.Client, name: str) -> float:
    """What the service says of itself; NaN where it does not say it."""
    families = text_string_to_metric_families(client.get("/metrics").text)
    values = [sample.value for family in families for sample in family.samples if sample.name == name]
    return values[0] if values else float("nan")


def crowd(address: str, comments: list[str], *, requests: int, clients: int, idle: int) -> dict:
    """Latencies of one comment in ms, without and with idle clients, and the service's memory in MB after a
    tenth of the requests and after all.
    """
    with httpx.Client(base_url=address, timeout=60) as client, ThreadPoolExecutor(clients) as pool:

        def latencies(number: int) -> list[float]:
            jobs = range(number)
            found = list(pool.map(lambda job: ask(client, "comment", job % len(comments), comments), jobs))
            wrong = [status for _, status, _ in found if status != 200]
            if wrong:
                raise SystemExit(f"{len(wrong)} of {number} answers are wrong, the first {wrong[:5]}")
            return [ms for _, _, ms in found]

        def megabytes() -> float:
            return gauge(client, "process_resident_memory_bytes") / 1e6

        tenth = requests // 10
        result = {"without_idle": percentiles(latencies(tenth))}
        with idle_clients(address, idle):
            found = latencies(tenth)
            result["connections"] = gauge(client, "course_connections")
            result["megabytes_after_a_tenth"] = megabytes()
            found += latencies(requests - tenth)
            result["megabytes_after_all"] = megabytes()
        return result | {"with_idle": percentiles(found)}


def percentiles(ms: list[float]) -> dict[str, float]:
    """p50, p95, p99 and the largest."""
    shares = {"ms_p50": 50, "ms_p95": 95, "ms_p99": 99, "ms_max": 100}
    return {name: float(np.percentile(ms, share)) for name, share in shares.items()}


def main(arguments: list[str]) -> None:
    """Measure every engine and write the results file."""
    comments = sources.comments()["text"].sample(REQUESTS + 16, random_state=0).tolist()
    with tempfile.TemporaryDirectory() as name:
        run = (
            Path(arguments[0])
            if arguments
            else trained("sentiment --limit 2000 --epochs 2", Path(name) / "run")
        )
        for engine, folder in FOLDERS.items():
            if not (run / folder / "model.onnx").is_file():
                command(["export", str(run), "--format", "onnx", *(["--int8"] if engine == "int8" else [])])
        results = {engine: measure(run, engine, comments) for engine in ENGINES}
        with running(run, "torch") as address:
            crowded = crowd(address, comments, **CROWD)
    for engine, result in results.items():
        print(
            f"{engine}: {result['requests_per_second']:.0f} requests per second, alive afterwards: "
            f"{result['alive_afterwards']}"
        )
        for kind, row in result["kinds"].items():
            print(
                f"  {kind:<15} {row['status']}  {row['requests']:>4} requests  p50 {row['ms_p50']:6.1f} ms  "
                f"p95 {row['ms_p95']:6.1f} ms"
            )
    print(f"{CROWD['idle']} idle clients beside {CROWD['clients']} that send {CROWD['requests']:,} requests:")
    print(json.dumps(crowded, indent=2))
    content = {
        "clients": CLIENTS,
        "requests": REQUESTS,
        "cores": os.cpu_count(),
        "engines": results,
        "crowd": CROWD | crowded,
        "versions": environment.versions(),
    }
    RESULTS.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
