"""`shuidian …`: the command line of those who run the service."""

import asyncio
import contextlib
import os
import signal
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from bot.billing_commands import bill_app, check, tariffs_app
from bot.gateway_commands import gateway_app
from bot.import_commands import import_app, limits_app, refuse
from bot.meter_commands import meters_app
from bot.settings import Settings
from core.errors import DomainError
from core.money import round_minor

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

    from bot.clock import Clock
    from bot.texts import Texts
    from core.db import Database

# Imports stand inside the commands, so that `--help` does not wait for all of the service.
# ruff: noqa: PLC0415

PATIENCE_SECONDS = 10

T = TypeVar("T")
Act = Callable[["AsyncSession", datetime], Awaitable[T]]

app = typer.Typer(
    name="shuidian",
    help="Water and electricity for a property, a campus, a village or a small city.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.add_typer(bill_app, name="bill")
app.add_typer(tariffs_app, name="tariffs")
app.add_typer(import_app, name="import")
app.add_typer(limits_app, name="limits")
app.add_typer(meters_app, name="meters")
app.add_typer(gateway_app, name="gateway")
app.command()(check)
jobs_app = typer.Typer(help="Timed jobs: which there are, and running one by hand.")
app.add_typer(jobs_app, name="jobs")
bridge_app = typer.Typer(help="Bridges to meters on wires: DL/T 645, CJ/T 188, Modbus.")
app.add_typer(bridge_app, name="bridge")


def _on_signals(handler: "signal.Handlers | Callable[[int, FrameType | None], None]") -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, handler)


def _leave(number: int, _: FrameType | None) -> None:
    """End by the way of an exception, so that everything is closed."""
    raise SystemExit(128 + number)


@contextlib.contextmanager
def prepared(*, is_start: bool = False) -> Iterator[Settings]:
    """
    Give the settings with a database whose schema is the newest: the one set, or embedded.

    A refusal ends the command with its sentence.

    A start of the service takes over what the settings say of the operator; other commands, which
    may be typed where nothing is set, only make one if there is none.
    """
    from bot import logs, migrate

    settings = Settings()
    logs.configure(as_json=settings.log_json)
    with contextlib.ExitStack() as stack:
        if not settings.database_url:
            from bot.postgres import embedded

            _on_signals(_leave)
            server = stack.enter_context(embedded(settings.state_dir))
            stack.callback(_on_signals, signal.SIG_IGN)  # once it stops, it stops to the end
            settings = settings.model_copy(update={"database_url": server.url})
        migrate.upgrade(settings.database_url)
        if not settings.demo_clock:  # the demo's district has an operator of its own
            asyncio.run(use(settings, partial(_keep_operator, settings, is_start=is_start)))
        try:
            yield settings
        except DomainError as refusal:
            words = partial(_explain, refusal=refusal)
            raise refuse(asyncio.run(use(settings, words))) from None


async def _explain(database: "Database", _: "Clock", *, refusal: DomainError) -> str:
    from bot.routes import explain

    return explain(await find_words(database), refusal)


async def find_words(database: "Database") -> "Texts":
    """Return the sentences for whoever runs a command, in the shell's or operator's language."""
    from bot.settings import shell_language
    from bot.texts import Texts, locale_for
    from core.accounts.service import get_operator

    async with database.transaction() as session:
        operator = await get_operator(session)
    locale = locale_for(shell_language(), default=operator.locale)
    return Texts(locale, timezone=operator.timezone, currency=operator.currency)


