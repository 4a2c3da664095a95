"""The web server of a process that has other things to do, too."""

import contextlib
import socket
from collections.abc import Iterator

import uvicorn


class WebServer(uvicorn.Server):
    """uvicorn, which leaves the signals to us."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture nothing."""
        yield


def bind(host: str, port: int) -> socket.socket:
    """Return a listening socket; a port of 0 takes any free one."""
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((host, port))
    listener.listen(100)
    return listener
