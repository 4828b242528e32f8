"""What the HTTP service refuses before it costs anything, and how it says so (chapters 07 and 08).

Limited are the size of a body and the time it takes, the number and length of texts, the pixels of a picture.
Whatever is wrong with them is answered with one sentence, never a traceback. Not limited here is what happens
before a body: a client that opens connections and says nothing, or sends its headers slowly, holds its places
(uvicorn counts at most 256 connections, `service.serve`) until it goes. The service also asks nobody for a
password. So it listens on 127.0.0.1; before others may call it, put a proxy in front of it that has time
limits for headers and idle connections, limits per client, TLS and a login, and hides `/metrics`.
"""

import asyncio
import contextlib
import io
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from fastapi import HTTPException
from fastapi.responses import JSONResponse
from PIL import Image

from helpers.data.datasets import open_image

IMAGE_FORMATS = ("PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF")
HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
)


@dataclass(frozen=True)
class Limits:
    """What one request, and all of them together, may ask for.

    Attributes:
        body_bytes: largest body; `image_bytes` for an image run.
        body_seconds: how long a body may take to arrive.
        texts: in one request.
        characters: of one text.
        pixels: of a picture, unpacked: a small file can hold a huge one.
        waiting: requests whose prediction may wait or run; one more is told to come again.
    """

    body_bytes: int = 256 * 1024
    image_bytes: int = 4 * 1024 * 1024
    body_seconds: float = 10.0
    texts: int = 64
    characters: int = 5_000
    pixels: int = 25_000_000
    waiting: int = 16


def check_texts(texts: list[str], limits: Limits) -> list[str]:
    """The texts, when all of them can be labelled; else a 422 with one sentence."""
    if not 1 <= len(texts) <= limits.texts:
        raise HTTPException(
            422,
            f"a request takes 1 to {limits.texts} texts, found {len(texts)}; send them in several requests",
        )
    for number, text in enumerate(texts, 1):
        if not text.strip():
            raise HTTPException(422, f"text {number} is empty; write at least one word")
        if len(text) > limits.characters:
            raise HTTPException(
                422,
                f"text {number} has {len(text):,} characters, at most {limits.characters:,} are allowed; "
                "shorten it",
            )
        if any("\ud800" <= letter <= "\udfff" for letter in text):
            raise HTTPException(
                422, f"text {number} holds half a character (a lone surrogate); send valid Unicode"
            )
    return texts


def decode_image(body: bytes, limits: Limits) -> np.ndarray:
    """The picture as uint8 (H, W, 3), when it is one and not too large; else a 422 with one sentence."""
    try:
        with Image.open(
            io.BytesIO(body), formats=IMAGE_FORMATS
        ) as header:  # reads the size, not yet the pixels
            width, height = header.size
        if width * height > limits.pixels:
            raise HTTPException(
                422,
                f"the picture has {width} x {height} pixels, at most {limits.pixels:,} are allowed; make it "
                "smaller",
            )
        return np.asarray(open_image(io.BytesIO(body)))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise HTTPException(
            422, f"the body cannot be read as a picture ({', '.join(IMAGE_FORMATS)}); send another file"
        ) from error


class Guard:
    """ASGI middleware around every request: limits on its body, one line in the log, headers of ordinary
    care, no traceback.

    Args:
        app: the application inside.
        record: called with (path, status, seconds) of each finished request.
        body_bytes: largest body.
        body_seconds: how long a body may take to arrive.
    """

    def __init__(self, app, record: Callable[[str, int, float], None], body_bytes: int, body_seconds: float):
        self.app, self.record, self.body_bytes, self.body_seconds = app, record, body_bytes, body_seconds

    async def __call__(self, scope, receive, send):
        """ASGI: called by the server with one request."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        start, status = time.perf_counter(), 0

        async def reply(message):
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message = message | {"headers": [*message.get("headers", ()), *HEADERS]}
            await send(message)

        try:
            body, refusal = await self.read(scope, receive)
            if refusal:
                await self.refuse(refusal, scope, receive, reply)
            elif body is not None:
                await self.app(scope, _replay(body, receive), reply)
        except Exception as error:
            print(f"internal error: {type(error).__name__}: {error!r:.300}", file=sys.stderr, flush=True)
            if not status:
                await JSONResponse({"detail": "the service made a mistake; its log says which"}, 500)(
                    scope, receive, reply
                )
        seconds = time.perf_counter() - start
        self.record(scope["path"], status, seconds)
        shown = (
            scope["path"][:80].encode("unicode_escape").decode()
        )  # no line breaks or control characters of strangers in the log
        print(f"{scope['method']} {shown} {status} {1000 * seconds:.0f} ms", file=sys.stderr, flush=True)

    async def read(self, scope, receive) -> tuple[bytes | None, tuple[int, str] | None]:
        """The body, or why it is refused; neither where the client went away. Never more than the limit is
        kept.
        """
        too_large = 413, f"the body is larger than {self.body_bytes:,} bytes; send less at once"
        if int(dict(scope["headers"]).get(b"content-length", b"0")) > self.body_bytes:
            return None, too_large
        body = bytearray()
        try:
            async with asyncio.timeout(self.body_seconds):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        return None, None
                    body += message.get("body", b"")
                    if len(body) > self.body_bytes:
                        return None, too_large
                    if not message.get("more_body"):
                        return bytes(body), None
        except TimeoutError:
            return None, (408, f"the body did not arrive within {self.body_seconds:g} seconds; send it again")

    async def refuse(self, refusal: tuple[int, str], scope, receive, reply) -> None:
        """Answer at once, then read on for a moment without keeping anything: a client that is still sending
        would otherwise meet a closed connection before it has read the answer."""
        response = JSONResponse({"detail": refusal[1]}, refusal[0], headers={"Connection": "close"})
        await reply(
            {"type": "http.response.start", "status": response.status_code, "headers": response.raw_headers}
        )
        await reply({"type": "http.response.body", "body": response.body, "more_body": True})
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(1):
                while (await receive()).get("more_body"):
                    pass
        await reply({"type": "http.response.body", "body": b""})


def _replay(body: bytes, receive):
    """A `receive` that hands out the body which was already read, and then what comes after it."""
    messages = iter([{"type": "http.request", "body": body}])

    async def again():
        return next(messages, None) or await receive()

    return again
