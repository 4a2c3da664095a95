"""Gateways' batches over HTTP: registers and samples in, a receipt for every item out."""

import json
import re
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Depends, Request
from sqlalchemy.ext.asyncio import AsyncSession

from bot.api.auth import Gateway
from bot.api.context import Now, Session
from core.errors import DomainError
from core.monitoring.ingest import (
    Kind,
    NewReading,
    NewSample,
    Reason,
    Receipt,
    Rejected,
    printed,
    store_batch,
)
from core.monitoring.models import SERVICE_OF
from core.monitoring.service import TOTAL

router = APIRouter(prefix="/api/v1", tags=["readings"])

AfterAlarms = Callable[[AsyncSession, list[int]], Awaitable[None]]
Item = TypeVar("Item", NewReading, NewSample)

ITEMS_MAX = 10_000
NAME_LENGTH_MAX = 64
NUMBER = re.compile(r"-?[0-9]{1,30}(\.[0-9]{1,30})?")
KINDS: tuple[Kind, Kind] = ("readings", "samples")
BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "example": {
                    "readings": [
                        {
                            "meter": "W-10001",
                            "register": TOTAL,
                            "value": "12.345",
                            "taken_at": "2026-11-02T12:00:00+08:00",
                        }
                    ],
                    "samples": [
                        {
                            "meter": "E-10001",
                            "quantity": "voltage",
                            "value": "229.8",
                            "taken_at": "2026-11-02T12:00:00+08:00",
                        }
                    ],
                }
            }
        },
    }
}


class BodyNotReadable(DomainError):
    """The body is not a JSON object with lists of readings and samples."""

    code = "input.body_not_readable"


class TooManyItems(DomainError):
    """The batch is too long."""

    code = "input.too_many_items"


class _Unreadable(Exception):
    """One item cannot be read; the others go on."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason)
        self.reason = reason


def _after_alarms(request: Request) -> AfterAlarms:
    found: AfterAlarms = request.app.state.after_alarms
    return found


@router.post("/readings", openapi_extra=BODY)
async def receive(
    request: Request,
    session: Session,
    now: Now,
    gateway: Gateway,
    after_alarms: Annotated[AfterAlarms, Depends(_after_alarms)],
) -> dict[str, Any]:
    """
    Store a batch of registers and samples; repeating it is harmless.

    The answer counts every item once: accepted, duplicate, held or rejected, the last with the
    place and the reason. Values are JSON strings or numbers, moments RFC 3339 with an offset.
    """
    lists = read_body(await request.body())
    readings, bad_readings = _read_all("readings", lists["readings"], _read_reading)
    samples, bad_samples = _read_all("samples", lists["samples"], _read_sample)
    receipt = await store_batch(
        session,
        gateway_id=gateway.key_id,
        readings=readings,
        samples=samples,
        unreadable=bad_readings + bad_samples,
        now=now,
    )
    if receipt.alarm_ids:
        await after_alarms(session, list(receipt.alarm_ids))
    return _receipt_body(receipt)


def _receipt_body(receipt: Receipt) -> dict[str, Any]:
    return {
        **receipt.counts,
        "rejected_items": [
            {"list": item.kind, "index": item.position, "reason": item.reason.value}
            for item in receipt.rejected
        ],
    }


def read_body(body: bytes) -> dict[str, list[object]]:
    """
    Return the lists in a body; numbers are exact.

    Raises:
        BodyNotReadable: it is not what was agreed.
        TooManyItems: there are more than a batch may have.
    """
    try:
        content = json.loads(body, parse_float=Decimal, parse_int=Decimal, parse_constant=str)
    except (ValueError, RecursionError):
        raise BodyNotReadable from None
    if not isinstance(content, dict) or content.keys() - set(KINDS):
        raise BodyNotReadable
    lists: dict[str, list[object]] = {kind: content.get(kind, []) for kind in KINDS}
    if not all(isinstance(items, list) for items in lists.values()):
        raise BodyNotReadable
    count = sum(len(items) for items in lists.values())
    if count > ITEMS_MAX:
        raise TooManyItems(count=count, count_max=ITEMS_MAX)
    return lists


def _read_all(
    kind: Kind, items: Sequence[object], read: Callable[[int, dict[str, object]], Item]
) -> tuple[list[Item], list[Rejected]]:
    good: list[Item] = []
    bad: list[Rejected] = []
    for position, item in enumerate(items):
        try:
            good.append(read(position, _fields(item)))
        except _Unreadable as problem:
            bad.append(Rejected(kind, position, problem.reason, payload=printed(item)))
    return good, bad


def _fields(item: object) -> dict[str, object]:
    if isinstance(item, dict):
        return item
    raise _Unreadable(Reason.NOT_AN_OBJECT)


def _read_reading(position: int, item: dict[str, object]) -> NewReading:
    return NewReading(
        position,
        _name(item.get("meter"), Reason.NO_METER),
        _name(item.get("register", TOTAL), Reason.NO_REGISTER),
        _moment(item.get("taken_at")),
        _number(item.get("value")),
    )


def _read_sample(position: int, item: dict[str, object]) -> NewSample:
    quantity = _QUANTITIES.get(_name(item.get("quantity"), Reason.UNKNOWN_QUANTITY))
    if quantity is None:
        raise _Unreadable(Reason.UNKNOWN_QUANTITY)
    return NewSample(
        position,
        _name(item.get("meter"), Reason.NO_METER),
        quantity,
        _moment(item.get("taken_at")),
        _number(item.get("value")),
    )


_QUANTITIES = {quantity.value: quantity for quantity in SERVICE_OF}


def _name(value: object, reason: Reason) -> str:
    if isinstance(value, str) and 0 < len(value) <= NAME_LENGTH_MAX and value.isprintable():
        return value
    raise _Unreadable(reason)


def _number(value: object) -> Decimal:
    if isinstance(value, str) and NUMBER.fullmatch(value):
        return Decimal(value)
    if isinstance(value, Decimal):
        return value
    raise _Unreadable(Reason.NOT_A_NUMBER)


def _moment(value: object) -> datetime:
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
        if moment is None or moment.tzinfo is None:
            raise _Unreadable(Reason.NOT_A_TIME)
        return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise _Unreadable(Reason.NOT_A_TIME) from None
