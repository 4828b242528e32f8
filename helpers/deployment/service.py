"""A trained run as an HTTP service: predictions as JSON, a page for people, health and metrics (chapters 07
and 08).

`guard` holds the limits on what comes from outside, `page` the two pages. One thread runs the model; how many
requests may wait for it is bounded, and one more is told to come again.
"""

import asyncio
import csv
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import prometheus_client
from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, Response
from pydantic import BaseModel

from helpers import files
from helpers.deployment import page
from helpers.deployment.drift import FEWEST_ROWS, DriftMonitor
from helpers.deployment.guard import Guard, Limits, check_texts, decode_image
from helpers.deployment.predict import OnnxModel, load_run, predict
from helpers.errors import InputError
from helpers.models.pretrained import Classifier

PATHS = ("/", "/predict", "/health", "/metrics", "/docs", "/openapi.json")
WATCHED = 1000  # newest predictions that are compared with those on the test rows


class Texts(BaseModel):
    """The body of a request to a text model."""

    texts: list[str]


class Prediction(BaseModel):
    """The most probable class, and the probability of each."""

    label: str
    probabilities: dict[str, float]


class Answer(BaseModel):
    """One prediction per input, in the order of the inputs."""

    predictions: list[Prediction]


def create_app(
    classifier: Classifier, *, reference: np.ndarray | None = None, limits: Limits | None = None
) -> FastAPI:
    """The web application of a classifier; `serve` runs it, a test can call it directly.

    Args:
        classifier: of `predict.load_run`, any engine.
        reference: probabilities (N, C) on the test rows, with which the drift gauge compares; None: no gauge.
        limits: None for the defaults.
    """
    limits = limits or Limits()
    metrics, worker = Metrics(classifier.classes, reference), Worker(classifier, limits.waiting)
    app = FastAPI(title="Classifier of the course", version="1", docs_url=None, redoc_url=None)

    async def answer(inputs: list) -> Answer:
        probabilities = await worker.predict(inputs)
        metrics.record(probabilities)
        return Answer(predictions=[_prediction(row, classifier.classes) for row in probabilities])

    if classifier.task == "text":

        @app.post("/predict", summary='Label texts: {"texts": ["...", "..."]}')
        async def predict(body: Texts) -> Answer:
            return await answer(check_texts(body.texts, limits))
    else:
        picture = {
            "requestBody": {
                "required": True,
                "content": {"image/*": {"schema": {"type": "string", "format": "binary"}}},
            }
        }

        @app.post("/predict", summary="Label one picture: its bytes are the body", openapi_extra=picture)
        async def predict(request: Request) -> Answer:
            if not request.headers.get("content-type", "").startswith("image/"):
                raise HTTPException(
                    415, "send the bytes of one picture with its content type, such as image/png"
                )
            return await answer([decode_image(await request.body(), limits)])

    @app.get("/health", summary="Is the service alive, and what does it serve?")
    async def health() -> dict:
        engine = "onnxruntime" if isinstance(classifier.model, OnnxModel) else "torch"
        return {
            "status": "ok",
            "task": classifier.task,
            "model": classifier.name,
            "engine": engine,
            "classes": list(classifier.classes),
        }

    @app.get("/metrics", summary="Counters for Prometheus", response_class=Response)
    async def read_metrics() -> Response:
        return Response(metrics.text(), media_type=prometheus_client.CONTENT_TYPE_LATEST)

    @app.get("/", include_in_schema=False)
    async def show_page() -> HTMLResponse:
        return page.response(page.page(classifier, limits.characters))

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return page.response(page.docs(app.openapi()))

    app.add_exception_handler(RequestValidationError, _refuse_body)
    body_bytes = limits.body_bytes if classifier.task == "text" else limits.image_bytes
    app.add_middleware(Guard, record=metrics.request, body_bytes=body_bytes, body_seconds=limits.body_seconds)
    return app


class Worker:
    """One thread that runs the model, one request after another, and a bound on how many may wait for it.

    More threads would only share the same cores, and a queue without an end answers everybody too late.
    """

    def __init__(self, classifier: Classifier, places: int):
        self.classifier, self.places, self.taken = classifier, places, 0
        self.thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="model")

    async def predict(self, inputs: list) -> np.ndarray:
        """Probabilities (N, C); a 503 that says when to come again where all places are taken."""
        if self.taken >= self.places:
            raise HTTPException(
                503, "too many requests are waiting; try again in a second", headers={"Retry-After": "1"}
            )
        self.taken += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(
                self.thread, predict, self.classifier, inputs
            )
        finally:
            self.taken -= 1


