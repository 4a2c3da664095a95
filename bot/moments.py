"""Times as people type them: 15:30, tomorrow 9:00, 25.11 14:00, 11-25 14:00, +2 h, now."""

import re
import unicodedata
from datetime import date, datetime, time, timedelta

from bot.texts import Texts
from core.errors import DomainError

AHEAD_MAX = timedelta(days=90)
TOLERATED = timedelta(minutes=5)
WORDS_MAX = 4
NOON = 12

_CLOCK = re.compile(
    r"(?P<half>上午|早上|下午|晚上)?\s*(?<!\d)(?P<hour>\d{1,2})"
    r"(?:[:.h点點時时](?P<minute>\d{2}|半)?\s*分?)(?!\d)\s*(?P<meridiem>am|pm)?"
)
_ISO_DAY = re.compile(r"(?<!\d)(?:(\d{4})[-/年])?(\d{1,2})[-/月](\d{1,2})[日号號]?(?!\d)")
_DOTTED_DAY = re.compile(r"(?<!\d)(\d{1,2})\.(\d{1,2})(?:\.(\d{4}))?(?=\s|$)")
_IN = re.compile(r"\+?\s*(\d{1,3})\s*(\D+)")


class NotAMoment(DomainError):
    """What was typed cannot be read as a time."""

    code = "input.not_a_moment"


class NotADay(DomainError):
    """What was typed cannot be read as a day."""

    code = "input.not_a_day"


class MomentInThePast(DomainError):
    """The time that was typed has passed."""

    code = "input.moment_in_the_past"


class MomentTooFar(DomainError):
    """The time that was typed is months away, so it is probably a slip."""

    code = "input.moment_too_far"


def parse_moment(typed: str, *, texts: Texts, now: datetime) -> datetime:
    """
    Return the moment that was typed, in the operator's time zone.

    A time of day alone means its next coming; a day alone is not enough.

    Raises:
        NotAMoment: no time can be read from it.
        MomentInThePast, MomentTooFar: it cannot be meant.
    """
    words = unicodedata.normalize("NFKC", typed).casefold().strip()
    moment = _relative(words, texts=texts, now=now) or _absolute(words, texts=texts, now=now)
    if moment is None:
        raise NotAMoment(typed=typed[:40])
    return check_moment(moment, now=now)


def check_moment(moment: datetime, *, now: datetime) -> datetime:
    """
    Return a moment that can be meant.

    Raises:
        MomentInThePast, MomentTooFar: it cannot be meant.
    """
    if moment < now - TOLERATED:
        raise MomentInThePast(moment=moment)
    if moment > now + AHEAD_MAX:
        raise MomentTooFar(moment=moment)
    return moment


def parse_day(typed: str, *, texts: Texts, now: datetime) -> date:
    """
    Return the day that was typed: tomorrow, Sunday, 25.11, 11-25; a name means the next such day.

    Raises:
        NotADay: no day can be read from it.
    """
    words = unicodedata.normalize("NFKC", typed).casefold().strip().rstrip(".")
    today = now.astimezone(texts.zone).date()
    for weekday, names in enumerate(texts.weekdays()):
        if words in names:
            return today + timedelta(days=(weekday - today.weekday()) % 7)
    dotted = _DOTTED_DAY.fullmatch(words)
    if dotted is not None:
        day, rest = _day(dotted[3], dotted[2], dotted[1], today=today), ""
    else:
        day, rest = _read_day(words, texts=texts, today=today)
    if day is None or rest.strip():
        raise NotADay(typed=typed[:40])
    return day


def split_moment(
    words: tuple[str, ...], *, texts: Texts, now: datetime
) -> tuple[datetime, tuple[str, ...]]:
    """
    Return the moment with which the words of a command begin, and the words after it.

    Raises:
        NotAMoment, MomentInThePast, MomentTooFar: see `parse_moment`.
    """
    for count in range(min(WORDS_MAX, len(words)), 0, -1):
        try:
            moment = parse_moment(" ".join(words[:count]), texts=texts, now=now)
        except NotAMoment:
            continue
        if words[count:] and _CLOCK.fullmatch(words[count]):
            break  # what was read as a time is a day that does not exist: 05.13 10:00
        return moment, words[count:]
    raise NotAMoment(typed=" ".join(words)[:40])


def _relative(words: str, *, texts: Texts, now: datetime) -> datetime | None:
    if words in _words(texts, "word.now"):
        return now
    found = _IN.fullmatch(words)
    if found is None:
        return None
    number, unit = int(found[1]), found[2].strip()
    if unit in _words(texts, "word.hours"):
        return now + timedelta(hours=number)
    if unit in _words(texts, "word.minutes"):
        return now + timedelta(minutes=number)
    return None


def _absolute(words: str, *, texts: Texts, now: datetime) -> datetime | None:
    local = now.astimezone(texts.zone)
    day, rest = _read_day(words, texts=texts, today=local.date())
    clock = _CLOCK.search(rest)
    if clock is None:
        return None
    left = rest[: clock.start()] + " " + rest[clock.end() :]
    if set(left.replace(",", " ").split()) - set(_words(texts, "word.at")):
        return None  # words it does not know may mean another day
    at = _read_clock(clock)
    if at is None:
        return None
    moment = datetime.combine(day or local.date(), at, tzinfo=texts.zone)
    if day is None and moment < now - TOLERATED:
        moment = datetime.combine(local.date() + timedelta(days=1), at, tzinfo=texts.zone)
    return moment


def _read_clock(clock: re.Match[str]) -> time | None:
    minute = 30 if clock["minute"] == "半" else int(clock["minute"] or 0)
    hour = int(clock["hour"])
    is_afternoon = clock["half"] in {"下午", "晚上"} or clock["meridiem"] == "pm"
    if is_afternoon and hour < NOON:
        hour += NOON
    elif clock["meridiem"] == "am" and hour == NOON:
        hour = 0
    try:
        return time(hour, minute)
    except ValueError:
        return None


def _read_day(words: str, *, texts: Texts, today: date) -> tuple[date | None, str]:
    """Return the day that is named, and the words without it; a day that is none stays a word."""
    for key, days in (("word.day_after_tomorrow", 2), ("word.tomorrow", 1), ("word.today", 0)):
        for word in _words(texts, key):
            if word in words:
                return today + timedelta(days=days), words.replace(word, " ", 1)
    iso = _ISO_DAY.search(words)
    if iso is not None:
        found = _day(iso[1], iso[2], iso[3], today=today)
        return found, _without(words, iso) if found else words
    dotted = _DOTTED_DAY.search(words)
    if dotted is not None and _CLOCK.search(words, dotted.end()) is not None:
        found = _day(dotted[3], dotted[2], dotted[1], today=today)
        return found, _without(words, dotted) if found else words
    return None, words


def _without(words: str, found: re.Match[str]) -> str:
    return words[: found.start()] + " " + words[found.end() :]


def _day(year: str | None, month: str, day: str, *, today: date) -> date | None:
    """Return a date; without a year it is the next such day."""
    try:
        found = date(int(year or today.year), int(month), int(day))
        if year is None and found < today:
            found = found.replace(year=today.year + 1)
    except ValueError:
        return None
    return found


def _words(texts: Texts, key: str) -> list[str]:
    """Return the words a catalog gives for a notion, longest first."""
    return sorted(texts.plain(key).split("|"), key=len, reverse=True)
