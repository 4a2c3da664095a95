"""The HTTP side as one application: health, the gateways' API, the admin API, the back office."""

import structlog
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.middleware.base import RequestResponseEndpoint

from bot import works
from bot.api import (
    billing,
    commands,
    meters,
    outages,
    paying,
    prepaid,
    problems,
    push,
    readings,
    schedules,
)
from bot.bank_files import read_map
from bot.clock import Clock
from bot.gateway.intake import Gatherer
from bot.gateway.profile import load_profiles
from bot.paying.provider import Links, origin_of
from bot.paying.providers import load_providers
from bot.settings import Settings
from bot.tasks import defer
from core.db import Database

log = structlog.get_logger()

BODY_BYTES_MAX = 5_000_000
_SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'self'; frame-ancestors 'none'; base-uri 'none'",
}


async def take_up_alarms(session: AsyncSession, _alarm_ids: list[int]) -> None:
    """Have alarms that were raised looked at after the commit, once however many there are."""
    await defer(session, works.TAKE_UP_ALARMS, once=works.TAKE_UP_ALARMS)


def build(
    database: Database, clock: Clock, *, settings: Settings, links: Links | None = None
) -> FastAPI:
    """Return the application; every answer to a mistake is a problem, never a page of Python."""
    app = FastAPI(
        title="Shuidian",
        description="Readings in, bills, payments, outage notices and schedules.",
        version="1",
        docs_url=None,
        redoc_url=None,
        openapi_url="/api/openapi.json",
        max_body_size=2 * BODY_BYTES_MAX,  # for bodies that do not say how long they are
    )
    app.state.database = database
    app.state.clock = clock
    app.state.is_stopping = False
    app.state.after_alarms = take_up_alarms
    app.state.profiles = load_profiles(settings.profiles_dir, timezone=settings.timezone)
    app.state.pushes = Gatherer(database, clock, after_alarms=take_up_alarms)
    app.state.links = links or Links(lambda: settings.public_url, "")
    app.state.providers, app.state.openings = load_providers(settings)
    app.state.forms_lead_to = ("'self'", "https:", origin_of(settings.payment_provider_url))
    app.state.bank_columns = read_map(settings.bank_columns)
    for module in (billing, commands, meters, outages, paying, prepaid, push, readings, schedules):
        app.include_router(module.router)
    problems.install(
        app, timezone=settings.timezone, currency=settings.currency, locale=settings.locale
    )

    @app.middleware("http")
    async def secure(request: Request, call_next: RequestResponseEndpoint) -> Response:
        response: Response
        try:
            if int(request.headers.get("content-length", 0)) > BODY_BYTES_MAX:
                detail = f"A request holds at most {BODY_BYTES_MAX} bytes; send it in parts."
                response = problems.problem(413, "http.413", detail)
            else:
                response = await call_next(request)
        except Exception:
            log.exception("api.failed", path=request.url.path)
            response = problems.problem(500, "http.500", "Something went wrong; nothing changed.")
        for name, value in _SECURITY_HEADERS.items():
            response.headers.setdefault(name, value)
        return response

    @app.get("/health/live", tags=["health"])
    async def live() -> dict[str, str]:
        """Answer as long as the process runs."""
        return {"status": "alive"}

    @app.get("/health/ready", tags=["health"])
    async def ready() -> JSONResponse:
        """Answer 200 when the database can be asked, else 503."""
        try:
            async with database.transaction() as session:
                await session.execute(text("SELECT 1"))
        except (SQLAlchemyError, OSError):
            return JSONResponse({"status": "no database"}, 503, headers={"Retry-After": "5"})
        return JSONResponse({"status": "ready"})

    return app
