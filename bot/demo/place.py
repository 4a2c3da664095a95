"""The demo's directory: who uses it, and what the next start finds there."""

import contextlib
import fcntl
import json
import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

HOST = "127.0.0.1"


class AlreadyRunning(Exception):
    """Another demo uses this directory."""


@dataclass(frozen=True, slots=True)
class Place:
    """A directory of one demo."""

    path: Path

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """
        Hold the directory until the block ends.

        Raises:
            AlreadyRunning: somebody else does.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        with (self.path / "lock").open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise AlreadyRunning(f"a demo runs in {self.path} already") from None
            yield

    @property
    def chats(self) -> Path:
        """Where the playground keeps its chats."""
        return self.path / "playground.sqlite"

    @property
    def log(self) -> Path:
        """Where the service writes what it does."""
        return self.path / "service.log"

    @property
    def access_file(self) -> Path:
        """Where the credentials are."""
        return self.path / "access.json"

    def show_access(self, tokens: Mapping[str, str]) -> None:
        """Write the credentials down, for nobody else to read."""
        self.access_file.touch(mode=0o600)
        self.access_file.write_text(json.dumps(tokens, indent=2) + "\n", encoding="utf-8")

    def listen(self, name: str, *, wanted: int) -> socket.socket:
        """Return a socket that listens where it did last time, or as wanted, or where it can."""
        kept = self.path / f"{name}.port"
        ports = [wanted, 0]
        with contextlib.suppress(FileNotFoundError, ValueError):
            ports.insert(0, int(kept.read_text(encoding="utf-8")))
        for port in ports:
            with contextlib.suppress(OSError):
                listener = socket.create_server((HOST, port), backlog=100)
                kept.write_text(str(listener.getsockname()[1]), encoding="utf-8")
                return listener
        raise OSError("no port is free on the loopback address")
