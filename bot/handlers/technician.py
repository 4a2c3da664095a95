"""Conversation: a technician's jobs, from the offer to fixed, each step one tap or one command."""

import re
from datetime import datetime, time, timedelta
from functools import partial
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from bot import repair_card
from bot.context import Command, Handle, Reader, Render, Turn
from bot.handlers.repairs import (
    WORDS_MAX,
    get_view,
    line_of,
    read_number,
    render_card_for,
    show_done,
    show_list,
    take_step,
)
from bot.moments import parse_moment, split_moment
from bot.outgoing import Button, ButtonIsOld, Outgoing, press, read_press
from bot.texts import Texts, clean_line
from core.accounts.models import Role
from core.errors import DomainError
from core.notices import service as notices
from core.repairs import queries
from core.repairs import service as repairs
from core.repairs.queries import RepairLine
from core.repairs.service import MeterStillAbnormal, Reason
from core.repairs.workflow import UNDERWAY, Act

STEP_OF = {
    "take": Act.CLAIM,
    "onway": Act.ON_THE_WAY,
    "arrived": Act.ARRIVED,
    "working": Act.WORKING,
    "handback": Act.HAND_BACK,
}
TOMORROW_AT = time(9)
MISTYPED = re.compile(r"[#Rr\u0420\u0440]+\S*[0-9]\S*")  # also the Cyrillic letters


class WhichJob(DomainError):
    """The technician has no job, or several, and named none."""

    code = "repair.which_job"


async def list_jobs(turn: Turn) -> None:
    """Show the technician's own jobs and those that are free."""
    lines = await queries.list_for_technician(turn.session, person_id=turn.person_id, now=turn.now)
    await show_list(turn, lines, title="repair.jobs_title", empty="repair.jobs_empty")


async def list_active(turn: Turn) -> list[RepairLine]:
    """Return the jobs at which the technician is."""
    lines = await queries.list_for_technician(turn.session, person_id=turn.person_id, now=turn.now)
    return [
        line for line in lines if line.technician_id == turn.person_id and line.state in UNDERWAY
    ]


async def _read_job(turn: Turn) -> tuple[int | str, int | None, str]:
    """
    Return the repair of a button or command, the button's version, and the words after a number.

    Raises:
        WhichJob: no number was given, or a mistyped one, or there is not exactly one active job.
    """
    if turn.said.data:
        repair_id, version = read_press(turn.said.data, int, int)
        return repair_id, version, ""
    number, rest = read_number(turn.said.arguments)
    if number is None:
        if rest and MISTYPED.fullmatch(rest[0]):
            raise WhichJob(command=turn.said.command)
        active = await list_active(turn)
        if len(active) != 1:
            raise WhichJob(command=turn.said.command)
        number = active[0].number
    return number, None, " ".join(rest)


async def type_step(turn: Turn) -> None:
    """Report a step by its typed command."""
    number, _, words = await _read_job(turn)
    act = STEP_OF[turn.said.command]
    await show_done(turn, await take_step(turn, act, number, words=line_of(words)))


async def fix(turn: Turn, *, despite_meter: bool = False) -> None:
    """Report that it is fixed; when the meter does not agree, ask before insisting."""
    repair, version, words = await _read_job(turn)
    try:
        done = await take_step(
            turn,
            Act.FIXED,
            repair,
            version=version,
            words=line_of(words),
            despite_meter=despite_meter,
        )
    except MeterStillAbnormal:
        await _ask_despite_meter(turn, repair)
        return
    await show_done(turn, done)


async def _ask_despite_meter(turn: Turn, repair: int | str) -> None:
    view = await get_view(turn, repair)
    assert view.measured is not None  # noqa: S101 (it was the meter that disagreed)
    measured = view.measured
    insist = Button(turn.texts.plain("repair.do_insist"), press("rinsist", view.id, view.version))
    keyboard = [[insist], [repair_card.back_to(turn.texts, view.id)]]
    if measured.latest is None:
        since = turn.texts.moment(measured.latest_at or measured.began_at)
        await turn.show(
            "repair.ask_despite_unknown", keyboard=keyboard, number=view.number, since=since
        )
        return
    await turn.show(
        "repair.ask_despite",
        keyboard=keyboard,
        number=view.number,
        value=turn.texts.quantity(measured.latest, measured.quantity),
        limit=turn.texts.quantity(measured.limit, measured.quantity),
    )


async def pause(turn: Turn, *, family: str) -> None:
    """Take `/wait R1001 15:30 part` or `/newtime R1001 15:30 rain`, or ask for what is missing."""
    repair, version, words = await _read_job(turn)
    if words:
        promised_at, after = split_moment(tuple(words.split()), texts=turn.texts, now=turn.now)
        reason, own_words = _read_reason(after, turn.texts)
        done = await _promise(
            turn, family, repair, promised_at=promised_at, reason=reason, words=own_words
        )
        await show_done(turn, done)
        return
    view = await get_view(turn, repair)
    version = version or view.version
    await turn.ask("job.reason", family=family, repair_id=view.id, version=version)
    keys = [
        Button(
            turn.texts.plain(f"repair.reason_{reason}"),
            press("rreason", family, view.id, version, reason.value),
        )
        for reason in Reason
    ]
    rows = [keys[:2], keys[2:], [repair_card.back_to(turn.texts, view.id)]]
    await turn.show("repair.ask_reason", keyboard=rows)


