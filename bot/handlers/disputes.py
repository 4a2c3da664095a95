"""Conversation: people object to a bill or a reading, and a named manager answers in time."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from bot.context import Command, Handle, Reader, Render, Turn, WhichNumber
from bot.handlers.account import back_home, cancel_key
from bot.handlers.correction_words import describe_dispute, ground_keys, subject_words
from bot.outgoing import Button, Outgoing, press, read_press
from bot.texts import Texts, clean_line
from core.accounts.models import Role
from core.billing import dispute_promises, dispute_queries, disputes, queries
from core.billing.correction_models import DisputeState, Ground
from core.billing.dispute_queries import DisputeView
from core.monitoring.held import Decision
from core.monitoring.rows import Key

WORDS_LENGTH_MAX = 500
LONGER_DAYS = (3, 7, 14)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
MANAGERS = frozenset({Role.MANAGER})


def reading_key(texts: Texts, key: Key) -> Button:
    """Return the button with which a person says that a reading is wrong."""
    micros = (key.taken_at - EPOCH) // MICROSECOND
    return Button(texts.plain("dispute.object"), press("objread", key.meter_id, key.name, micros))


def _number(turn: Turn) -> str:
    if turn.said.data:
        return str(read_press(turn.said.data, str)[0])
    if not turn.said.arguments:
        raise WhichNumber(example=f"/{turn.said.command} W1001")
    return turn.said.arguments[0].upper()


async def begin(turn: Turn) -> None:
    """Ask what is wrong with the bill that was pressed or follows the command."""
    number = _number(turn)
    found = await queries.get_summary(turn.session, number=number, person_id=turn.person_id)
    before = await dispute_queries.find_of_bill(turn.session, bill_id=found.bill.id)
    if before is not None and before.state is not DisputeState.UPHELD:
        raise disputes.AlreadyDisputed(bill=number, number=before.number)
    await turn.ask("dispute.words", bill=number)
    keys = [*ground_keys(turn.texts), [cancel_key(turn.texts)]]
    await turn.say("dispute.ask", number=number, keyboard=keys)


async def begin_reading(turn: Turn) -> None:
    """Ask what is wrong with the reading that was pressed."""
    parts = read_press(turn.said.data, int, str, int)
    await turn.ask("dispute.words", reading=parts)
    keys = [[Button(turn.texts.plain("dispute.no_words"), press("objectas", Ground.READING))]]
    await turn.say("dispute.ask_reading", keyboard=[*keys, [cancel_key(turn.texts)]])


async def press_ground(turn: Turn) -> None:
    """Take a usual reason; more can be said in words."""
    turn.expect("dispute.words")
    (ground,) = read_press(turn.said.data, Ground)
    if turn.draft.get("ground") == ground or "reading" in turn.draft:
        await _open(turn, ground, "")
        return
    await turn.ask("dispute.words", **{**turn.draft, "ground": ground})
    done = Button(turn.texts.plain("dispute.no_words"), press("objectas", ground))
    await turn.show(
        "dispute.ask_words",
        ground=turn.texts.plain(f"dispute.ground_{ground}"),
        keyboard=[[done], [cancel_key(turn.texts)]],
    )


async def receive_words(turn: Turn) -> None:
    """Take what was typed, and open the objection."""
    usual = Ground.READING if "reading" in turn.draft else Ground.OTHER
    words = clean_line(turn.said.text, length_max=WORDS_LENGTH_MAX)
    await _open(turn, Ground(turn.draft.get("ground", usual)), words)


async def _open(turn: Turn, ground: Ground, words: str) -> None:
    said: dict[str, Any] = {
        "person_id": turn.person_id,
        "ground": ground,
        "words": words,
        "now": turn.now,
    }
    if "bill" in turn.draft:
        bill = turn.draft["bill"]
        number = await disputes.open_dispute(turn.session, bill_number=bill, **said)
    else:
        meter_id, register, micros = turn.draft["reading"]
        key = Key(meter_id, register, EPOCH + micros * MICROSECOND)
        number = await disputes.open_reading_dispute(turn.session, key=key, **said)
    await turn.finish()
    await turn.say("dispute.thanks", number=number)


async def show(turn: Turn) -> None:
    """Show the objection that was pressed, or whose number follows the command."""
    if not turn.said.data and not turn.said.arguments:
        await list_open(turn)
        return
    await _show(turn, _number(turn))


async def _show(turn: Turn, number: str) -> None:
    is_staff = Role.MANAGER in turn.speaker.roles
    found = await dispute_queries.get_dispute(
        turn.session, number=number, person_id=None if is_staff else turn.person_id
    )
    keys = [*_keys(turn.texts, found, is_staff=is_staff, person_id=turn.person_id)]
    keys.append([back_home(turn.texts)])
    await turn.draw(describe_dispute(turn.texts, found, for_staff=is_staff), keyboard=keys)


def _keys(
    texts: Texts, found: DisputeView, *, is_staff: bool, person_id: int
) -> list[list[Button]]:
    """Return what can be done with an objection."""

    def key(name: str, *data: object) -> Button:
        return Button(texts.plain(f"dispute.{name}"), press(*map(str, data)))

    keys = []
    if found.bill_number:
        keys.append([key("to_bill", "bill", found.bill_number)])
    if found.state is not DisputeState.OPEN:
        return keys
    if found.person_id == person_id:
        keys.append([key("withdraw", "objectback", found.number)])
    if not is_staff:
        return keys
    if found.bill_number:
        keys.append(
            [
                key("uphold_credit", "credit", found.bill_number),
                key("uphold_rebill", "rebill", found.bill_number),
            ]
        )
        keys.append([key("decline", "objectno", found.number)])
    else:
        keys += [[key(f"reading_{each}", "objectby", each, found.number)] for each in Decision]
    keys.append([key("longer", "objectlong", found.number)])
    return keys


async def list_open(turn: Turn) -> None:
    """Show the objections that wait for an answer, the one promised first at the top."""
    turn.require(Role.MANAGER)
    found = await dispute_queries.list_open(turn.session)
    texts = turn.texts
    keys = [
        [
            Button(
                texts.plain(
                    "dispute.row",
                    number=each.number,
                    subject=subject_words(texts, each),
                    day=texts.day(each.promised_date),
                ),
                press("objection", each.number),
            )
        ]
        for each in found
    ]
    title = texts.count("dispute.list", len(found)) if found else texts.get("dispute.list_none")
    await turn.draw(title, keyboard=[*keys, [back_home(texts)]])


async def ask_to_withdraw(turn: Turn) -> None:
    """Ask whether an objection is really taken back: there is no second one."""
    number = _number(turn)
    found = await dispute_queries.get_dispute(turn.session, number=number, person_id=turn.person_id)
    keys = [
        [Button(turn.texts.plain("dispute.withdraw_yes"), press("objectgone", number))],
        [Button(turn.texts.plain("dispute.withdraw_no"), press("objection", number))],
    ]
    what = "bill" if found.bill_number else "reading"
    await turn.show(f"dispute.withdraw_{what}", number=number, keyboard=keys)


async def withdraw(turn: Turn) -> None:
    """Take back the objection that was pressed."""
    number = _number(turn)
    await disputes.withdraw_dispute(
        turn.session, number=number, person_id=turn.person_id, now=turn.now
    )
    await _show(turn, number)


async def begin_decline(turn: Turn) -> None:
    """Ask a manager why a bill is right."""
    turn.require(Role.MANAGER)
    await _ask_answer(turn, _number(turn), None, None)


async def press_decision(turn: Turn) -> None:
    """Ask for the right number of a reading, or for the reason."""
    turn.require(Role.MANAGER)
    decision, number = read_press(turn.said.data, Decision, str)
    if decision is Decision.CORRECT:
        await turn.ask("dispute.value", number=number)
        await turn.show("held.ask_value", keyboard=[[cancel_key(turn.texts)]])
    else:
        await _ask_answer(turn, number, decision, None)


async def receive_value(turn: Turn) -> None:
    """Take the right number of a reading."""
    turn.require(Role.MANAGER)
    value = str(turn.texts.parse_quantity(turn.said.text))
    await _ask_answer(turn, turn.draft["number"], Decision.CORRECT, value)


async def _ask_answer(
    turn: Turn, number: str, decision: Decision | None, value: str | None
) -> None:
    await dispute_queries.get_dispute(turn.session, number=number, person_id=None)
    await turn.ask("dispute.answer", number=number, decision=decision, value=value)
    await turn.show("dispute.ask_answer", number=number, keyboard=[[cancel_key(turn.texts)]])


async def receive_answer(turn: Turn) -> None:
    """Answer the objection with what was typed."""
    turn.require(Role.MANAGER)
    draft = turn.draft
    answer = clean_line(turn.said.text, length_max=WORDS_LENGTH_MAX)
    said: dict[str, Any] = {"answer": answer, "actor_id": turn.person_id, "now": turn.now}
    if draft["decision"] is None:
        await disputes.decline(turn.session, number=draft["number"], **said)
    else:
        await disputes.answer_reading(
            turn.session,
            number=draft["number"],
            decision=Decision(draft["decision"]),
            value=None if draft["value"] is None else Decimal(draft["value"]),
            **said,
        )
    await turn.finish()
    await _show(turn, draft["number"])


async def begin_longer(turn: Turn) -> None:
    """Ask a manager how much longer an answer takes."""
    turn.require(Role.MANAGER)
    number = _number(turn)
    keys = [
        Button(turn.texts.count("dispute.days", days), press("objectdays", number, days))
        for days in LONGER_DAYS
    ]
    await turn.show("dispute.ask_days", keyboard=[keys, [cancel_key(turn.texts)]])


async def press_days(turn: Turn) -> None:
    """Ask why it takes so much longer."""
    turn.require(Role.MANAGER)
    number, days = read_press(turn.said.data, str, int)
    await turn.ask("dispute.delay", number=number, days=days)
    await turn.show("dispute.ask_delay", keyboard=[[cancel_key(turn.texts)]])


async def receive_delay(turn: Turn) -> None:
    """Put the promised day off for the reason that was typed."""
    turn.require(Role.MANAGER)
    await dispute_promises.postpone(
        turn.session,
        number=turn.draft["number"],
        days=turn.draft["days"],
        reason=clean_line(turn.said.text, length_max=WORDS_LENGTH_MAX),
        actor_id=turn.person_id,
        now=turn.now,
    )
    await turn.finish()
    await _show(turn, turn.draft["number"])


def _renderer(intro: str) -> Render:
    """Return what makes a message about an objection, with its screen below the first words."""

    async def render(
        session: AsyncSession, reader: Reader, params: dict[str, Any]
    ) -> Outgoing | None:
        is_staff = Role.MANAGER in reader.roles and intro == "dispute.new"
        found = await dispute_queries.get_dispute(
            session, number=params["number"], person_id=None if is_staff else reader.person_id
        )
        texts = reader.texts
        return Outgoing(
            text=texts.lines(
                [texts.get(intro), describe_dispute(texts, found, for_staff=is_staff)]
            ),
            keyboard=_keys(texts, found, is_staff=is_staff, person_id=reader.person_id),
        )

    return render


COMMANDS: dict[str, Command] = {
    "disputes": Command(run=list_open, roles=MANAGERS),
    "object": Command(run=begin, in_menu=False),
    "objection": Command(run=show, in_menu=False),
}
PRESSES: dict[str, Handle] = {
    "object": begin,
    "objread": begin_reading,
    "objectas": press_ground,
    "objection": show,
    "objectback": ask_to_withdraw,
    "objectgone": withdraw,
    "objectno": begin_decline,
    "objectby": press_decision,
    "objectlong": begin_longer,
    "objectdays": press_days,
}
STEPS: dict[str, Handle] = {
    "dispute.words": receive_words,
    "dispute.value": receive_value,
    "dispute.answer": receive_answer,
    "dispute.delay": receive_delay,
}
RENDERERS: dict[str, Render] = {
    name: _renderer(name)
    for name in (
        "dispute.opened",
        "dispute.answered",
        "dispute.delayed",
        "dispute.late",
        "dispute.new",
    )
}
NUMBERS: dict[str, str] = {"D": "objection"}
