"""A service in this process for as long as a cell asks it, on a free port of the loopback address."""

import io
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr

import uvicorn


@contextmanager
def serving(app) -> Iterator[str]:
    """Answer requests with a web application inside a `with` block; its address comes out.

    The command `serve` does more: it watches connections that ask nothing, and ends by a signal.
    """
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="error"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        with redirect_stderr(io.StringIO()):  # a line for each request
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
        listener.close()
