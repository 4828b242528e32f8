"""A language model as an HTTP service in the shape of OpenAI's chat completions (chapter 10).

Clients that are made for that service work with this one, and so does the page at "/". What cannot be done
here is refused by name: nothing that would change an answer is passed over. Limits, queue and process are
those of `service`; a client that goes away ends its answer.
"""

import asyncio
import json
import secrets
import threading
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Annotated, Literal

import prometheus_client as prometheus
from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response, StreamingResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException as StarletteHTTPException

from helpers.data.chat import prompt_ids
from helpers.deployment.guard import Limits, body_problem
from helpers.deployment.page import rendered
from helpers.deployment.service import Counters, Worker, guarded_app
from helpers.errors import InputError
from helpers.generation import Sampling, TooLong, Written, stream
from helpers.models.language import LanguageModel
from helpers.safety.values import MOST

PATHS = ("/", "/v1/chat/completions", "/v1/models", "/health", "/metrics", "/openapi.json")
BODY_BYTES = 2**18
NEW_TOKENS = 256  # of an answer to a request that names no number, or as many as fit
CHUNK = "chat.completion.chunk"
# Fields that change no answer here, and those that change none with these values; all others are refused.
IDLE = ("user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key")
NEUTRAL = {"n": 1, "presence_penalty": 0, "frequency_penalty": 0, "logit_bias": {}, "logprobs": False}
NEUTRAL |= {"tools": [], "tool_choice": "none", "tool_calls": [], "response_format": {"type": "text"}}


class Loose(BaseModel):
    """A part of a request; fields that it does not name must be without effect, see `refuse_unsupported`."""

    model_config = ConfigDict(strict=True, extra="allow")


class Message(Loose):
    """One turn of a conversation."""

    role: Literal["system", "user", "assistant"]
    content: str


class StreamOptions(Loose):
    """What a stream tells beside the text."""

    include_usage: bool = False


Text, Count = Annotated[str, Field(min_length=1)], Annotated[int, Field(ge=1, le=MOST)]


class Completion(Loose):
    """The body of a request; temperature is 0 unless given, and without a seed each answer draws its own."""

    model: str
    messages: Annotated[list[Message], Field(min_length=1)]
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    max_tokens: Count | None = None
    max_completion_tokens: Count | None = None
    stop: Text | Annotated[list[Text], Field(max_length=4)] | None = None
    seed: Annotated[int, Field(ge=-MOST, le=MOST)] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None

    def conversation(self) -> list[dict]:
        """The messages without what is of no effect."""
        return [{"role": message.role, "content": message.content} for message in self.messages]

    def sampling(self, lm: LanguageModel) -> Sampling:
        """How this answer is written; it takes a moment, for the tokens of the conversation are counted."""
        new_tokens = self.max_completion_tokens or self.max_tokens
        if None not in (self.max_tokens, self.max_completion_tokens) and new_tokens != self.max_tokens:
            both = "max_tokens is not max_completion_tokens; give one of the two"
            raise HTTPException(400, problem(400, both, "max_tokens"))
        if new_tokens is None:
            room = lm.max_length - len(prompt_ids(self.conversation(), lm.tokenizer, lm.system))
            new_tokens = max(1, min(NEW_TOKENS, room))
        given = {"temperature": self.temperature, "top_p": self.top_p, "max_new_tokens": new_tokens}
        given["stop"] = (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())
        given["seed"] = secrets.randbits(32) if self.seed is None else self.seed
        return Sampling(**{name: value for name, value in given.items() if value is not None})


