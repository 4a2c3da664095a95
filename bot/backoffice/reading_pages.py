"""The pages of readings: those that wait and are decided here, standing meters, losses."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Form, Query, Response
from fastapi.responses import RedirectResponse
from markupsafe import Markup
from pydantic import AwareDatetime

from bot.backoffice import desk
from bot.backoffice.desk import OfficeRoute, OwnPage, Signed, Visit
from bot.backoffice.repair_pages import PhotoId
from bot.handlers.held import REASON_LENGTH_MAX, name_meter
from bot.routes import explain
from bot.texts import Texts, clean_line
from core.billing import redeciding
from core.errors import DomainError
from core.monitoring import held, losses, photos, standstills
from core.monitoring.held import Decision, HeldReading
from core.monitoring.losses import AreaLoss
from core.monitoring.rows import Key
from core.monitoring.standstills import StillMeter

SHOWN_MAX = 100
TYPED_MAX = 1000
router = APIRouter(route_class=OfficeRoute)


def _key(
    meter: Annotated[int, Query(ge=1, le=2**62)],
    register: Annotated[str, Query(max_length=100)],
    at: AwareDatetime,
) -> Key:
    return Key(meter, register, at)


Named = Annotated[Key, Depends(_key)]


@router.get("/readings")
async def show_readings(visit: Signed) -> Response:
    """Show the readings that wait for a decision, meters that stand still, and losses."""
    session, texts = visit.session, visit.texts
    waiting, total = await held.list_held(session, limit=SHOWN_MAX)
    still, still_total = await standstills.list_standstills(session, limit=SHOWN_MAX)
    decided = await held.list_decided(session, now=visit.now, limit=SHOWN_MAX)
    found = await losses.list_recent_losses(session, now=visit.now)
    title = texts.count("held.title", total) if total else texts.get("held.none")
    return visit.page(
        "readings.html",
        title=Markup(title),  # noqa: S704 (escaped by texts)
        readings=[await _waiting(visit, each) for each in waiting],
        decided=[await _waiting(visit, each) for each in decided],
        decided_title=texts.plain("held.lately"),
        still_title=texts.count("still.title", still_total) if still_total else "",
        still=[_still(each, texts) for each in still],
        losses=[_loss(each, texts) for each in found],
    )


@router.get("/readings/one")
async def show_reading(visit: Signed, key: Named) -> Response:
    """Show one reading that waits or was accepted, with a form to decide on it."""
    return await _ask(visit, key, status=200)


@router.post("/readings/one", dependencies=[OwnPage])
async def decide_reading(
    visit: Signed,
    key: Named,
    decision: Annotated[Decision, Form()],
    value: Annotated[str, Form(max_length=TYPED_MAX)] = "",
    reason: Annotated[str, Form(max_length=TYPED_MAX)] = "",
) -> Response:
    """Decide on a reading as the form says, or show the form again with what is wrong with it."""
    reading, _ = await held.get_held(visit.session, key=key, or_decided=True)
    try:
        right = visit.texts.parse_quantity(value) if decision is Decision.CORRECT else reading.value
        why = clean_line(reason, length_max=REASON_LENGTH_MAX)
        value_ = None if decision is Decision.REJECT else right
        await redeciding.check_decision(visit.session, key=key, value=value_)
    except DomainError as refusal:
        wrong = explain(visit.texts, refusal)
        typed = {"decision": decision.value, "value": value, "reason": reason}
        return await _ask(visit, key, status=422, wrong=wrong, **typed)
    await redeciding.decide_reading(
        visit.session,
        key=key,
        decision=decision,
        value=right,
        reason=why,
        person_id=visit.visitor.person_id,
        now=visit.now,
    )
    return RedirectResponse("/office/readings", 303, headers=desk.HEADERS)


async def _ask(visit: Visit, key: Key, *, status: int, **typed: str) -> Response:
    reading, before = await held.get_held(visit.session, key=key, or_decided=True)
    meant = await held.find_meant(visit.session, reading=reading, before=before)
    texts = visit.texts
    unit = "" if meant is None else texts.quantity(meant, reading.service)
    return visit.page(
        "reading.html",
        status,
        reading=await _waiting(visit, reading),
        unit=Markup(texts.get("held.unit", value=unit)) if unit else "",  # noqa: S704 (escaped by texts)
        decisions=[
            (each.value, texts.plain(f"held.do_{each}")) for each in Decision.about(reading.status)
        ],
        reason_max=REASON_LENGTH_MAX,
        **{"wrong": "", "decision": "", "value": "", "reason": "", **typed},
    )


@router.get("/readings/photos/{photo_id}")
async def show_dial(photo_id: PhotoId, visit: Signed) -> Response:
    """Return a photo of a dial."""
    photo = await photos.get_photo(visit.session, photo_id=photo_id)
    content, media_type = (photo.content, photo.media_type) if photo else (None, "")
    return desk.photo(visit, content, media_type)


async def _waiting(visit: Visit, reading: HeldReading) -> dict[str, Any]:
    texts = visit.texts
    key = Key(reading.meter_id, reading.register, reading.taken_at)
    _, before = await held.get_held(visit.session, key=key, or_decided=True)
    named = {"meter": key.meter_id, "register": key.name, "at": key.taken_at.isoformat()}

    def shown(value: Decimal, at: datetime) -> str:
        return texts.plain(
            "office.reading_at", value=texts.quantity(value, reading.service), at=texts.moment(at)
        )

    return {
        "serial": name_meter(reading),
        "address": reading.address,
        "value": shown(reading.value, reading.taken_at),
        "before": "" if before is None else shown(before.value, before.taken_at),
        "link": f"/office/readings/one?{urlencode(named)}",
        "why": texts.plain(f"office.reading_{reading.status}"),
        "photos": [
            f"/office/readings/photos/{each}"
            for each in await photos.list_photos(visit.session, key=key)
        ],
    }


def _still(meter: StillMeter, texts: Texts) -> dict[str, str]:
    return {
        "serial": meter.serial,
        "address": meter.address,
        "value": texts.quantity(meter.value, meter.service),
        "since": texts.day(meter.since),
        "usual": texts.quantity(meter.usual, meter.service),
    }


def _loss(found: AreaLoss, texts: Texts) -> dict[str, Any]:
    balance, kind = found.balance, found.service
    return {
        "area": found.name,
        "service": texts.plain(f"service.{kind}"),
        "days": texts.days(found.starts, found.ends),
        "master": "" if balance is None else texts.quantity(balance.master, kind),
        "subs": "" if balance is None else texts.quantity(balance.subs, kind),
        "loss": "" if balance is None else texts.quantity(balance.loss, kind),
        "is_below": balance is not None and balance.loss < 0,
        "is_whole": balance is not None and balance.is_whole,
        "share": "" if balance is None else texts.percent(balance.share),
        "known": "" if balance is None else f"{balance.known} / {balance.all}",
        "is_high": losses.is_too_much(found),
    }
