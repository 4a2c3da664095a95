"""
The embedded PostgreSQL of the first run and of the tests; production gives its own database.

One private server per state directory, on the loopback address only, shared by every process
that enters `embedded`; the last one out stops it. Who is there is told by the kernel (`flock`),
so a process killed with -9 no longer counts. Three lock files in the server's home:

- `turn`: held while somebody starts or stops the server;
- `users`: held, shared, by everybody who uses it;
- `server`: inherited by every PostgreSQL process, so it is free only when the last is gone.
"""

import fcntl
import logging
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql

from bot.postgres_home import (
    ROLE,
    DatabaseNotStarted,
    Home,
    find_home,
    locked,
    make_data,
    opened,
)

_TRIES = 3  # a port that was free a moment ago can be taken
_REPORT_AFTER_SECONDS = 30

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedded:
    """A running embedded database."""

    url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Postmaster:
    pid: int
    port: int
    is_ready: bool


@contextmanager
def embedded(
    state: Path,
    *,
    database: str = "shuidian",
    fsync: bool = True,
    max_connections: int = 100,
    binaries: Path | None = None,
) -> Iterator[Embedded]:
    """
    Run, or join, the PostgreSQL of the state directory and stop it when its last user leaves.

    A server that outlived its users is adopted, a dead one is started again, and recovery after a
    crash may take as long as it needs. `binaries` names the `bin` directory of a PostgreSQL of
    the system (16 or newer) to use instead of the wheel's.

    Raises:
        DatabaseNotStarted: the directory cannot be used, or PostgreSQL fails.
    """
    with _explained():
        home = find_home(state.resolve(), binaries=binaries)
    with opened(home.path / "users") as users:
        try:
            with _explained(), locked(home.path / "turn"):
                fcntl.flock(users, fcntl.LOCK_SH)
                make_data(home, fsync=fsync)
                port = _start(home, options={"fsync": fsync, "max_connections": max_connections})
                password = home.password.read_text(encoding="utf-8")
                _create_database(database, port=port, password=password)
            address = f"{ROLE}:{password}@127.0.0.1:{port}/{database}"
            yield Embedded(url=f"postgresql+psycopg://{address}")
        finally:
            with locked(home.path / "turn"):
                if _try_lock(users):
                    _stop(home)


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except (OSError, subprocess.SubprocessError, psycopg.Error) as error:
        raise DatabaseNotStarted(f"the embedded database cannot be used: {error}") from error


def _start(home: Home, *, options: Mapping[str, int]) -> int:
    """Return the port of the running server, adopting or starting one."""
    tries = 0
    port = 0
    patience = _wait(home, "starting")
    while True:
        server = _find_postmaster(home.data)
        if server and server.is_ready:
            return server.port
        with opened(home.path / "server") as handle:
            if server is None and _try_lock(handle):  # nothing runs, or nothing runs any more
                if tries == _TRIES or (tries and _is_free(port)):
                    raise DatabaseNotStarted(f"PostgreSQL does not start:\n{_read_log_end(home)}")
                tries += 1
                port = _choose_port(home.path / "port")
                _spawn(home, options={**options, "port": port}, handle=handle)
        next(patience)


def _spawn(home: Home, *, options: Mapping[str, int], handle: int) -> None:
    # Stale for certain: its process is not a server of this directory, and none of ours is left.
    (home.data / "postmaster.pid").unlink(missing_ok=True)
    log = home.path / "log"
    with suppress(FileNotFoundError):
        log.replace(home.path / "log.old")
    log.touch(mode=0o600)
    settings = [f"--{name}={int(value)}" for name, value in options.items()]
    with log.open("ab") as output:
        server = subprocess.Popen(  # noqa: S603  our own arguments
            [home.binaries / "postgres", "-D", home.data, *settings],
            stdout=output,
            pass_fds=[handle],
            **home.get_process_options(),
        )
    threading.Thread(target=server.wait, daemon=True).start()  # no zombie, whoever stops it


def _stop(home: Home) -> None:
    """Ask the server to end its work and wait until its last process is gone."""
    asked = None
    patience = _wait(home, "stopping")
    with opened(home.path / "server") as handle:
        while not _try_lock(handle):
            server = _find_postmaster(home.data)
            if server and server.pid != asked:
                asked = server.pid
                with suppress(ProcessLookupError):
                    os.kill(server.pid, signal.SIGINT)  # PostgreSQL's fast shutdown
            next(patience)


def _wait(home: Home, doing: str) -> Iterator[None]:
    """Pause at every step, and report now and then; never give up, for recovery takes its time."""
    reported_at = time.monotonic()
    while True:
        time.sleep(0.02)
        if time.monotonic() - reported_at > _REPORT_AFTER_SECONDS:
            reported_at = time.monotonic()
            logger.warning("PostgreSQL is still %s:\n%s", doing, _read_log_end(home))
        yield


def _read_log_end(home: Home) -> str:
    lines = (home.path / "log").read_text(encoding="utf-8", errors="replace").splitlines()
    return "\n".join(lines[-15:])


def _try_lock(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _find_postmaster(data: Path) -> _Postmaster | None:
    """Return the live server of this data directory; a stale or half-written file is none."""
    try:
        lines = (data / "postmaster.pid").read_text(encoding="utf-8").splitlines()
        pid, port, status = int(lines[0]), int(lines[3]), lines[7].strip()
    except (FileNotFoundError, IndexError, ValueError):
        return None
    is_alive = False
    with suppress(OSError):
        if Path("/proc/self").exists():  # the number may belong to somebody else by now
            arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            is_alive = os.fsencode(data) in arguments
        else:
            os.kill(pid, 0)
            is_alive = True
    return _Postmaster(pid=pid, port=port, is_ready=status == "ready") if is_alive else None


def _choose_port(stored: Path) -> int:
    """Return the port of the last time if it is still free, else another one, and store it."""
    with suppress(FileNotFoundError, ValueError):
        port = int(stored.read_text(encoding="utf-8"))
        if _is_free(port):
            return port
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = int(probe.getsockname()[1])
    stored.write_text(str(port), encoding="utf-8")
    return port


def _is_free(port: int) -> bool:
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True


def _create_database(name: str, *, port: int, password: str) -> None:
    with psycopg.connect(
        host="127.0.0.1",
        port=port,
        user=ROLE,
        password=password,
        dbname="postgres",
        sslmode="disable",
        autocommit=True,
    ) as connection:
        known = connection.execute("SELECT FROM pg_database WHERE datname = %s", [name])
        if known.fetchone() is None:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
