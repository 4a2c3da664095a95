"""What the page of readings shows: those that wait, meters that stand still, losses."""

from datetime import datetime
from decimal import Decimal
from typing import Any

from markupsafe import Markup
from sqlalchemy.ext.asyncio import AsyncSession

from bot.texts import Texts
from core.monitoring import held, losses, photos, standstills
from core.monitoring.held import HeldReading
from core.monitoring.losses import AreaLoss
from core.monitoring.rows import Key
from core.monitoring.standstills import StillMeter

SHOWN_MAX = 100


async def describe_readings(
    session: AsyncSession, texts: Texts, *, now: datetime
) -> dict[str, Any]:
    """Return the page's tables as the template shows them."""
    waiting, total = await held.list_held(session, limit=SHOWN_MAX)
    still, still_total = await standstills.list_standstills(session, limit=SHOWN_MAX)
    found = await losses.list_recent_losses(session, now=now)
    title = texts.count("held.title", total) if total else texts.get("held.none")
    return {
        "title": Markup(title),  # noqa: S704 (escaped by texts)
        "readings": [await _waiting(session, each, texts) for each in waiting],
        "still_title": texts.count("still.title", still_total) if still_total else "",
        "still": [_still(each, texts) for each in still],
        "losses": [_loss(each, texts) for each in found],
    }


async def _waiting(session: AsyncSession, reading: HeldReading, texts: Texts) -> dict[str, Any]:
    key = Key(reading.meter_id, reading.register, reading.taken_at)
    _, before = await held.get_held(session, key=key)

    def shown(value: Decimal, at: datetime) -> str:
        return texts.plain(
            "office.reading_at", value=texts.quantity(value, reading.service), at=texts.moment(at)
        )

    return {
        "serial": reading.serial,
        "register": reading.register,
        "address": reading.address,
        "value": shown(reading.value, reading.taken_at),
        "before": "" if before is None else shown(before.value, before.taken_at),
        "why": texts.plain(f"office.reading_{reading.status}"),
        "photos": [
            f"/office/readings/photos/{each}" for each in await photos.list_photos(session, key=key)
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
        "share": "" if balance is None else texts.percent(balance.share),
        "known": "" if balance is None else f"{balance.known} / {balance.all}",
        "is_high": losses.is_too_much(found),
    }
