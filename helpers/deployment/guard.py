"""How a request's body becomes inputs, and what is refused before it costs anything (chapters 07 and 08).

Limited are the size of a body and the time it takes, the number and length of texts, the pixels of a picture;
whatever is wrong with them is answered with one sentence, never a traceback. Pages of other sites are sent
away. What comes before a request is limited in `connections`. Nobody is asked for a password: so the service
listens on 127.0.0.1. Before others may call it, put a proxy in front of it (chapter 08 says what it must do).
"""

import asyncio
import contextlib
import io
import re
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from fastapi import HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from PIL import Image
from pydantic import BaseModel

from helpers.data.cleaning import clean_text
from helpers.data.pictures import open_image

IMAGE_FORMATS = ("PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF")
HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
)


@dataclass(frozen=True)
class Limits:
    """What one request, and all of them together, may ask for."""

    body_bytes: int | None = None  # None for what suits the task, see `FORMS`
    body_seconds: float = 10.0  # in which a body must arrive
    texts: int = 64  # in one request
    characters: int = 5_000  # of one text
    pixels: int = 25_000_000  # of a picture, unpacked: a small file can hold a huge one
    waiting: int = 16  # requests whose prediction waits or runs; one more is told to come again
    arriving_bytes: int = 2**26  # of all bodies that arrive at the same time; the slowest gives way
    connections: int = 500  # open at the same time; the one that waits longest for its client gives way
    headers: int = 100  # of one request
    header_bytes: int = 2**15  # of all its headers
    header_seconds: float = 10.0  # in which headers must arrive, and an answer must be taken
    idle_seconds: float = 5.0  # between two requests of one connection


class Texts(BaseModel):
    """The body of a request to a text model."""

    texts: list[str]


async def accepted_texts(request: Request, body: Texts) -> list[str]:
    """The texts of a request, when all of them can be labelled; else a 422 with one sentence."""
    texts, limits = body.texts, request.app.state.limits
    if not 1 <= len(texts) <= limits.texts:
        few = f"a request takes 1 to {limits.texts} texts"
        raise HTTPException(422, f"{few}, found {len(texts)}; send them in several requests")
    for number, text in enumerate(texts, 1):
        if not text.strip():
            raise HTTPException(422, f"text {number} is empty; write at least one word")
        if len(text) > limits.characters:
            most = f"at most {limits.characters:,} are allowed"
            raise HTTPException(422, f"text {number} has {len(text):,} characters, {most}; shorten it")
        if any("\ud800" <= letter <= "\udfff" for letter in text):
            raise HTTPException(422, f"text {number} has half a character (a surrogate); send valid Unicode")
    return texts


def refuse_blank(inputs: list) -> None:
    """A 422 for a text of which cleaning leaves nothing to be seen; too slow for the event loop."""
    for number, text in enumerate(inputs, 1):
        if isinstance(text, str) and not clean_text(text):
            raise HTTPException(422, f"text {number} is empty after cleaning; write at least one word")


async def accepted_picture(request: Request) -> list[np.ndarray]:
    """The one picture of a request as uint8 (H, W, 3), when it is one and not too large; else a 422."""
    if not request.headers.get("content-type", "").startswith("image/"):
        raise HTTPException(415, "send the bytes of one picture with its content type, such as image/png")
    body, limit = io.BytesIO(await request.body()), request.app.state.limits.pixels
    try:
        with Image.open(body, formats=IMAGE_FORMATS) as header:  # reads the size, not yet the pixels
            width, height = header.size
        if width * height > limit:
            found = f"{width} x {height} pixels, at most {limit:,} are allowed"
            raise HTTPException(422, f"the picture has {found}; make it smaller")
        body.seek(0)
        return [np.asarray(open_image(body))]
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        what = f"the body cannot be read as a picture ({', '.join(IMAGE_FORMATS)})"
        raise HTTPException(422, f"{what}; send another file") from error


async def refuse_body(request: Request, error: RequestValidationError) -> JSONResponse:
    """One sentence for a body that is not the expected JSON."""
    status, problem = body_problem(request, error)
    return JSONResponse(detail(status, f'{problem}; send {{"texts": ["..."]}}'), status)


def body_problem(request: Request, error: RequestValidationError) -> tuple[int, str]:
    """Status, and half a sentence, for a body that is not the expected JSON."""
    first = error.errors()[0]
    if not re.match(r"application/(.+\+)?json\b", request.headers.get("content-type", ""), re.IGNORECASE):
        return 415, "the body is no JSON with the content type application/json"
    if first["type"] == "json_invalid":
        return 400, f"the body is no valid JSON ({first['ctx']['error']})"
    return 422, f"{'.'.join(map(str, first['loc']))}: {first['msg']}"


def detail(status: int, sentence: str) -> dict:
    """The body of a refusal, as FastAPI has it."""
    return {"detail": sentence}


class Form(NamedTuple):
    """How one task is asked over HTTP."""

    read: Callable  # makes a request's body the inputs of `predict`, or refuses it
    body_bytes: int  # at most
    summary: str
    openapi: dict | None = None  # what `/openapi.json` says of the body where `read` does not


IMAGE = {"image/*": {"schema": {"type": "string", "format": "binary"}}}
PICTURE = {"requestBody": {"required": True, "content": IMAGE}}
FORMS = {
    "text": Form(accepted_texts, 2**18, 'Label texts: {"texts": ["...", "..."]}'),
    "images": Form(accepted_picture, 2**22, "Label one picture: its bytes are the body", PICTURE),
}


def log_request(method: str, path: str, status: int, seconds: float) -> None:
    """One line on stderr; no line breaks and no endless names of strangers."""
    shown = path[:80].encode("unicode_escape").decode()
    print(f"{method[:20]} {shown} {status} {1000 * seconds:.0f} ms", file=sys.stderr, flush=True)