def create_chat_app(
    lm: LanguageModel, *, name: str, limits: Limits | None = None, hosts: tuple[str, ...] = ()
) -> FastAPI:
    """The web application of a language model, which clients call `name`; see `service.create_app`."""
    limits, counters = limits or Limits(), Counters(PATHS)
    worker, begun, own = Worker(limits.waiting), int(time.time()), {"registry": counters.registry}
    tokens = prometheus.Counter("course_tokens", "Tokens read and written", ["kind"], **own)
    answers = prometheus.Counter("course_answers", "Answers by what ended them", ["finish"], **own)
    app = guarded_app(
        "Language model of the course", limits, counters, hosts, limits.body_bytes or BODY_BYTES, problem
    )

    def count(written: Written) -> dict:
        answers.labels(written.finish).inc()
        tokens.labels("prompt").inc(written.prompt_tokens)
        tokens.labels("new").inc(written.new_tokens)
        usage = {"prompt_tokens": written.prompt_tokens, "completion_tokens": written.new_tokens}
        return usage | {"total_tokens": written.prompt_tokens + written.new_tokens}

    @app.post("/v1/chat/completions", summary="Answer a conversation", response_model=None)
    async def complete(request: Request, body: Completion) -> Response | dict:
        refuse_unsupported(body)
        if body.model != name:
            sentence = (
                f"the model {body.model[:80]!r} does not exist, this service has {name!r}; ask for that"
            )
            raise HTTPException(404, problem(404, sentence, "model", "model_not_found"))
        meta = {"id": f"chatcmpl-{secrets.token_hex(12)}", "created": int(time.time()), "model": name}
        news = answer(lm, body, worker, request)
        if not body.stream:
            *pieces, written = [piece async for piece in news]
            message = {"role": "assistant", "content": "".join(pieces)}
            choice = {"index": 0, "message": message, "finish_reason": written.finish, "logprobs": None}
            return meta | {"object": "chat.completion", "choices": [choice], "usage": count(written)}
        first = await anext(news)  # what is refused has its status: nothing was sent yet

        async def events() -> AsyncIterator[str]:
            chunk = lambda choices, **more: event(meta | {"object": CHUNK, "choices": choices} | more)
            part = lambda delta, end=None: chunk([{"index": 0, "delta": delta, "finish_reason": end}])
            yield part({"role": "assistant", "content": ""})
            async with aclosing(news):
                piece = first
                while not isinstance(piece, Written):
                    yield part({"content": piece})
                    piece = await anext(news)
            usage = count(piece)
            yield part({}, piece.finish)
            if body.stream_options and body.stream_options.include_usage:
                yield chunk([], usage=usage)
            yield "data: [DONE]\n\n"

        return StreamingResponse(events(), media_type="text/event-stream")

    @app.get("/v1/models", summary="The one model of this service")
    async def models() -> dict:
        model = {"id": name, "object": "model", "created": begun, "owned_by": "course"}
        return {"object": "list", "data": [model]}

    @app.get("/health", summary="Is the service alive, and what does it serve?")
    async def health() -> dict:
        return {"status": "ok", "task": "chat", "model": name, "max_tokens": lm.max_length}

    @app.get("/", include_in_schema=False)
    async def show_page() -> Response:
        return rendered("chat_page", {"name": name})

    for error in (RequestValidationError, StarletteHTTPException, InputError):
        app.add_exception_handler(error, refuse)
    return app


async def answer(lm, body: Completion, worker: Worker, request: Request) -> AsyncIterator[str | Written]:
    """The pieces of an answer, and at last `Written`; it ends where its client, or its reader, goes away."""
    loop, found, gone = asyncio.get_running_loop(), asyncio.Queue(), threading.Event()

    def write() -> None:
        pieces = stream(lm, body.conversation(), body.sampling(lm), gone)
        try:
            while True:
                loop.call_soon_threadsafe(found.put_nowait, next(pieces))
        except StopIteration as end:
            loop.call_soon_threadsafe(found.put_nowait, end.value)

    async def leave() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    def end(_) -> None:
        gone.set()
        writing.cancel()

    writing, leaving = asyncio.create_task(worker.run(write)), asyncio.create_task(leave())
    writing.add_done_callback(found.put_nowait)
    leaving.add_done_callback(end)
    try:
        news = await found.get()
        while news is not writing:
            yield news
            news = await found.get()
        if writing.cancelled():
            raise HTTPException(499, "the client went away")
        writing.result()
    finally:
        leaving.cancel()


def event(content: dict) -> str:
    """One of the server-sent events."""
    return f"data: {json.dumps(content)}\n\n"


def problem(status: int, sentence: str, param: str | None = None, code: str | None = None) -> dict:
    """A refusal in OpenAI's words."""
    kind = "invalid_request_error" if status < 500 else "server_error"
    return {"error": {"message": sentence, "type": kind, "param": param, "code": code}}


async def refuse(request: Request, error: Exception) -> JSONResponse:
    """The response to a body that is not as it should be, or to what was refused later."""
    if isinstance(error, RequestValidationError):
        status, sentence = body_problem(request, error)
        fields = [part for part in error.errors()[0]["loc"][1:2] if isinstance(part, str)]
        status = 400 if status == 422 else status
        return JSONResponse(problem(status, sentence, *fields), status)
    if isinstance(error, InputError):
        code = "context_length_exceeded" if isinstance(error, TooLong) else None
        return JSONResponse(problem(400, str(error), "messages", code), 400)
    content = error.detail if isinstance(error.detail, dict) else problem(error.status_code, error.detail)
    return JSONResponse(content, error.status_code, error.headers)


def refuse_unsupported(part: Loose) -> None:
    """Raises HTTPException: a field that is not known here would change the answer."""
    for name, value in part.model_extra.items():
        if name not in IDLE and value is not None and value != NEUTRAL.get(name):
            name = ascii(name[:80])[1:-1]
            sentence = f"{name} is not supported here with this value; leave it out"
            raise HTTPException(400, problem(400, sentence, name, "unsupported_parameter"))
    for name in part.model_fields_set:
        value = getattr(part, name)
        for inner in value if isinstance(value, list) else [value]:
            if isinstance(inner, Loose):
                refuse_unsupported(inner)
