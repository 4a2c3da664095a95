"""Conversation: report a repair: which place, what is wrong, a photo."""

import unicodedata

from bot.context import Command, Handle, Render, Turn
from bot.handlers.account import back_home, cancel_key
from bot.handlers.repairs import WORDS_MAX, words_of
from bot.outgoing import Button, press, read_press
from bot.texts import clean_line
from core.accounts import service as accounts
from core.repairs import intake


async def report(turn: Turn) -> None:
    """Ask where it is, then what it is; words after the command are taken at once."""
    places = await accounts.list_places(turn.session, person_id=turn.person_id)
    words = " ".join(turn.said.arguments)
    if not places:
        await turn.show("repair.no_places", keyboard=[[back_home(turn.texts)]])
    elif len(places) == 1:
        await _go_on(turn, places[0].service_point_id, words)
    else:
        points = [place.service_point_id for place in places]
        await turn.ask("repair.place", words=words, points=points)
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
    await _go_on(turn, service_point_id, turn.draft.get("words", ""))


async def receive_place(turn: Turn) -> None:
    """Take the place by its typed position in the list."""
    typed = unicodedata.normalize("NFKC", turn.said.text).strip()
    points = turn.draft["points"]
    if not (typed.isascii() and typed.isdecimal() and 1 <= int(typed[:3]) <= len(points)):
        await turn.say("repair.ask_place_again", count=len(points))
        return
    await _go_on(turn, points[int(typed[:3]) - 1], turn.draft.get("words", ""))


async def _go_on(turn: Turn, service_point_id: int, words: str) -> None:
    if words:
        await _file(turn, service_point_id, clean_line(words, length_max=WORDS_MAX))
        return
    await turn.ask("repair.report", service_point_id=service_point_id)
    await turn.show("repair.ask_report", keyboard=[[cancel_key(turn.texts)]])


async def receive_report(turn: Turn) -> None:
    """Take the customer's words, a photo, or both in one message."""
    await _file(turn, turn.draft["service_point_id"], words_of(turn, turn.said.text))


async def _file(turn: Turn, service_point_id: int, words: str) -> None:
    reported = await intake.report(
        turn.session,
        person_id=turn.person_id,
        service_point_id=service_point_id,
        text=words,
        photo_ref=turn.said.photo_ref,
        now=turn.now,
    )
    key = "repair.reported" if reported.is_new else "repair.added_to_open"
    texts = turn.texts
    show = Button(texts.plain("repair.show"), press("repair", reported.repair_id))
    if turn.said.photo_ref:
        await turn.finish()
        await turn.say(key, keyboard=[[show]], number=reported.number)
        return
    # It is filed already: whoever walks away now has reported it all the same.
    await turn.ask("repair.words", repair_id=reported.repair_id)
    text = texts.get(key, number=reported.number)
    await turn.draw(f"{text}\n\n{texts.get('repair.ask_photo')}", keyboard=[[show]])


COMMANDS: dict[str, Command] = {"report": Command(run=report, customers_only=True)}
PRESSES: dict[str, Handle] = {"rplace": press_place}
STEPS: dict[str, Handle] = {"repair.place": receive_place, "repair.report": receive_report}
RENDERERS: dict[str, Render] = {}
