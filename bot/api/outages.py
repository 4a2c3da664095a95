"""Outage notices over HTTP: preview, announce, change, end; and the areas they name."""

from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, model_validator

from bot.api.auth import Admin
from bot.api.context import Now, Session
from bot.api.fields import Body, Moment, Reason, RowId, Word
from bot.api.idempotency import Once
from core.accounts import areas
from core.accounts.models import AreaKind, Service
from core.outages import queries, service
from core.outages.models import OutageKind, OutageState
from core.outages.service import OutageDraft

router = APIRouter(prefix="/api/v1", tags=["outages"])


class AreaBody(BaseModel):
    """An area of the supply network."""

    id: int
    parent_id: int | None
    kind: AreaKind
    name: str


class OutageIn(Body):
    """What is to be told, and to whom it applies."""

    service: Service
    kind: OutageKind
    area_id: RowId
    reason: Reason
    starts_at: Moment
    ends_at: Moment

    def draft(self) -> OutageDraft:
        """Return the draft that the core takes."""
        return OutageDraft(**self.model_dump())


class OutageChange(Body):
    """A new end, and a new reason if there is one; or the end of it all."""

    ends_at: Moment | None = None
    reason: Reason | None = None
    state: Literal["ended"] | None = None
    version: int | None = None

    @model_validator(mode="after")
    def _says_something(self) -> "OutageChange":
        if self.ends_at is None and self.reason is None and self.state is None:
            raise ValueError("give ends_at, reason or state")
        return self


class ReachBody(BaseModel):
    """How many people a notice is for, and how many have it."""

    people: int
    sent: int
    waiting: int
    failed: int


class PreviewBody(BaseModel):
    """Whom a notice would reach."""

    people: int
    without_contact: int
    is_late: bool


class OutageBody(BaseModel):
    """A notice as it stands."""

    number: str
    service: Service
    kind: OutageKind
    state: OutageState
    area_id: int
    area_name: str
    reason: str
    starts_at: datetime
    ends_at: datetime
    ended_at: datetime | None
    version: int
    earlier_ends: list[datetime]


@router.get("/areas")
async def list_areas(
    session: Session,
    _: Admin,
    name: Annotated[Word, Query()] = "",
    parent_id: Annotated[RowId | None, Query()] = None,
) -> list[AreaBody]:
    """List areas whose name holds some words, or those right below another."""
    found = await areas.find_areas(session, name=name, parent_id=parent_id)
    return [AreaBody.model_validate(area, from_attributes=True) for area in found]


@router.post("/outages/preview")
async def preview(session: Session, now: Now, _: Admin, body: OutageIn) -> PreviewBody:
    """Tell whom a notice would reach; nothing is sent."""
    found = await service.preview(session, draft=body.draft(), now=now)
    return PreviewBody.model_validate(found, from_attributes=True)


@router.post("/outages", status_code=201)
async def announce(session: Session, now: Now, _: Admin, body: OutageIn, once: Once) -> OutageBody:
    """Send a notice to exactly the people affected."""

    async def announced() -> OutageBody:
        made = await service.announce(session, draft=body.draft(), actor_id=None, now=now)
        return OutageBody.model_validate(made, from_attributes=True)

    return await once(announced, OutageBody)


@router.get("/outages")
async def list_outages(session: Session, _: Admin) -> list[OutageBody]:
    """List the notices that are not over."""
    found = await queries.list_current(session)
    return [OutageBody.model_validate(outage, from_attributes=True) for outage in found]


@router.get("/outages/{number}")
async def get_outage(session: Session, _: Admin, number: Word) -> OutageBody:
    """Return a notice."""
    found = await queries.get_outage(session, number=number)
    return OutageBody.model_validate(found, from_attributes=True)


@router.get("/outages/{number}/reach")
async def get_reach(session: Session, _: Admin, number: Word) -> ReachBody:
    """Return how far a notice has got among its people."""
    found = await queries.get_outage(session, number=number)
    reach = await queries.get_reach(session, outage_id=found.id)
    return ReachBody.model_validate(reach, from_attributes=True)


@router.patch("/outages/{number}")
async def change(
    session: Session, now: Now, _: Admin, number: Word, body: OutageChange
) -> OutageBody:
    """Give a notice a new end or reason, or end it; the sent messages are edited."""
    if body.state == "ended":
        changed = await service.end(
            session, number=number, version=body.version, actor_id=None, now=now
        )
    else:
        changed = await service.change(
            session,
            number=number,
            version=body.version,
            ends_at=body.ends_at,
            reason=body.reason,
            actor_id=None,
            now=now,
        )
    return OutageBody.model_validate(changed, from_attributes=True)
