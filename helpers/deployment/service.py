"""A trained run as an HTTP service: predictions, a page for people, health, metrics (chapters 07 and 08).

`guard` holds the limits on requests, `connections` those on what comes before one, `page` the page. One
thread runs the model: more would only share the same cores. Its queue is bounded: one without an end would
answer everybody too late. `chat_service` is the same for a model that writes.
"""

import asyncio
import csv
import ipaddress
import os
import signal
import socket
import sys
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated

import numpy as np
import prometheus_client as prometheus
from fastapi import Depends, FastAPI, HTTPException
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from pydantic import BaseModel

from helpers.deployment.drift import FEWEST_ROWS, DriftMonitor
from helpers.deployment.guard import FORMS, Guard, Limits, detail, refuse_blank, refuse_body
from helpers.deployment.page import page, short_name
from helpers.deployment.predict import OnnxModel, answer, load_run, predict
from helpers.errors import InputError
from helpers.models.pretrained import Classifier

PATHS = ("/", "/predict", "/health", "/metrics", "/openapi.json")
WATCHED = 1000  # newest predictions that are compared with those on the test rows


class Prediction(BaseModel):
    """The most probable class, and the probability of each."""

    label: str
    probabilities: dict[str, float]


class Answer(BaseModel):
    """One prediction per input, in the order of the inputs."""

    predictions: list[Prediction]


def create_app(
    classifier: Classifier, *, reference=None, limits: Limits | None = None, hosts: tuple[str, ...] = ()
) -> FastAPI:
    """The web application of a classifier; `serve` runs it, a test can call it directly.

    `reference` are probabilities (N, C) on the test rows, with which the drift gauge compares; `hosts` the
    names, in lower case and without port, that a request's Host may have: any where none is given.
    """
    form, limits = FORMS[classifier.task], limits or Limits()
    counters, worker = PredictionCounters(classifier.classes, reference), Worker(limits.waiting)
    body_bytes = limits.body_bytes or form.body_bytes
    app = guarded_app("Classifier of the course", limits, counters, hosts, body_bytes)

    @app.post("/predict", summary=form.summary, openapi_extra=form.openapi)
    async def predict(inputs: Annotated[list, Depends(form.read)]) -> Answer:
        probabilities = await worker.run(_probabilities, classifier, inputs)
        counters.record(probabilities)
        answers = (answer(row, classifier.classes) for row in probabilities)
        return Answer(predictions=[Prediction(label=label, probabilities=p) for label, p in answers])

    @app.get("/health", summary="Is the service alive, and what does it serve?")
    async def health() -> dict:
        engine = "onnxruntime" if isinstance(classifier.model, OnnxModel) else "torch"
        named = {"task": classifier.task, "model": short_name(classifier), "engine": engine}
        return {"status": "ok", **named, "classes": list(classifier.classes)}

    @app.get("/", include_in_schema=False)
    async def show_page() -> Response:
        return page(classifier, limits.characters)

    app.add_exception_handler(RequestValidationError, refuse_body)
    return app


def guarded_app(title: str, limits: Limits, counters, hosts, body_bytes: int, refusal=detail) -> FastAPI:
    """An application behind a `Guard`, with `/metrics`; `refusal` makes the body of what is refused."""
    app = FastAPI(title=title, version="1", docs_url=None, redoc_url=None)
    app.state.limits, app.state.counters, app.state.refusal = limits, counters, refusal
    options = {"body_seconds": limits.body_seconds, "arriving_bytes": limits.arriving_bytes}
    options |= {"body_bytes": body_bytes, "record": counters.request, "hosts": hosts, "refusal": refusal}
    app.add_middleware(Guard, **options)

    @app.get("/metrics", summary="Counters for Prometheus", response_class=Response)
    async def metrics() -> Response:
        return Response(counters.text(), media_type=prometheus.CONTENT_TYPE_LATEST)

    return app


def _probabilities(classifier: Classifier, inputs: list) -> np.ndarray:
    refuse_blank(inputs)
    probabilities = predict(classifier, inputs)
    if not np.isfinite(probabilities).all():
        raise ArithmeticError("the model answers with numbers that are not finite; train it again")
    return probabilities


class Worker:
    """One thread that runs the model, one request after another, and a bound on how many may wait for it."""

    def __init__(self, places: int):
        self.places = asyncio.Semaphore(places)
        self.thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="model")

    async def run(self, function: Callable, *arguments):
        """What the function returns; a 503 that says when to come again where all places are taken."""
        if self.places.locked():  # nobody waits for a place: who finds none is sent away
            raise HTTPException(503, "too many requests wait; try again in a second", {"Retry-After": "1"})
        async with self.places:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self.thread, function, *arguments)