async def _keep_operator(
    settings: Settings, database: "Database", _: "Clock", *, is_start: bool
) -> None:
    from core.accounts import service
    from core.money import Money
    from core.monitoring.ranges import ensure_default_limits

    async with database.transaction() as session:
        await ensure_default_limits(session)
        await service.keep_operator(
            session,
            name=settings.operator_name,
            hotline=settings.hotline,
            timezone=settings.timezone,
            currency=settings.currency,
            locale=settings.locale,
            reading_days=settings.reading_days,
            back_billing_days=settings.back_billing_days,
            dispute_days=settings.dispute_days,
            plan_parts_max=settings.plan_parts_max,
            plan_part_minor_min=round_minor(settings.plan_part_min, currency=settings.currency),
            plan_days=settings.plan_days,
            plan_grace_days=settings.plan_grace_days,
            approves_bills=settings.approve_bills,
            prepaid=service.Prepaying(
                steps_minor=[
                    Money.exactly(step, settings.currency).minor for step in settings.prepaid_steps
                ],
                emergency_minor=Money.exactly(settings.emergency_credit, settings.currency).minor,
                cut_from=settings.prepaid_cut_hours[0],
                cut_until=settings.prepaid_cut_hours[1],
            ),
            is_start=is_start,
        )


def act(work: Act[T]) -> T:
    """Do one thing in one transaction and return its result."""

    async def run(database: "Database", clock: "Clock") -> T:
        async with database.transaction() as session:
            return await work(session, clock.now())

    with prepared() as settings:
        return asyncio.run(use(settings, run))


async def use(settings: Settings, work: "Callable[[Database, Clock], Awaitable[T]]") -> T:
    """Do something with a database and the clock that the settings say, and return its result."""
    from bot.clock import SystemClock
    from bot.demo.clock import FollowedClock
    from core.db import Database

    database = Database(settings.database_url, pool_size=4)
    try:
        clock: Clock = SystemClock()
        if settings.demo_clock:
            clock = followed = FollowedClock.at_start()
            await followed.read(database)
        return await work(database, clock)
    finally:
        await database.close()


@app.command()
def serve(
    *, until_stdin_ends: Annotated[bool, typer.Option("--until-stdin-ends", hidden=True)] = False
) -> None:
    """Run the service: web, chat and worker, or those of them named by SHUIDIAN_ROLES."""
    if until_stdin_ends:
        threading.Thread(target=_end_with_parent, daemon=True).start()
    with prepared(is_start=True) as settings:
        asyncio.run(_serve(settings))


def _end_with_parent() -> None:
    """Ask this process to end once nobody holds the other end of its input any more."""
    while os.read(0, 1):  # nothing is ever said there
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(PATIENCE_SECONDS)
    os.kill(os.getpid(), signal.SIGKILL)  # something hangs, and there is nobody to see it


@app.command()
def demo(
    port: Annotated[int, typer.Option(help="Where the page with the phones is, if free.")] = 8080,
    state: Annotated[Path, typer.Option(help="Where the demo keeps its files.")] = Path(
        ".state/demo"
    ),
) -> None:
    """Run the whole service with a district of its own, and phones to try it on."""
    from bot.demo import stage
    from bot.demo.place import AlreadyRunning
    from bot.playground.server import RealToken

    def upgrade(url: str) -> None:
        from bot import migrate

        migrate.upgrade(url)

    try:
        asyncio.run(stage.run(state=state.resolve(), port=port, say=typer.echo, upgrade=upgrade))
    except (AlreadyRunning, RealToken) as refusal:
        raise SystemExit(str(refusal)) from refusal


async def _serve(settings: Settings) -> None:
    from bot.app import Service, until_stopped
    from bot.clock import SystemClock
    from bot.demo.clock import FollowedClock

    if not settings.demo_clock:
        async with Service(settings, SystemClock()).running():
            await until_stopped()
        return
    clock = FollowedClock.at_start()
    service = Service(settings, clock)
    await clock.read(service.database)
    following = asyncio.create_task(clock.follow(service.database))
    try:
        async with service.running():
            await until_stopped()
    finally:
        following.cancel()


@app.command()
def migrate() -> None:
    """Bring the database to the newest schema."""
    with prepared():
        typer.echo("The schema is up to date.")


