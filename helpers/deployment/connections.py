"""What may happen to a connection before a request has come: time limits, places, malformed HTTP.

uvicorn alone would wait for ever for the headers of a request, and count silent connections as work to do.
"""

import json
import os
import sys
from http import HTTPStatus

import h11
import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

from helpers.deployment.guard import HEADERS, Limits, log_request

ANSWER, REFUSED = "answer", "refused"  # phases of a connection beside the states of h11
WAITING = (h11.IDLE, h11.SEND_BODY, ANSWER, REFUSED)  # in these it is the client's turn
BACKLOG = 128  # connections that the system keeps until they are taken, all in one turn
LINGER = 1  # seconds in which a client that still sends can read that it was refused


def server(app: FastAPI) -> uvicorn.Server:
    """The server of an application, which `Guard` is part of; `run(sockets=[listening])` starts it."""
    # `Guard` answers and logs errors inside the application; the server itself has nothing to add.
    silent = {"log_level": "critical", "access_log": False, "server_header": False}
    plain = {"proxy_headers": False, "http": Connection, "lifespan": "off", "ws": "none", "backlog": BACKLOG}
    times = {"timeout_keep_alive": app.state.limits.idle_seconds, "timeout_graceful_shutdown": 10}
    return uvicorn.Server(uvicorn.Config(app, **silent, **plain, **times))


class Requests(h11.Connection):
    """h11, with the limits on headers also where they arrive in one piece."""

    def __init__(self, limits: Limits):
        super().__init__(h11.SERVER, limits.header_bytes)
        self.limits = limits

    def next_event(self):
        """As in h11; a RemoteProtocolError with the hint 431 for too many or too long headers."""
        event = super().next_event()
        if isinstance(event, h11.Request):
            size = len(event.method) + len(event.target)
            size += sum(len(name) + len(value) for name, value in event.headers)
            if size > self.limits.header_bytes or len(event.headers) > self.limits.headers:
                raise h11.RemoteProtocolError("too much", error_status_hint=431)
        return event


class Connection(H11Protocol):
    """uvicorn's HTTP/1.1 with a clock that runs while it is the client's turn.

    Where more connections are open than there are places, the one that waits longest for its client ends:
    so idle ones never keep others out. What is refused here is JSON, logged and counted like the rest.
    """

    def __init__(self, *arguments, **options):
        super().__init__(*arguments, **options)
        state = self.config.app.state
        self.limits, self.counters = state.limits, state.counters
        self.conn = Requests(self.limits)
        self.phase, self.since, self.clock = None, 0.0, None

    def connection_made(self, transport) -> None:
        """Called by asyncio; makes room where too many are open."""
        super().connection_made(transport)
        self.counters.connections.inc()
        self.watch()
        if len(self.connections) > _places(self.limits):
            waiting = [other for other in self.connections if other.is_waiting() and other is not self]
            if waiting:
                min(waiting, key=lambda other: other.since).give_way()

    def connection_lost(self, exc) -> None:
        """Called by asyncio."""
        super().connection_lost(exc)
        self.counters.connections.dec()
        self.stop_clock()

    def data_received(self, data: bytes) -> None:
        """Called by asyncio; what follows a refusal is read and forgotten."""
        if self.phase != REFUSED:
            super().data_received(data)
            self.watch()

    def on_response_complete(self) -> None:
        """Called by uvicorn."""
        super().on_response_complete()
        self.watch()

    def pause_writing(self) -> None:
        """Called by asyncio when the client does not take its answer."""
        super().pause_writing()
        self.watch()

    def resume_writing(self) -> None:
        """Called by asyncio when it does."""
        super().resume_writing()
        self.watch()

    def watch(self) -> None:
        """Start the clock when it becomes the client's turn to send headers or to take an answer."""
        phase = ANSWER if self.flow.write_paused else self.conn.their_state
        if phase is self.phase or self.phase == REFUSED:
            return
        self.stop_clock()
        self.phase, self.since = phase, self.loop.time()
        if phase in (h11.IDLE, ANSWER):  # the time of a body is limited in `Guard`
            self.clock = self.loop.call_later(self.limits.header_seconds, self.too_late)

    def is_waiting(self) -> bool:
        """Is it the client's turn, if only to take the end of its answer?"""
        return self.phase in WAITING or self.transport.is_closing()

    def stop_clock(self) -> None:
        """Nobody waits for the client any more."""
        if self.clock is not None:
            self.clock.cancel()

    def too_late(self) -> None:
        """Say so to a client that has begun; one that was silent, or takes no answer, would not read it."""
        if self.phase is h11.IDLE and self.conn.trailing_data[0]:
            late = f"the headers did not arrive within {self.limits.header_seconds:g} seconds"
            self.refuse(408, f"{late}; send the request again")
        else:
            self.transport.abort()

    def give_way(self) -> None:
        """End this connection in favour of a new one."""
        if self.phase in (h11.IDLE, h11.SEND_BODY) and not self.transport.is_closing():
            self.refuse(503, "too many connections are open, and this one waited longest; connect again")
        self.transport.abort()
        self.connections.discard(self)  # at once, for the next newcomer counts again

    def send_400_response(self, msg: str) -> None:
        """Called by uvicorn while it handles an error of h11."""
        if getattr(sys.exception(), "error_status_hint", 400) != 431:
            return self.refuse(400, "this is no valid HTTP/1.1 request; send one that is")
        most = f"{self.limits.headers} headers and {self.limits.header_bytes:,} bytes of them"
        self.refuse(431, f"a request takes at most {most}; send fewer")

    def refuse(self, status: int, sentence: str) -> None:
        """Answer what never reaches the application, then read on for a moment without keeping anything."""
        seconds, cycle = self.loop.time() - self.since, self.cycle
        self.stop_clock()
        self._unset_keepalive_if_required()
        is_under_way = cycle is not None and not cycle.response_complete
        if not is_under_way or not cycle.response_started:
            body = json.dumps(self.config.app.state.refusal(status, sentence)).encode()
            about = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
            lines = [b"%s: %s" % line for line in (*about, (b"connection", b"close"), *HEADERS)]
            first = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}".encode()
            self.transport.write(b"\r\n".join([first, *lines, b"", body]))
            self.transport.write_eof()
        if is_under_way:  # `Guard` reads a body that is malformed: it counts and logs this status
            cycle.scope["refused"], cycle.disconnected = status, True
            cycle.message_event.set()
        else:
            self.counters.request("-", status, seconds)
            log_request("-", "-", status, seconds)
        self.phase, self.since, self.conn = REFUSED, self.loop.time(), Requests(self.limits)
        self.clock = self.loop.call_later(LINGER, self.transport.abort)


def _places(limits: Limits) -> int:
    """How many connections may be open: each is one of the files that the system lets a process open."""
    if os.name != "posix":
        return limits.connections
    import resource

    return min(limits.connections, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2)
