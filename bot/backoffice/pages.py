"""The managers' web pages: all open repairs, each with its whole history. They only show."""

import re
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from fastapi import APIRouter, Form, Request, Response
from fastapi import Path as PathParameter
from fastapi.responses import FileResponse, HTMLResponse, RedirectResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from sqlalchemy.ext.asyncio import AsyncSession

from bot import repair_card
from bot.api.context import Now, Session
from bot.backoffice import sessions
from bot.backoffice.metering import describe_readings
from bot.backoffice.sessions import SESSION_LIFE, Visitor
from bot.texts import Texts
from core.accounts import service as accounts
from core.monitoring import gateways, photos
from core.monitoring.gateways import GatewayView
from core.monitoring.thresholds import SILENCE_MAX
from core.repairs import evidence, queries
from core.repairs.access import RepairNotFound
from core.repairs.evidence import FollowerLine
from core.repairs.queries import RepairLine
from core.repairs.workflow import ENDED

HERE = Path(__file__).parent
COOKIE = "office"
SHOWN_MAX = 500
TOKEN_LENGTH_MAX = 64
NUMBER = re.compile(r"R[0-9]{1,12}")
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; "
        "frame-ancestors 'none'; base-uri 'none'"
    ),
    # With `no-referrer` a browser would not name the origin of our own forms either.
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cache-Control": "no-store",
}
COUNTS = ("received", "accepted", "duplicate", "held", "rejected")
PhotoId = Annotated[int, PathParameter(ge=1, le=2**31)]
router = APIRouter(prefix="/office", include_in_schema=False)
_templates = Environment(
    loader=FileSystemLoader(HERE / "templates"), autoescape=True, undefined=StrictUndefined
)


@router.get("")
async def show_start() -> Response:
    """Lead to the list."""
    return RedirectResponse("/office/repairs", 303)


@router.get("/office.css")
async def get_style() -> Response:
    """Return the one stylesheet."""
    return FileResponse(HERE / "office.css", media_type="text/css")


@router.get("/enter")
async def show_link(session: Session, now: Now, token: str = "") -> Response:
    """
    Ask whoever follows a link to press a button.

    Programs that look at links before people do would use it up otherwise.
    """
    if len(token) <= TOKEN_LENGTH_MAX:
        invited = await sessions.find_invited(session, token=token, now=now)
        if invited is not None:
            texts = await _texts_for(session, invited)
            return _page("enter.html", texts, name=invited.name, token=token)
    return await _message(session, "link_over", 410)


@router.post("/enter")
async def enter(
    request: Request,
    session: Session,
    now: Now,
    token: Annotated[str, Form(max_length=TOKEN_LENGTH_MAX)],
) -> Response:
    """Use up the link and open a session."""
    if not _is_own_page(request):
        return await _message(session, "foreign", 403)
    secret = await sessions.open_session(session, token=token, now=now)
    if secret is None:
        return await _message(session, "link_over", 410)
    response = RedirectResponse("/office/repairs", 303, headers=HEADERS)
    response.set_cookie(
        COOKIE,
        secret,
        max_age=int(SESSION_LIFE.total_seconds()),
        path="/office",
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="strict",
    )
    return response


@router.post("/leave")
async def leave(request: Request, session: Session, now: Now) -> Response:
    """End the session."""
    if not _is_own_page(request):
        return await _message(session, "foreign", 403)
    await sessions.end_session(session, secret=request.cookies.get(COOKIE, ""), now=now)
    response = await _message(session, "signed_out", 200)
    response.delete_cookie(COOKIE, path="/office")
    return response


@router.get("/repairs")
async def show_repairs(request: Request, session: Session, now: Now) -> Response:
    """Show all open repairs, the late ones first."""
    visitor = await _find_visitor(request, session, now)
    if visitor is None:
        return await _message(session, "signed_out", 401)
    texts = await _texts_for(session, visitor)
    lines, total = await queries.list_open(session, now=now, limit=SHOWN_MAX)
    late = sum(line.is_late for line in lines)
    return _page(
        "repairs.html",
        texts,
        visitor=visitor.name,
        as_of=texts.plain("office.as_of", moment=texts.moment(now)),
        open_count=texts.count("office.open_count", total),
        late_count=texts.count("office.late_count", late) if late else "",
        repairs=[_row(line, texts, now) for line in lines],
    )