class Counters:
    """What a service counts about itself, in a registry of its own: two in one process do not mix."""

    def __init__(self, paths: tuple[str, ...]):
        self.paths, self.registry = paths, prometheus.CollectorRegistry()
        own = {"registry": self.registry}
        prometheus.ProcessCollector(**own)  # memory, open files and processor time, on Linux
        self.requests = prometheus.Counter("course_requests", "Requests answered", ["path", "code"], **own)
        self.seconds = prometheus.Histogram("course_request_seconds", "Time to the answer", ["path"], **own)
        self.connections = prometheus.Gauge("course_connections", "Connections open now", **own)

    def request(self, path: str, status: int, seconds: float) -> None:
        """Count one request; all unknown paths together, or strangers could fill the memory with names."""
        path = path if path in self.paths else "other"
        self.requests.labels(path, status).inc()
        self.seconds.labels(path).observe(seconds)

    def text(self) -> bytes:
        """All figures in the text format of Prometheus."""
        return prometheus.generate_latest(self.registry)


class PredictionCounters(Counters):
    """Also the labels, how sure the model was, and drift."""

    def __init__(self, classes: tuple[str, ...], reference: np.ndarray | None):
        super().__init__(PATHS)
        self.classes, self.recent = classes, deque(maxlen=WATCHED)
        self.monitor = None if reference is None else DriftMonitor(classes, reference)
        own = {"registry": self.registry}
        self.predictions = prometheus.Counter("course_predictions", "Predictions by label", ["label"], **own)
        about, tenths = "Probability of the predicted class", [tenth / 10 for tenth in range(1, 11)]
        self.confidence = prometheus.Histogram("course_confidence", about, buckets=tenths, **own)
        about = f"Population stability index of the last {WATCHED} predictions against the test rows"
        self.drift = prometheus.Gauge("course_drift_psi", about, ["what"], **own)

    def record(self, probabilities: np.ndarray) -> None:
        """Count the predictions (N, C) of one request."""
        for row in probabilities:
            self.predictions.labels(self.classes[row.argmax()]).inc()
            self.confidence.observe(float(row.max()))
        self.recent.extend(probabilities)

    def text(self) -> bytes:
        """All figures in the text format of Prometheus; the drift is computed when somebody looks."""
        if self.monitor and len(self.recent) >= FEWEST_ROWS:
            for finding in self.monitor.compare(np.array(self.recent)):
                if finding.what in ("confidence", "predicted class"):
                    self.drift.labels(finding.what).set(finding.psi)
        return super().text()


def run_app(folder: str | Path, engine: str, hosts: tuple[str, ...]) -> FastAPI:
    """The application of a run folder with a classifier."""
    classifier = load_run(folder, engine=engine)
    return create_app(classifier, reference=reference_probabilities(folder, classifier.classes), hosts=hosts)


def serve(make_app: Callable, what: str, *, host: str = "127.0.0.1", port: int = 8000) -> None:
    """Serve `make_app(hosts)` until Ctrl-C or SIGTERM, which end the process with status 0.

    Prints one line with the address; each request is a line on stderr. Nobody is asked for a password, and
    only the host 127.0.0.1 keeps other machines out. Port 0 is any free one, one in use raises an InputError.
    """
    from helpers.deployment.connections import server

    for number in (signal.SIGINT, signal.SIGTERM):  # while loading; uvicorn ends its work, then signals again
        signal.signal(number, lambda *_: sys.exit(0))
    with _listen(host, port) as listening:
        app = make_app(_own_hosts(host, listening))
        address = f"http://{_in_address(host)}:{listening.getsockname()[1]}/"
        print(f"serving {what} at {address} until Ctrl-C", flush=True)
        server(app).run(sockets=[listening])


def reference_probabilities(folder: str | Path, classes: tuple[str, ...]) -> np.ndarray | None:
    """Probabilities (N, C) on the test rows, of `predictions.csv` of a run folder; None without that file.

    Raises InputError: the file holds something else.
    """
    file = Path(folder) / "predictions.csv"
    if not file.is_file():
        return None
    try:
        with file.open(encoding="utf-8", newline="") as lines:
            return np.array([[float(row[f"p_{name}"]) for name in classes] for row in csv.DictReader(lines)])
    except (ValueError, KeyError, TypeError, csv.Error) as error:
        needed = f"{file} must have a number in each column {', '.join(f'p_{name}' for name in classes)}"
        raise InputError(f"{needed} ({type(error).__name__}: {error}); delete it, or train again") from error


def _own_hosts(host: str, listening: socket.socket) -> tuple[str, ...]:
    """The names of this machine for itself, where nobody else can call; else none: a proxy knows the others.

    A page of a foreign site can let its own name point to 127.0.0.1, and then ask as if the service were its
    own; the Host of its requests tells.
    """
    if not ipaddress.ip_address(listening.getsockname()[0]).is_loopback:
        return ()
    return tuple(dict.fromkeys(["localhost", "127.0.0.1", "[::1]", _in_address(host.lower())]))


def _in_address(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _listen(host: str, port: int) -> socket.socket:
    """A listening socket, opened before the model is loaded: a port in use is said at once."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol is named: only where asyncio sees TCP it sends small answers at once, else they wait 40 ms.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    if os.name == "posix":  # a port that was just given up; on Windows this would share one in use
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen(128)
    except (OSError, OverflowError) as error:
        listening.close()
        reason = f"cannot listen on {host} port {port} ({error})"
        raise InputError(f"{reason}; choose another with --port, 0 takes a free one") from error
    return listening
