"""The pages of repairs: all that are open, and each with its whole history. They only show."""

import re
from datetime import datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Response
from fastapi import Path as PathParameter
from markupsafe import Markup

from bot import repair_card
from bot.backoffice import desk
from bot.backoffice.desk import OfficeRoute, Signed
from bot.texts import Texts
from core.repairs import evidence, queries
from core.repairs.access import RepairNotFound
from core.repairs.evidence import FollowerLine
from core.repairs.queries import RepairLine
from core.repairs.workflow import ENDED

SHOWN_MAX = 500
NUMBER = re.compile(r"R[0-9]{1,12}")
PhotoId = Annotated[int, PathParameter(ge=1, le=2**31)]
router = APIRouter(route_class=OfficeRoute)


@router.get("/repairs")
async def show_repairs(visit: Signed) -> Response:
    """Show all open repairs, the late ones first."""
    texts = visit.texts
    lines, total = await queries.list_open(visit.session, now=visit.now, limit=SHOWN_MAX)
    late = sum(line.is_late for line in lines)
    return visit.page(
        "repairs.html",
        open_count=texts.count("office.open_count", total),
        late_count=texts.count("office.late_count", late) if late else "",
        repairs=[_row(line, texts, visit.now) for line in lines],
    )


@router.get("/repairs/{number}")
async def show_repair(number: str, visit: Signed) -> Response:
    """Show one repair with its whole history."""
    session, texts, now = visit.session, visit.texts, visit.now
    number = _read_number(number)
    view = await queries.get_repair_for(
        session, person_id=visit.visitor.person_id, repair=number, now=now
    )
    parties = view.parties & repair_card.MANAGER
    homes = await evidence.list_followers(session, repair_id=view.id, now=now) if view.homes else []
    return visit.page(
        "repair.html",
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
async def show_photo(number: str, photo_id: PhotoId, visit: Signed) -> Response:
    """Return a photo of a repair."""
    try:
        media_type, content = await queries.get_photo_for(
            visit.session,
            person_id=visit.visitor.person_id,
            repair=_read_number(number),
            photo_id=photo_id,
        )
    except RepairNotFound:
        content, media_type = b"", ""
    return desk.photo(visit, content, media_type)


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