@router.get("/repairs/{number}")
async def show_repair(number: str, request: Request, session: Session, now: Now) -> Response:
    """Show one repair with its whole history."""
    visitor = await _find_visitor(request, session, now)
    if visitor is None:
        return await _message(session, "signed_out", 401)
    texts = await _texts_for(session, visitor)
    number = _read_number(number)
    try:
        view = await queries.get_repair_for(
            session, person_id=visitor.person_id, repair=number, now=now
        )
    except RepairNotFound:
        return _page("message.html", texts, 404, message=texts.plain("repair.not_found"))
    parties = view.parties & repair_card.MANAGER
    homes = await evidence.list_followers(session, repair_id=view.id, now=now) if view.homes else []
    return _page(
        "repair.html",
        texts,
        visitor=visitor.name,
        repair=_row(view, texts, now),
        facts=[Markup(line) for line in repair_card.facts(view, texts, parties)],  # noqa: S704 (escaped by texts)
        steps=[
            {"when": when, "name": texts.plain(f"repair.state_{state}")}
            for when, state in repair_card.steps(view)
        ],
        homes=[_home(home, texts) for home in homes],
        history=[
            {
                "moment": texts.moment(row.at),
                "what": Markup(repair_card.happening(row, texts)),  # noqa: S704 (escaped by texts)
                "kind": row.kind,
                "photos": [f"/office/repairs/{number}/photos/{each}" for each in row.photo_ids],
            }
            for row in reversed(view.history)
        ],
    )


@router.get("/repairs/{number}/photos/{photo_id}")
async def show_photo(
    number: str, photo_id: PhotoId, request: Request, session: Session, now: Now
) -> Response:
    """Return a photo of a repair."""
    visitor = await _find_visitor(request, session, now)
    if visitor is None:
        return await _message(session, "signed_out", 401)
    try:
        media_type, content = await queries.get_photo_for(
            session, person_id=visitor.person_id, repair=_read_number(number), photo_id=photo_id
        )
    except RepairNotFound:
        content, media_type = b"", ""
    return await _photo(session, visitor, content, media_type)


@router.get("/readings")
async def show_readings(request: Request, session: Session, now: Now) -> Response:
    """Show the readings that wait for a decision, meters that stand still, and losses."""
    visitor = await _find_visitor(request, session, now)
    if visitor is None:
        return await _message(session, "signed_out", 401)
    texts = await _texts_for(session, visitor)
    return _page(
        "readings.html",
        texts,
        visitor=visitor.name,
        as_of=texts.plain("office.as_of", moment=texts.moment(now)),
        **await describe_readings(session, texts, now=now),
    )


@router.get("/readings/photos/{photo_id}")
async def show_dial(photo_id: PhotoId, request: Request, session: Session, now: Now) -> Response:
    """Return a photo of a dial."""
    visitor = await _find_visitor(request, session, now)
    if visitor is None:
        return await _message(session, "signed_out", 401)
    photo = await photos.get_photo(session, photo_id=photo_id)
    content, media_type = (photo.content, photo.media_type) if photo else (None, "")
    return await _photo(session, visitor, content or b"", media_type)


async def _photo(
    session: AsyncSession, visitor: Visitor, content: bytes, media_type: str
) -> Response:
    """Return a photo; what is not a picture after all is saved, not shown."""
    if not content:
        texts = await _texts_for(session, visitor)
        return _page("message.html", texts, 404, message=texts.plain("office.no_photo"))
    shown = "inline" if media_type.startswith("image/") else "attachment"
    headers = {**HEADERS, "Content-Disposition": shown}
    return Response(content, media_type=media_type, headers=headers)


@router.get("/gateways")
async def show_gateways(request: Request, session: Session, now: Now) -> Response:
    """Show all gateways: which speak, what they sent in the last days, and what was refused."""
    visitor = await _find_visitor(request, session, now)
    if visitor is None:
        return await _message(session, "signed_out", 401)
    texts = await _texts_for(session, visitor)
    found = await gateways.list_gateways(session, now=now)
    return _page(
        "gateways.html",
        texts,
        visitor=visitor.name,
        as_of=texts.plain("office.as_of", moment=texts.moment(now)),
        kept=texts.count("office.refused_kept", gateways.REFUSED_KEPT.days),
        counts=COUNTS,
        gateways=[_gateway(each, texts, now) for each in found],
    )


