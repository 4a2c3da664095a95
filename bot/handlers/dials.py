"""Conversation: the reminder to read one's meter, and photos of dials beside readings."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from bot.context import Command, Fallback, Handle, Reader, Render, Turn
from bot.handlers.usage_pictures import meter_key
from bot.outgoing import Outgoing
from core.billing.reading_window import list_unread
from core.monitoring import photos, service
from core.monitoring.rows import Key

MORE_PHOTOS = "reading.more_photos"  # whatever else is said next is not about the reading
MORE_WITHIN = timedelta(minutes=10)  # then a photo is about something new


async def keep_photos(turn: Turn, key: Key, photo_refs: Sequence[str]) -> bool:
    """Keep photos beside a reading, and let those of the next minutes belong to it, too."""
    kept = True
    for photo_ref in photo_refs:
        kept = await photos.add_photo(turn.session, key=key, channel_ref=photo_ref)
    until = (turn.now + MORE_WITHIN).isoformat()
    taken_at = key.taken_at.isoformat()
    await turn.ask(MORE_PHOTOS, meter_id=key.meter_id, taken_at=taken_at, until=until)
    return kept


async def take_photo(turn: Turn) -> bool:
    """Keep a photo that comes right after a reading beside it."""
    photo_ref, draft = turn.said.photo_ref, turn.draft
    if not photo_ref or turn.step != MORE_PHOTOS:
        return False
    if turn.now > datetime.fromisoformat(draft["until"]):
        return False
    meter = await service.find_meter_of(
        turn.session, person_id=turn.person_id, meter_id=draft["meter_id"]
    )
    key = Key(meter.id, service.TOTAL, datetime.fromisoformat(draft["taken_at"]))
    kept = await keep_photos(turn, key, [photo_ref])
    await turn.say("reading.photo_kept" if kept else "reading.photos_enough", serial=meter.serial)
    return True


async def render_asked(
    session: AsyncSession, reader: Reader, params: dict[str, Any]
) -> Outgoing | None:
    """Return the request to read, unless all was read or the days are over."""
    found = await list_unread(session, person_id=reader.person_id, now=reader.now)
    if found is None:
        return None
    window, wanted = found
    texts = reader.texts
    mine = await service.list_meters_of(session, person_id=reader.person_id)
    keys = [
        [meter_key(texts, place, "read", meter.id)] for place, meter in mine if meter.id in wanted
    ]
    is_last = params["day"] == window.last.isoformat()
    key = "reading.asked_last" if is_last else "reading.asked"
    return Outgoing(text=texts.get(key, day=texts.day(window.last)), keyboard=keys)


async def render_photo(
    session: AsyncSession, reader: Reader, params: dict[str, Any]
) -> Outgoing | None:
    """Return a photo of a dial, for whoever decides on the reading."""
    photo = await photos.get_photo(session, photo_id=params["photo_id"])
    if photo is None:
        return None
    meter = await service.find_meter(session, meter_id=photo.meter_id)
    moment = reader.texts.moment(photo.taken_at)
    words = reader.texts.get("reading.photo_of", serial=meter.serial, at=moment)
    return Outgoing(text=words, photo_ref=photo.channel_ref)


COMMANDS: dict[str, Command] = {}
PRESSES: dict[str, Handle] = {}
STEPS: dict[str, Handle] = {}
RENDERERS: dict[str, Render] = {"reading.asked": render_asked, "reading.photo": render_photo}
FALLBACKS: tuple[Fallback, ...] = (take_photo,)
