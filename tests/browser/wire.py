"""A network between browser and server that can be cut, as bad Wi-Fi does."""

import contextlib
import socket
import threading


class Wire:
    """A port that passes everything on to `port`, until it is `cut`; `mend` lets new connections in."""

    def __init__(self, port: int):
        self.server = socket.create_server(("127.0.0.1", 0))
        self.to, self.port, self.is_cut = port, self.server.getsockname()[1], False
        self.ends: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """End all connections, and refuse new ones."""
        self.is_cut = True
        for end in self.ends:
            _shut(end)
        self.ends.clear()

    def mend(self) -> None:
        """Let new connections in."""
        self.is_cut = False

    def close(self) -> None:
        """No new connections any more."""
        self.cut()
        _shut(self.server)  # wakes the thread that waits for one
        self.server.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # closed
            while True:
                one, _ = self.server.accept()
                if self.is_cut:
                    one.close()
                    continue
                other = socket.create_connection(("127.0.0.1", self.to))
                self.ends += [one, other]
                for source, sink in ((one, other), (other, one)):
                    threading.Thread(target=_pump, args=(source, sink), daemon=True).start()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    """Pass everything on until one of the two ends."""
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    _shut(source)
    _shut(sink)


def _shut(end: socket.socket) -> None:
    with contextlib.suppress(OSError):  # it has ended by itself
        end.shutdown(socket.SHUT_RDWR)