@router.get("/{_rest:path}")  # noqa: FAST003 (whatever it is)
async def show_nothing(request: Request, session: Session, now: Now) -> Response:
    """Answer an address that is none with a page; must stay the last route."""
    visitor = await _find_visitor(request, session, now)
    texts = await _texts_for(session, visitor)
    return _page("message.html", texts, 404, message=texts.plain("office.nothing_here"))


def _gateway(view: GatewayView, texts: Texts, now: datetime) -> dict[str, Any]:
    if view.last_at is None:
        state, said = "never", texts.plain("office.gateway_never")
    else:
        state = "silent" if now - view.last_at > SILENCE_MAX else "speaks"
        said = texts.plain(f"office.gateway_{state}", moment=texts.moment(view.last_at))
    return {
        "name": view.name,
        "meters": texts.count("office.meters", view.meters),
        "state": state,
        "said": said,
        "revoked": view.is_revoked,
        "days": [
            {"day": texts.day(day.day), **{name: getattr(day, name) for name in COUNTS}}
            for day in view.days
        ],
        "reasons": [
            texts.plain("office.refused", reason=texts.plain(f"refused.{reason}"), count=count)
            for reason, count in view.reasons
        ],
    }


def _read_number(number: str) -> str:
    return number.upper() if NUMBER.fullmatch(number.upper()) else ""


def _row(line: RepairLine, texts: Texts, now: datetime) -> dict[str, Any]:
    """Return a repair as the templates show it: words and marks, nothing to compute."""
    promised = "" if line.promised_at is None else texts.moment(line.promised_at)
    moves = line.promise_moves
    is_over = line.state in ENDED
    until = line.state_since if is_over else now
    return {
        "number": line.number,
        "service": texts.plain(f"service.{line.service}"),
        "service_kind": line.service.value,
        "address": repair_card.place(line, texts),
        "state": texts.plain(f"repair.state_{line.state}"),
        "state_kind": line.state.value,
        "technician": line.technician_name or texts.plain("office.nobody"),
        "promised": promised,
        "moved": texts.count("office.moved", moves) if moves else "",
        "age": _age(until - line.filed_at, texts),
        "age_words": texts.plain("office.took" if is_over else "office.age"),
        "is_late": line.is_late,
    }


def _home(home: FollowerLine, texts: Texts) -> dict[str, Any]:
    """Return a home of an incident as the template shows it."""
    is_normal = home.ended_at is not None
    key = "office.meter_normal" if is_normal else "office.meter_abnormal"
    return {
        "address": home.address,
        "meter": home.serial,
        "value": texts.quantity(home.worst if home.latest is None else home.latest, home.quantity),
        "state": texts.plain(key, moment=texts.moment(home.ended_at or home.began_at)),
        "state_kind": "fixed" if is_normal else "reopened",
        "is_answered": home.answered_at is not None,
        "number": home.merged_number or "",
    }


def _age(age: timedelta, texts: Texts) -> str:
    hours, minutes = divmod(int(age.total_seconds()) // 60, 60)
    if age < timedelta(days=1):
        return texts.plain("office.age_hours", hours=hours, minutes=minutes)
    days, hours = divmod(hours, 24)
    return texts.plain("office.age_days", days=days, hours=hours)


def _is_own_page(request: Request) -> bool:
    """Tell whether a form was sent by a page of ours; a browser always names the origin."""
    origin = request.headers.get("origin", "")
    return bool(origin) and urlsplit(origin).netloc == request.headers.get("host")


async def _find_visitor(request: Request, session: AsyncSession, now: datetime) -> Visitor | None:
    secret = request.cookies.get(COOKIE, "")
    if not secret:
        return None
    return await sessions.find_visitor(session, secret=secret, now=now)


async def _texts_for(session: AsyncSession, visitor: Visitor | None) -> Texts:
    operator = await accounts.get_operator(session)
    locale = operator.locale if visitor is None else visitor.locale
    return Texts(locale, timezone=operator.timezone, currency=operator.currency)


async def _message(session: AsyncSession, name: str, status: int) -> Response:
    """Return a page that says one thing to somebody who is not signed in."""
    texts = await _texts_for(session, None)
    return _page("message.html", texts, status, message=texts.plain(f"office.{name}"))


def _page(template: str, texts: Texts, status: int = 200, **values: object) -> Response:
    html = _templates.get_template(template).render(
        words=lambda key, /, **values: texts.plain(f"office.{key}", **values),
        lang=texts.locale.replace("_", "-"),
        **values,
    )
    return HTMLResponse(html, status, headers=HEADERS)