def _plain_request(scope) -> dict:
    """The request as the application knows it: HEAD is GET (the server leaves the body out), and a target
    with a host, as a proxy may send it, is a path and a Host.
    """
    method, path, headers = scope["method"], scope["path"], scope["headers"]
    absolute = re.fullmatch(r"(?is)https?://([^/]*)(.*)", path)
    if absolute:
        host, path = absolute[1].encode(), absolute[2] or "/"
        headers = [(name, value) for name, value in headers if name != b"host"] + [(b"host", host)]
    return scope | {"method": "GET" if method == "HEAD" else method, "path": path, "headers": headers}


class Guard:
    """ASGI middleware: whom it answers, limits on bodies, a line in the log, `record(path, status, seconds)`,
    no traceback. `hosts` are the names under which it may be asked, none: any; `refusal` makes bodies.
    """

    def __init__(
        self,
        app,
        record: Callable[[str, int, float], None],
        body_bytes: int,
        body_seconds: float,
        arriving_bytes: int = Limits.arriving_bytes,
        hosts: tuple[str, ...] = (),
        refusal: Callable[[int, str], dict] = detail,
    ):
        self.app, self.record, self.hosts, self.refusal = app, record, hosts, refusal
        self.body_bytes, self.body_seconds, self.arriving_bytes = body_bytes, body_seconds, arriving_bytes
        self.arriving = {}  # time limits of the bodies that arrive, and what has come of each; oldest first

    async def __call__(self, scope, receive, send):
        """ASGI: called by the server with one request."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        start, status, request = time.perf_counter(), 0, _plain_request(scope)

        async def reply(message):
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message = message | {"headers": [*message.get("headers", ()), *HEADERS]}
            await send(message)

        try:
            await self.pass_on(request, receive, reply)
        except Exception as error:
            print(f"internal error: {type(error).__name__}: {error!r:.300}", file=sys.stderr, flush=True)
            if not status:
                mistake = "the service made a mistake; its log says which"
                answer = JSONResponse(self.refusal(500, mistake), 500)
                await answer(scope, receive, reply)
        seconds = time.perf_counter() - start
        status = status or scope.get("refused", 499)  # 499: the client went away, as other servers call it
        self.record(request["path"], status, seconds)
        log_request(scope["method"], request["path"], status, seconds)

    async def pass_on(self, scope, receive, reply) -> None:
        """Hand a request with a whole body to the application, or refuse it."""
        try:
            self.check_site(dict(scope["headers"]), scope["method"])
            body = await self.read(scope, receive)
        except HTTPException as refusal:
            return await self.refuse(refusal, receive, reply)
        if body is None:
            return
        messages = iter([{"type": "http.request", "body": body}])

        async def replay():  # the body which was read already, then what comes after it
            return next(messages, None) or await receive()

        await self.app(scope, replay, reply)

    def check_site(self, headers: dict[bytes, bytes], method: str) -> None:
        """Refuse what a page of another site makes a browser send, or one whose name was led to this host."""
        host = headers.get(b"host", b"").decode("latin-1").lower()
        if self.hosts and b"host" in headers and re.sub(r":\d*\Z", "", host) not in self.hosts:
            names = f"this service is asked as {', '.join(self.hosts)}"
            raise HTTPException(421, f"{names}, found {host[:80]!r} as Host; use one of these names")
        site, origin = headers.get(b"sec-fetch-site"), headers.get(b"origin", b"").decode("latin-1").lower()
        is_own = site in (b"same-origin", b"none")
        if site is None:  # an old browser, or no browser at all
            is_own = not origin or origin.partition("://")[2] == host
        is_link = method == "GET" and headers.get(b"sec-fetch-mode") == b"navigate"  # somebody follows a link
        if not is_own and not is_link:
            raise HTTPException(403, "a page of another site asked; use the service's own page, or a program")

    async def read(self, scope, receive) -> bytes | None:
        """The body, None where the client went away; keeps no more than the limit, and refuses the rest."""
        refusal = HTTPException(413, f"the body is larger than {self.body_bytes:,} bytes; send less at once")
        if int(dict(scope["headers"]).get(b"content-length", b"0")) > self.body_bytes:
            raise refusal
        body = bytearray()
        try:
            async with asyncio.timeout(self.body_seconds) as limit:
                self.arriving[limit] = body
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        return None
                    body += message.get("body", b"")
                    if len(body) > self.body_bytes:
                        raise refusal
                    if not message.get("more_body"):
                        return bytes(body)
                    if sum(map(len, self.arriving.values())) > self.arriving_bytes:
                        oldest = next(iter(self.arriving))
                        del self.arriving[oldest]
                        oldest.reschedule(0)  # its time is over
        except TimeoutError:
            if limit not in self.arriving:
                slowest = "too many bodies arrive at once, and this one was the slowest; try again"
                raise HTTPException(503, slowest) from None
            late = f"the body did not arrive within {self.body_seconds:g} seconds"
            raise HTTPException(408, f"{late}; send it again") from None
        finally:
            self.arriving.pop(limit, None)

    async def refuse(self, refusal: HTTPException, receive, reply) -> None:
        """Answer at once, then read on for a moment without keeping anything."""
        # A client that is still sending would else meet a closed connection before it has read the answer.
        status, close = refusal.status_code, {"Connection": "close"}
        answer = JSONResponse(self.refusal(status, refusal.detail), headers=close)
        start = {"status": status, "headers": answer.raw_headers}
        await reply({"type": "http.response.start", **start})
        await reply({"type": "http.response.body", "body": answer.body, "more_body": True})
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1):
                while (await receive()).get("more_body"):
                    pass
        await reply({"type": "http.response.body", "body": b""})