async def press_reason(turn: Turn) -> None:
    """Take the reason; `other` is asked for in words."""
    family, repair_id, version, reason = read_press(turn.said.data, str, int, int, Reason)
    if family not in {"rwait", "rpromise"}:
        raise ButtonIsOld
    draft = {"family": family, "repair_id": repair_id, "version": version, "reason": reason}
    if reason is Reason.OTHER:
        await turn.ask("job.reason", **draft)
        keyboard = [[repair_card.back_to(turn.texts, repair_id)]]
        await turn.show("repair.ask_reason_words", keyboard=keyboard)
        return
    await _ask_time(turn, words="", **draft)


async def receive_reason(turn: Turn) -> None:
    """Take the reason as it was typed: one of those that were offered, or other words."""
    typed = clean_line(turn.said.text, length_max=WORDS_MAX)
    reason, words = _read_reason((typed,), turn.texts)
    await _ask_time(turn, **{**turn.draft, "reason": reason, "words": words})


async def _ask_time(turn: Turn, **draft: Any) -> None:  # noqa: ANN401 (the dialogue's draft)
    await turn.ask("job.time", **draft)
    soon = [
        Button(turn.texts.plain(f"repair.time_{choice}"), press("rtime", choice))
        for choice in ("1h", "2h", "tomorrow")
    ]
    back = repair_card.back_to(turn.texts, draft["repair_id"])
    await turn.show("repair.ask_time", keyboard=[soon[:2], soon[2:], [back]])


async def receive_time(turn: Turn) -> None:
    """Take a time from a button of the open question, or a typed one."""
    turn.expect("job.time")
    if turn.said.data:
        promised_at = _read_choice(turn)
    else:
        promised_at = parse_moment(turn.said.text, texts=turn.texts, now=turn.now)
    draft = turn.draft
    done = await _promise(
        turn,
        draft["family"],
        draft["repair_id"],
        version=draft["version"],
        reason=Reason(draft["reason"]),
        words=draft["words"],
        promised_at=promised_at,
    )
    await turn.finish()
    await show_done(turn, done)


def _read_choice(turn: Turn) -> datetime:
    (choice,) = read_press(turn.said.data, str)
    moments = {
        "1h": turn.now + timedelta(hours=1),
        "2h": turn.now + timedelta(hours=2),
        "tomorrow": _tomorrow(turn.texts, turn.now),
    }
    if choice not in moments:
        raise ButtonIsOld
    return moments[choice]


def _tomorrow(texts: Texts, now: datetime) -> datetime:
    day = now.astimezone(texts.zone).date() + timedelta(days=1)
    return datetime.combine(day, TOMORROW_AT, tzinfo=texts.zone)


async def _promise(
    turn: Turn,
    family: str,
    repair: int | str,
    *,
    promised_at: datetime,
    **more: Any,  # noqa: ANN401 (passed on as they are)
) -> repairs.Done:
    to_the_minute = promised_at.replace(second=0, microsecond=0)
    if family == "rwait":
        return await take_step(turn, Act.WAIT, repair, promised_at=to_the_minute, **more)
    return await repairs.promise(
        turn.session,
        person_id=turn.person_id,
        repair=repair,
        promised_at=to_the_minute,
        now=turn.now,
        **more,
    )


def _read_reason(words: tuple[str, ...], texts: Texts) -> tuple[Reason, str]:
    """Return the reason that the words name, in English or the person's language, or the words."""
    line = line_of(" ".join(words))
    for reason in Reason:
        if line.casefold() in {reason.value, texts.plain(f"repair.reason_{reason}").casefold()}:
            return reason, ""
    return Reason.OTHER, line


async def render_job(
    session: AsyncSession, reader: Reader, params: dict[str, Any]
) -> Outgoing | None:
    """Return an offer or a job; where it is no longer the reader's, a line that says so."""
    repair_id = params["repair_id"]
    card = await render_card_for(repair_card.TECHNICIAN)(session, reader, params)
    shown = f"repair:{repair_id}:job"
    if card is not None or not await notices.is_card_shown(
        session, contact_id=reader.contact_id, card=shown
    ):
        return card
    line = await queries.get_line(session, repair_id=repair_id, now=reader.now)
    if line.technician_name is not None and line.technician_id != reader.person_id:
        text = reader.texts.get("repair.taken", number=line.number, name=line.technician_name)
    else:
        text = reader.texts.get("repair.no_longer_offered", number=line.number)
    return Outgoing(text=text)


_STAFF = frozenset({Role.TECHNICIAN})
_wait = partial(pause, family="rwait")
_move_promise = partial(pause, family="rpromise")
_insist = partial(fix, despite_meter=True)
COMMANDS: dict[str, Command] = {
    "jobs": Command(run=list_jobs, roles=_STAFF),
    **{name: Command(run=type_step, roles=_STAFF, in_menu=False) for name in STEP_OF},
    "fixed": Command(run=fix, roles=_STAFF, in_menu=False),
    "fixed_anyway": Command(run=_insist, roles=_STAFF, in_menu=False),
    "wait": Command(run=_wait, roles=_STAFF, in_menu=False),
    "newtime": Command(run=_move_promise, roles=_STAFF | {Role.MANAGER}, in_menu=False),
}
PRESSES: dict[str, Handle] = {
    "rfix": fix,
    "rinsist": _insist,
    "rwait": _wait,
    "rpromise": _move_promise,
    "rreason": press_reason,
    "rtime": receive_time,
}
STEPS: dict[str, Handle] = {
    "job.reason": receive_reason,
    "job.time": receive_time,
}
RENDERERS: dict[str, Render] = {"repair.offer": render_job, "repair.job": render_job}
