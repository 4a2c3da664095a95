"""Scheduled push messages over HTTP: create, list, pause, delete."""

from datetime import datetime

from fastapi import APIRouter
from pydantic import BaseModel, field_validator

from bot.api.auth import Admin
from bot.api.context import Now, Session
from bot.api.fields import Body, Moment, Name, RowId, one_line
from bot.api.idempotency import Once
from bot.texts import LOCALES
from core.accounts.models import Service
from core.notices import schedules
from core.notices.models import Repeat
from core.notices.schedules import TEXT_MAX

router = APIRouter(prefix="/api/v1", tags=["push schedules"])


class ScheduleIn(Body):
    """A push message to be sent later."""

    name: Name
    texts: dict[str, str]
    area_id: RowId
    service: Service | None = None
    at: Moment
    repeat: Repeat = Repeat.ONCE

    @field_validator("texts")
    @classmethod
    def _known(cls, texts: dict[str, str]) -> dict[str, str]:
        if not texts or not set(texts) <= set(LOCALES):
            raise ValueError(f"give a text for one or more of {', '.join(LOCALES)}")
        return {
            locale: "\n".join(
                one_line(line, length_max=TEXT_MAX) if line.strip() else ""
                for line in text.strip().splitlines()
            )
            or one_line(text, length_max=TEXT_MAX)
            for locale, text in texts.items()
        }


class ScheduleChange(Body):
    """Pausing and resuming."""

    paused: bool


class ScheduleBody(BaseModel):
    """A schedule as it stands; `next_at` is empty when nothing more will go out."""

    id: int
    name: str
    texts: dict[str, str]
    area_id: int
    service: Service | None
    first_at: datetime
    repeat: Repeat
    next_at: datetime | None
    paused_at: datetime | None
    people: int


@router.post("/push-schedules", status_code=201)
async def create_schedule(
    session: Session, now: Now, _: Admin, body: ScheduleIn, once: Once
) -> ScheduleBody:
    """Schedule a push message, once or repeated at the same local time."""

    async def created() -> ScheduleBody:
        made = await schedules.create(session, **body.model_dump(), now=now)
        return ScheduleBody.model_validate(made, from_attributes=True)

    return await once(created, ScheduleBody)


@router.get("/push-schedules")
async def list_schedules(session: Session, _: Admin) -> list[ScheduleBody]:
    """List the schedules with their next times."""
    found = await schedules.list_schedules(session)
    return [ScheduleBody.model_validate(schedule, from_attributes=True) for schedule in found]


@router.patch("/push-schedules/{schedule_id}")
async def pause_schedule(
    session: Session, now: Now, _: Admin, schedule_id: RowId, body: ScheduleChange
) -> ScheduleBody:
    """Pause a schedule or let it go on."""
    changed = await schedules.set_paused(
        session, schedule_id=schedule_id, paused=body.paused, now=now
    )
    return ScheduleBody.model_validate(changed, from_attributes=True)


@router.delete("/push-schedules/{schedule_id}", status_code=204)
async def delete_schedule(session: Session, now: Now, _: Admin, schedule_id: RowId) -> None:
    """Delete a schedule; what it has sent stays on record."""
    await schedules.delete(session, schedule_id=schedule_id, now=now)
