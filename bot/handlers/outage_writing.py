"""Conversation: a manager writes an outage notice, one question at a time, and confirms it."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from bot.context import Handle, Turn
from bot.handlers.account import cancel_key
from bot.handlers.outage_words import describe, end_keys, read_moment
from bot.outgoing import Button, ButtonIsOld, Keyboard, press, read_press
from bot.texts import Texts, clean_line
from core.accounts import areas
from core.accounts.models import Role, Service
from core.errors import DomainError
from core.outages import service
from core.outages.models import OutageKind, OutageState
from core.outages.queries import OutageView
from core.outages.service import REASON_MAX, OutageDraft, Preview

AREAS_SHOWN = 12
SOONEST_END = timedelta(minutes=1)  # an end of now would be over before it is confirmed
# What can be chosen, by the catalog's names.
SERVICES = {f"service.{item}": item.value for item in Service}
KINDS = {f"outage.kind_{item}": item.value for item in OutageKind}


class NotAChoice(DomainError):
    """What was typed is none of the choices."""

    code = "input.not_a_choice"


async def begin(turn: Turn) -> None:
    """Begin a notice."""
    turn.require(Role.MANAGER)
    await turn.ask("outage.service")
    await turn.show("outage.ask_service", keyboard=_choices(turn.texts, "outservice", SERVICES))


async def receive_service(turn: Turn) -> None:
    """Take the service, as its button or as its name."""
    turn.expect("outage.service")
    chosen = _chosen(turn, SERVICES)
    await turn.ask("outage.kind", service=chosen)
    await turn.show("outage.ask_kind", keyboard=_choices(turn.texts, "outkind", KINDS))


async def receive_kind(turn: Turn) -> None:
    """Take planned or emergency, as its button or as its name."""
    turn.expect("outage.kind")
    chosen = _chosen(turn, KINDS)
    await turn.ask("outage.area", **{**turn.draft, "kind": chosen})
    await _offer_areas(turn, await areas.find_areas(turn.session))


async def receive_area(turn: Turn) -> None:
    """Take an area: a button chooses or opens it, words look for it by name."""
    turn.expect("outage.area")
    if not turn.said.data:
        name = clean_line(turn.said.text, length_max=100)
        await _offer_areas(turn, await areas.find_areas(turn.session, name=name), typed=name)
        return
    act, area_id = read_press(turn.said.data, str, int)
    if act == "open":
        await _offer_areas(turn, await areas.find_areas(turn.session, parent_id=area_id))
        return
    area = await areas.get_area(turn.session, area_id=area_id)
    await turn.ask("outage.starts", **{**turn.draft, "area": area.id})
    await turn.show("outage.ask_start", keyboard=_start_keys(turn), area=area.full_name)


async def receive_start(turn: Turn) -> None:
    """Take the time at which supply stops."""
    turn.expect("outage.starts")
    starts_at = read_moment(turn, since=turn.now)
    await turn.ask("outage.ends", **{**turn.draft, "starts": starts_at.isoformat()})
    await turn.show(
        "outage.ask_end",
        keyboard=end_keys(turn, "outends", since=starts_at),
        starts=turn.texts.moment(starts_at),
    )


async def receive_end(turn: Turn) -> None:
    """Take the time at which supply is promised back."""
    turn.expect("outage.ends")
    starts_at = datetime.fromisoformat(turn.draft["starts"])
    ends_at = read_moment(turn, since=starts_at)
    if ends_at <= max(starts_at, turn.now + SOONEST_END):
        raise service.EndsBeforeItStarts(starts_at=starts_at, ends_at=ends_at)
    await turn.ask("outage.reason", **{**turn.draft, "ends": ends_at.isoformat()})
    await turn.show("outage.ask_reason", keyboard=[[cancel_key(turn.texts)]])


async def receive_reason(turn: Turn) -> None:
    """Take the reason and show the notice as it will be sent, with the number of people."""
    reason = clean_line(turn.said.text, length_max=REASON_MAX)
    turn.draft["reason"] = reason
    draft = _draft(turn.draft)
    found = await service.preview(turn.session, draft=draft, now=turn.now)
    await turn.ask("outage.confirm", **turn.draft, people=found.people)
    send = turn.texts.plain("outage.send", people=found.people)
    await turn.write(
        _preview_text(turn.texts, draft, found),
        keyboard=[[Button(send, press("outsend", found.people))], [cancel_key(turn.texts)]],
    )


async def confirm_by_word(turn: Turn) -> None:
    """Take the typed number of people as the confirmation: a slip cannot be that number."""
    if clean_line(turn.said.text, length_max=100) != str(turn.draft["people"]):
        await turn.say("outage.confirm_how", people=turn.draft["people"])
        return
    await _announce(turn)


async def press_send(turn: Turn) -> None:
    """Send the notice whose preview was just confirmed."""
    turn.expect("outage.confirm")
    (people,) = read_press(turn.said.data, int)
    if turn.draft["people"] != people:
        raise ButtonIsOld
    await _announce(turn)


async def _announce(turn: Turn) -> None:
    turn.require(Role.MANAGER)
    people = turn.draft["people"]
    made = await service.announce(
        turn.session, draft=_draft(turn.draft), actor_id=turn.person_id, now=turn.now
    )
    await turn.finish()
    await turn.show("outage.announced", number=made.number, people=people)


def _preview_text(texts: Texts, draft: OutageDraft, found: Preview) -> str:
    shown = OutageView(
        id=0,
        number=texts.plain("outage.number_new"),
        service=draft.service,
        kind=draft.kind,
        state=OutageState.ANNOUNCED,
        area_id=draft.area_id,
        area_name=found.area_name,
        reason=draft.reason,
        starts_at=draft.starts_at,
        ends_at=draft.ends_at,
        ended_at=None,
        version=0,
        earlier_ends=(),
    )
    return texts.lines(
        [
            texts.get("outage.preview"),
            "",
            describe(texts, shown),
            "",
            texts.count("outage.people", found.people),
            texts.count("outage.no_contact", found.without_contact)
            if found.without_contact
            else None,
            texts.get("outage.late") if found.is_late else None,
            texts.get("outage.confirm_how", people=found.people),
        ]
    )


def _choices(texts: Texts, family: str, choices: Mapping[str, str]) -> Keyboard:
    keys = [Button(texts.plain(key), press(family, item)) for key, item in choices.items()]
    return [keys, [cancel_key(texts)]]


async def _offer_areas(turn: Turn, found: list[areas.AreaView], *, typed: str = "") -> None:
    rows: list[list[Button]] = []
    for area in found[:AREAS_SHOWN]:
        row = [Button(area.full_name, press("outarea", "take", area.id))]
        if await areas.find_areas(turn.session, parent_id=area.id):
            row.append(Button(turn.texts.plain("outage.inside"), press("outarea", "open", area.id)))
        rows.append(row)
    rows.append([cancel_key(turn.texts)])
    key = "outage.ask_area" if found else "outage.no_area"
    await turn.show(key, keyboard=rows, typed=typed)


def _start_keys(turn: Turn) -> Keyboard:
    tomorrow = turn.now.astimezone(turn.texts.zone) + timedelta(days=1)
    morning = tomorrow.replace(hour=9, minute=0, second=0, microsecond=0)
    return [
        [
            Button(turn.texts.plain("word.now").split("|")[0], press("outstart", "in", 0)),
            Button(turn.texts.moment(morning), press("outstart", "at", int(morning.timestamp()))),
        ],
        [cancel_key(turn.texts)],
    ]


def _chosen(turn: Turn, choices: Mapping[str, str]) -> str:
    """Return what was pressed or typed among choices, which the catalog names."""
    if turn.said.data:
        (value,) = read_press(turn.said.data, str)
    else:
        typed = clean_line(turn.said.text, length_max=100).casefold()
        named = {turn.texts.plain(key).casefold(): item for key, item in choices.items()}
        value = named.get(typed, typed)
    if value not in choices.values():
        raise NotAChoice
    return str(value)


def _draft(draft: dict[str, Any]) -> OutageDraft:
    return OutageDraft(
        service=Service(draft["service"]),
        kind=OutageKind(draft["kind"]),
        area_id=draft["area"],
        reason=draft["reason"],
        starts_at=datetime.fromisoformat(draft["starts"]),
        ends_at=datetime.fromisoformat(draft["ends"]),
    )


PRESSES: dict[str, Handle] = {
    "outservice": receive_service,
    "outkind": receive_kind,
    "outarea": receive_area,
    "outstart": receive_start,
    "outends": receive_end,
    "outsend": press_send,
}
STEPS: dict[str, Handle] = {
    "outage.service": receive_service,
    "outage.kind": receive_kind,
    "outage.area": receive_area,
    "outage.starts": receive_start,
    "outage.ends": receive_end,
    "outage.reason": receive_reason,
    "outage.confirm": confirm_by_word,
}
