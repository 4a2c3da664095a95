"""Meters over HTTP: one was replaced by another."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated

from fastapi import APIRouter
from pydantic import BaseModel, Field

from bot.api.auth import Admin
from bot.api.context import Now, Session
from bot.api.fields import Body, Moment, Word
from core.monitoring.exchange import Exchange, exchange_meter
from core.monitoring.exchange_checks import find_working_meter
from core.monitoring.models import Source

router = APIRouter(prefix="/api/v1", tags=["meters"])

Registers = Annotated[
    dict[Word, Annotated[Decimal, Field(max_digits=18, decimal_places=6)]],
    Field(min_length=1, max_length=16, examples=[{"total": "123.4"}]),
]


class ExchangeIn(Body):
    """What both meters showed, and how many digits before the point the new one has."""

    serial: Word
    digits: int
    finals: Registers
    initials: Registers
    at: Moment | None = None


class ExchangeBody(BaseModel):
    """Which meter is in the place of which."""

    old: str
    new: str
    at: datetime


@router.post("/meters/{serial}/exchange")
async def exchange(
    session: Session, now: Now, _: Admin, serial: Word, body: ExchangeIn
) -> ExchangeBody:
    """Put a new meter in the place of one; the people there are told."""
    meter = await find_working_meter(session, serial=serial)
    done = await exchange_meter(
        session,
        wanted=Exchange(
            meter_id=meter.id,
            finals=body.finals,
            serial=body.serial,
            digits=body.digits,
            initials=body.initials,
        ),
        at=body.at or now,
        person_id=None,
        source=Source.STAFF,
        now=now,
    )
    return ExchangeBody(old=done.old.serial, new=done.new.serial, at=done.at)