@app.command()
def token(
    name: Annotated[str, typer.Argument(help="What the program is called in the logs.")],
    scope: Annotated[str, typer.Option(help="gateway: sends readings; admin: does the rest.")],
    profile: Annotated[
        str, typer.Option(help="Of a gateway that is heard over MQTT: how it speaks.")
    ] = "",
    below: Annotated[
        str,
        typer.Option(help="Where its MQTT topics begin, if not as the profile says: site/cellar."),
    ] = "",
) -> None:
    """Print a new credential for a program; it is shown once."""
    from sqlalchemy.exc import IntegrityError

    from bot.api.auth import issue_token
    from bot.gateway_commands import find_profile

    if scope not in {"gateway", "admin"}:
        raise typer.BadParameter("the scope is gateway or admin")
    if profile and (scope != "gateway" or find_profile(profile).transport != "mqtt"):
        raise typer.BadParameter("only a gateway has a profile, and only one for MQTT")
    if below and not (profile and all(below.split("/")) and not set("+#$") & set(below)):
        raise typer.BadParameter("--below: levels of a topic, of a gateway that has a profile")

    async def work(session: "AsyncSession", now: datetime) -> str:
        return await issue_token(
            session, name=name, scope=scope, profile=profile or None, below=below, now=now
        )

    try:
        typer.echo(act(work))
    except IntegrityError:
        raise typer.BadParameter(
            "there is one of this name, or one with this profile and the same --below"
        ) from None


@app.command()
def revoke(name: Annotated[str, typer.Argument(help="The name given to `token`.")]) -> None:
    """Revoke the credential of a program: it is refused from now on."""
    from bot.api.auth import revoke_token

    act(lambda session, now: revoke_token(session, name=name, now=now))
    typer.echo(f"{name}: revoked")


@app.command()
def invite(
    account: Annotated[str, typer.Option(help="Number of the account to open.")] = "",
    role: Annotated[str, typer.Option(help="technician or manager.")] = "",
) -> None:
    """Print a single-use code that links a chat to an account or to a staff role."""
    from core.accounts import linking, service
    from core.accounts.models import Role

    if bool(account) == bool(role):
        raise typer.BadParameter("give either --account or --role")
    if role not in {"", *Role}:
        raise typer.BadParameter(f"the role is one of: {', '.join(Role)}")

    async def work(session: "AsyncSession", now: datetime) -> str:
        if role:
            return await linking.invite(session, role=Role(role), now=now)
        found = await service.get_account(session, number=account)
        return await linking.invite(session, account_id=found, now=now)

    typer.echo(act(work))


@jobs_app.command("run")
def run_job(
    name: Annotated[str, typer.Argument(help="The job's name.")],
    at: Annotated[
        datetime | None, typer.Option(help="The moment (UTC) it stands for; empty: now.")
    ] = None,
) -> None:
    """Run a timed job by hand; running it again does no harm."""
    from bot.works import JOBS

    job = JOBS.get(name)
    if job is None:
        raise typer.BadParameter(f"there is no such job; there are: {', '.join(sorted(JOBS))}")
    moment = at.replace(tzinfo=UTC) if at is not None else None
    act(lambda session, now: job.run(session, now=moment or now))
    typer.echo(f"{name}: done")


@jobs_app.command("list")
def list_jobs() -> None:
    """List the timed jobs."""
    from bot.works import JOBS

    for job in JOBS.values():
        typer.echo(f"{job.name:24} {job.at or 'at every ring'}")


@bridge_app.command("read")
def read_bridge(
    file: Annotated[Path, typer.Argument(help="The file of bridges, see docs/wire.md.")],
) -> None:
    """Print what every meter of a file answers now; nothing is stored or switched."""
    from zoneinfo import ZoneInfo

    from bot.gateway.wire.asking import ask_all
    from bot.gateway.wire.bridges import read_bridges

    try:
        bridges = read_bridges(file)
    except OSError as mistake:
        raise refuse(f"{file}: {mistake.strerror}") from None
    except ValueError as mistake:
        raise refuse(f"{file}: {mistake}") from None
    zone = ZoneInfo(Settings().timezone)
    asyncio.run(ask_all(bridges, zone=zone, say=typer.echo))


def main() -> None:
    """Run the command line."""
    app()


if __name__ == "__main__":
    main()