class Metrics:
    """What the service counts about itself, in a registry of its own: two services in one process do not
    mix.
    """

    def __init__(self, classes: tuple[str, ...], reference: np.ndarray | None):
        new = {"registry": (registry := prometheus_client.CollectorRegistry())}
        self.registry, self.classes = registry, classes
        self.requests = prometheus_client.Counter(
            "course_requests", "Requests by path and status code", ["path", "code"], **new
        )
        self.seconds = prometheus_client.Histogram(
            "course_request_seconds", "From the request's arrival to its answer", ["path"], **new
        )
        self.predictions = prometheus_client.Counter(
            "course_predictions", "Predictions by label", ["label"], **new
        )
        edges = [tenth / 10 for tenth in range(1, 11)]
        self.confidence = prometheus_client.Histogram(
            "course_confidence", "Probability of the predicted class", buckets=edges, **new
        )
        self.recent = deque(maxlen=WATCHED)
        self.monitor = None if reference is None else DriftMonitor(classes, reference)
        self.drift = prometheus_client.Gauge(
            "course_drift_psi",
            f"Population stability index of the last {WATCHED} predictions against the test rows",
            ["what"],
            **new,
        )

    def request(self, path: str, status: int, seconds: float) -> None:
        """Count one request; all unknown paths together, or strangers could fill the memory with names."""
        path = path if path in PATHS else "other"
        self.requests.labels(path, status).inc()
        self.seconds.labels(path).observe(seconds)

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
        return prometheus_client.generate_latest(self.registry)


async def _refuse_body(request: Request, error: RequestValidationError) -> JSONResponse:
    """One sentence for a body that does not have the expected form."""
    first = error.errors()[0]
    form = '{"texts": ["..."]}'
    if not re.match(r"application/(.+\+)?json\b", request.headers.get("content-type", ""), re.IGNORECASE):
        return JSONResponse({"detail": f"send JSON with the content type application/json: {form}"}, 415)
    if first["type"] == "json_invalid":
        return JSONResponse(
            {"detail": f"the body is no valid JSON ({first['ctx']['error']}); send {form}"}, 400
        )
    where = ".".join(map(str, first["loc"]))
    return JSONResponse({"detail": f"{where}: {first['msg']}; send {form}"}, 422)


def _prediction(row: np.ndarray, classes: tuple[str, ...]) -> Prediction:
    return Prediction(
        label=classes[row.argmax()], probabilities={name: round(float(p), 6) for name, p in zip(classes, row)}
    )


def serve(folder: str | Path, *, engine: str = "torch", host: str = "127.0.0.1", port: int = 8000) -> None:
    """Load a run and serve it until Ctrl-C or SIGTERM, which end the process with status 0; prints one line
    with the address.

    Args:
        folder: the run folder.
        engine: see `predict.load_run`.
        host: an address of this machine; only 127.0.0.1 keeps other machines out, and the service asks nobody
            for a password.
        port: 0 = any free one.

    Raises:
        InputError: the port is in use, or the run cannot be loaded.
    """
    import uvicorn

    for number in (
        signal.SIGINT,
        signal.SIGTERM,
    ):  # also while loading; uvicorn ends its work first, then signals again
        signal.signal(number, lambda *_: sys.exit(0))
    with _listen(host, port) as listening:
        classifier = load_run(folder, engine=engine)
        app = create_app(classifier, reference=reference_probabilities(folder, classifier.classes))
        # Errors inside the application are answered and logged by `Guard`; the server itself has nothing to
        # add.
        config = uvicorn.Config(
            app,
            log_level="critical",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            http="h11",
            lifespan="off",
            ws="none",
            limit_concurrency=256,
            timeout_graceful_shutdown=10,
        )
        shown = f"[{host}]" if ":" in host else host
        print(
            f"serving {folder} ({engine}) at http://{shown}:{listening.getsockname()[1]}/ until Ctrl-C",
            flush=True,
        )
        uvicorn.Server(config).run(sockets=[listening])


def reference_probabilities(folder: str | Path, classes: tuple[str, ...]) -> np.ndarray | None:
    """The probabilities (N, C) on the test rows, from `predictions.csv` of a run folder; None without that
    file.
    """
    file = Path(folder) / "predictions.csv"
    if not file.is_file():
        return None
    with file.open(encoding="utf-8", newline="") as lines:
        return np.array([[float(row[f"p_{name}"]) for name in classes] for row in csv.DictReader(lines)])


@contextmanager
def running(run: str | Path, engine: str = "torch") -> Iterator[str]:
    """`with running(run) as address:` the real `serve` command in a process of its own, on a free port; ended
    at the end.

    Raises:
        InputError: the command said so.
    """
    command = [sys.executable, "-m", "helpers", "serve", str(Path(run).absolute()), "--port", "0"]
    command += [] if engine == "torch" else [f"--{engine}"]
    with tempfile.TemporaryFile(
        "w+", encoding="utf-8"
    ) as log:  # not a pipe: a log that nobody reads would fill it and stop the service
        process = subprocess.Popen(command, cwd=files.ROOT, stdout=subprocess.PIPE, stderr=log, text=True)
        try:
            if not (address := re.search(r"http://\S+(?=/ until)", process.stdout.readline())):
                process.wait()
                log.seek(0)
                raise InputError(f"the service did not start: {log.read().strip()[-500:]}")
            yield address.group()
        finally:
            process.terminate()
            process.wait()
            process.stdout.close()


def _listen(host: str, port: int) -> socket.socket:
    """A listening socket, opened before the model is loaded: a port in use is said at once."""
    # The protocol is named: asyncio sends small answers at once (TCP_NODELAY) only where it sees TCP, else
    # they wait 40 ms.
    listening = socket.socket(
        socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP
    )
    if (
        os.name == "posix"
    ):  # a port that was just given up; on Windows the same option would share a port in use
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen(128)
    except (OSError, OverflowError) as error:
        listening.close()
        raise InputError(
            f"cannot listen on {host} port {port} ({error}); choose another with --port, 0 takes a free one"
        ) from error
    return listening
