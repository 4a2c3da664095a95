"""Words and keys of outage notices that reading and writing them share."""

from datetime import datetime, timedelta

from bot.context import Turn
from bot.handlers.account import cancel_key
from bot.moments import check_moment, parse_moment
from bot.outgoing import Button, ButtonIsOld, Keyboard, press, read_press
from bot.texts import Markup, Texts
from core.outages.models import OutageState
from core.outages.queries import OutageView


def describe(texts: Texts, outage: OutageView) -> str:
    """Return a notice as everybody reads it: one current end time, older ones struck through."""
    struck = "".join(f"<s>{texts.moment(moment)}</s> " for moment in outage.earlier_ends)
    parts = [
        texts.get(
            f"outage.title_{outage.kind}",
            number=outage.number,
            service=texts.plain(f"service.{outage.service}"),
        ),
        texts.get(
            "outage.times",
            starts=texts.moment(outage.starts_at),
            ends=Markup(struck + texts.moment(outage.ends_at)),
        ),
        texts.get("outage.where", area=outage.area_name),
        texts.get("outage.why", reason=outage.reason),
    ]
    if outage.state is OutageState.ANNOUNCED:
        parts.append(texts.get(f"outage.advice_{outage.service}"))
    elif outage.ended_at is not None:
        parts.append(texts.get(f"outage.state_{outage.state}", at=texts.moment(outage.ended_at)))
    return "\n".join(parts)


def end_keys(turn: Turn, family: str, *, since: datetime) -> Keyboard:
    """Return buttons for likely end times."""
    moments = [since + timedelta(hours=hours) for hours in (2, 4, 8)]
    keys = [
        Button(turn.texts.moment(moment), press(family, "at", int(moment.timestamp())))
        for moment in moments
    ]
    return [keys, [cancel_key(turn.texts)]]


def read_moment(turn: Turn, *, since: datetime) -> datetime:
    """Return the time that was pressed, or typed."""
    if not turn.said.data:
        return parse_moment(turn.said.text, texts=turn.texts, now=turn.now)
    how, seconds = read_press(turn.said.data, str, int)
    try:
        if how == "in":
            pressed = since + timedelta(seconds=seconds)
        else:
            pressed = datetime.fromtimestamp(seconds, tz=turn.texts.zone)
    except (OverflowError, OSError, ValueError):
        raise ButtonIsOld from None
    return check_moment(pressed, now=turn.now)
