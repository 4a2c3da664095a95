"""Conversation: report a repair: which place, what is wrong; and photos that come by themselves."""

from bot.context import Command, Fallback, Handle, Render, Turn
from bot.handlers.account import back_home, cancel_key
from bot.handlers.repairs import (
    PHOTOS_SHOWN,
    WhichRepair,
    add_words,
    expect_more_photos,
    find_expecting,
    line_of,
    read_number,
    words_of,
)
from bot.handlers.technician import list_active
from bot.outgoing import Button, press, read_press
from core.accounts import service as accounts
from core.accounts.models import Role
from core.repairs import intake, queries
from core.repairs import service as repairs
from core.repairs.workflow import ENDED


async def report(turn: Turn) -> None:
    """Ask where it is, then what it is; words after the command are taken at once."""
    await _ask_place(turn, " ".join(turn.said.arguments), [])


async def _ask_place(turn: Turn, words: str, photo_refs: list[str]) -> None:
    places = await accounts.list_places(turn.session, person_id=turn.person_id)
    if not places:
        await turn.show("repair.no_places", keyboard=[[back_home(turn.texts)]])
    elif len(places) == 1:
        await _go_on(turn, places[0].service_point_id, words, photo_refs)
    else:
        points = [place.service_point_id for place in places]
        await turn.ask("repair.place", words=words, points=points, photo_refs=photo_refs)
        labels = [
            turn.texts.plain(
                "repair.place_line",
                number=number,
                service=turn.texts.plain(f"service.{place.service}"),
                address=place.address,
            )
            for number, place in enumerate(places, start=1)
        ]
        keys = [
            [Button(label, press("rplace", point))]
            for label, point in zip(labels, points, strict=True)
        ]
        await turn.show("repair.ask_place", keyboard=[*keys, [cancel_key(turn.texts)]])


async def press_place(turn: Turn) -> None:
    """Take the place that was pressed."""
    (service_point_id,) = read_press(turn.said.data, int)
    await accounts.get_place_of(
        turn.session, person_id=turn.person_id, service_point_id=service_point_id
    )
    draft = turn.draft
    await _go_on(turn, service_point_id, draft.get("words", ""), draft.get("photo_refs", []))


async def receive_place(turn: Turn) -> None:
    """Take the place by its typed position in the list; a photo is kept until then."""
    draft = turn.draft
    if turn.said.photo_ref:
        photo_refs = [*draft["photo_refs"], turn.said.photo_ref][:PHOTOS_SHOWN]
        await _ask_place(turn, draft["words"] or words_of(turn, turn.said.text), photo_refs)
        return
    point = await turn.pick(draft["points"])
    if point is not None:
        await _go_on(turn, point, draft["words"], draft["photo_refs"])


async def _go_on(turn: Turn, service_point_id: int, words: str, photo_refs: list[str]) -> None:
    if words or photo_refs:
        await _file(turn, service_point_id, line_of(words), photo_refs)
        return
    await turn.ask("repair.report", service_point_id=service_point_id)
    await turn.show("repair.ask_report", keyboard=[[cancel_key(turn.texts)]])


async def receive_report(turn: Turn) -> None:
    """Take the customer's words, a photo, or both in one message."""
    words = words_of(turn, turn.said.text)
    photo_refs = [turn.said.photo_ref] if turn.said.photo_ref else []
    await _file(turn, turn.draft["service_point_id"], words, photo_refs)


async def _file(turn: Turn, service_point_id: int, words: str, photo_refs: list[str]) -> None:
    photo_ref, *more = photo_refs or [""]
    reported = await intake.report(
        turn.session,
        person_id=turn.person_id,
        service_point_id=service_point_id,
        text=words,
        photo_ref=photo_ref,
        now=turn.now,
    )
    key = "repair.reported" if reported.is_new else "repair.added_to_open"
    texts = turn.texts
    show = Button(texts.plain("repair.show"), press("repair", reported.repair_id))
    if photo_ref:
        for each in more:
            await repairs.comment(
                turn.session,
                person_id=turn.person_id,
                repair=reported.repair_id,
                photo_ref=each,
                now=turn.now,
            )
        await expect_more_photos(turn, reported.repair_id)
        await turn.say(key, keyboard=[[show]], number=reported.number)
        return
    # It is filed already: whoever walks away now has reported it all the same.
    await turn.ask("repair.words", repair_id=reported.repair_id)
    text = texts.get(key, number=reported.number)
    await turn.draw(f"{text}\n\n{texts.get('repair.ask_photo')}", keyboard=[[show]])


async def take_photo(turn: Turn) -> bool:
    """Add a photo that comes by itself to the repair it must belong to, ask, or begin a report."""
    photo_ref = turn.said.photo_ref
    if not photo_ref:
        return False
    words = words_of(turn, turn.said.text)
    repair_id = find_expecting(turn)
    if repair_id is not None:
        await add_words(turn, repair_id, words, photo_ref)
        return True
    lines = await list_active(turn) if Role.TECHNICIAN in turn.speaker.roles else []
    if not lines and turn.speaker.is_customer:
        mine = await queries.list_for_customer(turn.session, person_id=turn.person_id, now=turn.now)
        lines = [line for line in mine if line.state not in ENDED]
        if not lines:
            await _ask_place(turn, words, [photo_ref])
            return True
    if len(lines) == 1:
        await add_words(turn, lines[0].id, words, photo_ref)
    elif lines:
        await _ask_which(turn, [line.number for line in lines], words, [photo_ref])
    return bool(lines)


async def _ask_which(turn: Turn, numbers: list[str], words: str, photo_refs: list[str]) -> None:
    await turn.ask("repair.photo", numbers=numbers, words=words, photo_refs=photo_refs)
    keys = [[Button(number, press("rattach", number))] for number in numbers]
    await turn.say("repair.ask_which_job", keyboard=[*keys, [cancel_key(turn.texts)]])


async def attach(turn: Turn) -> None:
    """
    Add the photos that are waiting to the repair that was pressed, or whose number was typed.

    Raises:
        WhichRepair: what was typed is no number.
    """
    turn.expect("repair.photo")
    draft = turn.draft
    if turn.said.photo_ref:
        photo_refs = [*draft["photo_refs"], turn.said.photo_ref][:PHOTOS_SHOWN]
        await _ask_which(turn, draft["numbers"], draft["words"], photo_refs)
        return
    number: str | None
    if turn.said.data:
        (number,) = read_press(turn.said.data, str)
    else:
        number, _ = read_number(tuple(turn.said.text.split()))
    if number is None:
        raise WhichRepair(command="repair")
    words = draft["words"]
    for photo_ref in draft["photo_refs"]:
        await add_words(turn, number, words, photo_ref)
        words = ""


COMMANDS: dict[str, Command] = {"report": Command(run=report, customers_only=True)}
PRESSES: dict[str, Handle] = {"rplace": press_place, "rattach": attach}
STEPS: dict[str, Handle] = {
    "repair.place": receive_place,
    "repair.report": receive_report,
    "repair.photo": attach,
}
RENDERERS: dict[str, Render] = {}
FALLBACKS: tuple[Fallback, ...] = (take_photo,)
