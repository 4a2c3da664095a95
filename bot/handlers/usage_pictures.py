"""What a customer sees of a meter: pictures of its use and quality, and the same in words."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, Literal
from zoneinfo import ZoneInfo

from sqlalchemy.ext.asyncio import AsyncSession

from bot.context import Reader
from bot.documents.charts import Bar, Level, Point, line_chart, usage_chart
from bot.handlers.account import back_home
from bot.outgoing import Button, File, Keyboard, Outgoing, press
from bot.texts import Texts
from core.accounts.models import Service
from core.accounts.service import Place
from core.monitoring import quality, service, usage
from core.monitoring.quality import Quality, Step
from core.monitoring.ranges import SWITCHED_OFF, MeterFacts
from core.monitoring.usage import Use
from core.periods import a_year_before, local_day, month_of, start_of_day

TODAY = "today"
SPANS = ("week", "month", "year")
DAYS = {TODAY: 1, "week": 7, "month": 30}
MONTHS = 12
DAY = timedelta(days=1)
STEP = timedelta(minutes=15)
STEPS = 96
OTHERS_SHOWN = 6
LABELS_APART = 5
AGE_MAX = {"week": DAY, "month": DAY, "year": 31 * DAY}  # a bar: so spans of days agree


def heading(texts: Texts, place: Place) -> str:
    """Return the line that says which service where."""
    return texts.get(f"meter.heading_{place.service}", address=place.address)


def meter_key(texts: Texts, place: Place, family: str, *parts: object) -> Button:
    """Return a button named for the service and the place of a meter."""
    label = texts.plain(f"meter.label_{place.service}", address=place.address)
    return Button(label, press(family, *parts))


async def render_usage(
    session: AsyncSession, reader: Reader, params: dict[str, Any]
) -> Outgoing | None:
    """Return the use of a meter as bars and in words; nothing when it is not the reader's."""
    mine = await service.list_meters_of(session, person_id=reader.person_id)
    place, meter = next((m for m in mine if m[1].id == params["meter_id"]), (None, None))
    if place is None or meter is None:
        return None
    span, texts = params["span"], reader.texts
    today = local_day(reader.now, zone=texts.zone)
    uses, before = [
        await _load_uses(session, meter, day, span=span, zone=texts.zone)
        for day in (today, a_year_before(today))
    ]
    late = None
    if span != "year" and _holds_days_before(texts, uses[-1]):
        late, uses[-1] = uses[-1], replace(uses[-1], value=None)
    if span == TODAY:
        said = texts.lines([heading(texts, place), _describe_today(texts, place, uses[-1], late)])
        return Outgoing(text=said, keyboard=_usage_keys(texts, mine, meter, span))
    silent_since = await _silent_since(session, meter, now=reader.now, zone=texts.zone)
    until = reader.now if silent_since is None or span != "year" else silent_since
    compared = await _compare(session, meter, uses, now=until, zone=texts.zone, span=span)
    has_before = any(use.value is not None for use in before)

    def draw() -> bytes:
        return usage_chart(
            language=texts.locale,
            service=_charted(place),
            title=texts.plain(f"usage.title_{span}"),
            unit=texts.unit(place.service),
            bars=_bars(texts, uses, before, span=span, silent_since=silent_since),
            highlight=len(uses) - 1,
            legend=texts.plain("usage.a_year_ago") if has_before else "",
        )

    is_known = any(use.value is not None for use in uses)
    words: list[str | None] = [_describe_use(texts, place, uses, late, span=span)]
    if is_known:
        words += _describe_gaps(texts, uses, span=span, is_read_today=late is not None)
        if span == "year" and silent_since is not None:
            words.append(texts.get("usage.incomplete", when=texts.day(silent_since)))
        words.append(_describe_change(texts, place, *compared, is_partly_known=has_before))
    return Outgoing(
        text=texts.lines(words),
        keyboard=_usage_keys(texts, mine, meter, span),
        photo=File(name="usage.png", make=draw) if is_known else None,
    )


async def _load_uses(
    session: AsyncSession, meter: MeterFacts, last_day: date, *, span: str, zone: ZoneInfo
) -> list[Use]:
    if span == "year":
        return await usage.usage_by_month(
            session, meter=meter, last_day=last_day, months=MONTHS, zone=zone
        )
    return await usage.usage_by_day(
        session, meter=meter, last_day=last_day, days=DAYS[span], zone=zone
    )


async def _silent_since(
    session: AsyncSession, meter: MeterFacts, *, now: datetime, zone: ZoneInfo
) -> datetime | None:
    """Return when the last reading came, if a whole day has passed without one since."""
    shown = await usage.list_registers(session, meter_ids=[meter.id], at=now)
    last = max((value.taken_at for value in shown), default=None)
    if last is None or local_day(now, zone=zone) - local_day(last, zone=zone) <= DAY:
        return None
    return last


async def _compare(
    session: AsyncSession,
    meter: MeterFacts,
    uses: Sequence[Use],
    *,
    now: datetime,
    zone: ZoneInfo,
    span: str,
) -> tuple[Decimal | None, Decimal | None]:
    """Return what was used since the first day up to now, and in the same time a year ago."""
    first, today = uses[0].starts_date, local_day(now, zone=zone)
    so_far = now - start_of_day(today, zone=zone)
    then_at = start_of_day(a_year_before(today), zone=zone) + so_far
    bounds = [(first, now), (a_year_before(first), then_at)]
    current, then = [
        await usage.used_between(
            session,
            meter=meter,
            starts_at=start_of_day(day, zone=zone),
            ends_at=ends_at,
            age_max=AGE_MAX[span],
        )
        for day, ends_at in bounds
    ]
    return current, then


def _charted(place: Place) -> Literal["water", "electricity"]:
    return "water" if place.service is Service.WATER else "electricity"


def _usage_keys(
    texts: Texts, mine: Sequence[tuple[Place, MeterFacts]], meter: MeterFacts, span: str
) -> Keyboard:
    spans = [
        Button(texts.plain(f"usage.key_{other}"), press("use", meter.id, other))
        for other in SPANS
        if other != span
    ]
    others = [
        [meter_key(texts, place, "use", other.id, span)]
        for place, other in mine[:OTHERS_SHOWN]
        if other.id != meter.id
    ]
    now = Button(
        texts.plain(f"quality.key_{quality.QUANTITY_OF[meter.service]}"), press("quality", meter.id)
    )
    row = [now]
    if meter.service is Service.WATER:
        row.append(Button(texts.plain("vacation.key"), press("away", meter.id)))
    return [spans, *others, row, [back_home(texts)]]


def _describe_use(
    texts: Texts, place: Place, uses: Sequence[Use], late: Use | None, *, span: str
) -> str:
    known = [(use.value, use.starts_date) for use in uses if use.value is not None]
    today = None if span == "year" else _describe_today(texts, place, uses[-1], late)
    if not known:
        said = texts.get(f"usage.nothing_{span}") if late is None else today
        return texts.lines([heading(texts, place), said])
    most, day = max(known)
    total = sum((value for value, _ in known), late.value or Decimal(0) if late else Decimal(0))
    said = texts.get(
        f"usage.said_{span}",
        total=texts.quantity(total, place.service),
        most=texts.quantity(most, place.service),
        when=texts.month(day) if span == "year" else texts.day(day),
    )
    return texts.lines([heading(texts, place), said, today])


def _describe_today(texts: Texts, place: Place, today: Use, late: Use | None) -> str:
    if late is not None and late.value is not None and late.since is not None:
        value = texts.quantity(late.value, place.service)
        return texts.get("usage.today_since", value=value, since=texts.moment(late.since))
    if today.value is None:
        return texts.get("usage.today_unknown")
    return texts.get("usage.today", value=texts.quantity(today.value, place.service))


def _holds_days_before(texts: Texts, use: Use) -> bool:
    """Tell whether the use of a day is also that of days before, which nobody read."""
    start = start_of_day(use.starts_date, zone=texts.zone)
    return use.value is not None and use.since is not None and start - use.since > DAY


def _describe_gaps(
    texts: Texts, uses: Sequence[Use], *, span: str, is_read_today: bool
) -> Iterable[str]:
    """Yield how many days or months nobody read: those counted later, and those open yet."""
    kind = "months" if span == "year" else "days"
    last = max(n for n, use in enumerate(uses) if use.value is not None)
    last = len(uses) - 1 if is_read_today else last
    for state, some in (("unknown", uses[:last]), ("open", uses[last + 1 : -1])):
        missing = sum(use.value is None for use in some)
        if missing:
            yield texts.count(f"usage.{state}_{kind}", missing)


def _describe_change(
    texts: Texts,
    place: Place,
    current: Decimal | None,
    then: Decimal | None,
    *,
    is_partly_known: bool,
) -> str:
    if then is None:
        key = "usage.before_partly" if is_partly_known else "usage.before_unknown"
        return texts.get(key)
    value = texts.quantity(then, place.service)
    if current is None or not then:
        return texts.get("usage.before", value=value)
    percents = (abs(current - then) / then).quantize(Decimal("0.01"))
    if not percents:
        return texts.get("usage.before", value=value)
    key = "usage.before_more" if current > then else "usage.before_less"
    return texts.get(key, value=value, share=texts.percent(percents))


def _bars(
    texts: Texts,
    uses: Sequence[Use],
    before: Sequence[Use],
    *,
    span: str,
    silent_since: datetime | None,
) -> list[Bar]:
    """Return a bar for each day or month; the month that was not read to its end is dashed."""
    bars = []
    silent_month = (
        None
        if silent_since is None or span != "year"
        else month_of(local_day(silent_since, zone=texts.zone)).starts
    )
    group = ""
    for use, then in zip(uses, before, strict=True):
        day = use.starts_date
        is_cut_short = day == silent_month
        shown = "" if use.value is None else texts.number(use.value, places_max=2)
        outer = str(day.year) if span == "year" else texts.month(day)
        bars.append(
            Bar(
                label=texts.month(day) if span == "year" else _day_label(day, span=span),
                value=use.value,
                text=f"{shown}?" if is_cut_short or use.value is None else shown,
                is_estimated=is_cut_short,
                group=outer if outer != group else "",
                before=then.value,
            )
        )
        group = outer
    return bars


def _day_label(day: date, *, span: str) -> str:
    return str(day.day) if span == "week" or day.day == 1 or day.day % LABELS_APART == 0 else ""


async def render_quality(
    session: AsyncSession, reader: Reader, params: dict[str, Any]
) -> Outgoing | None:
    """Return a meter's pressure or voltage of the last day as a line and in words."""
    mine = await service.list_meters_of(session, person_id=reader.person_id)
    place, meter = next((m for m in mine if m[1].id == params["meter_id"]), (None, None))
    if place is None or meter is None:
        return None
    texts = reader.texts
    now = await quality.current_quality(session, meter=meter, now=reader.now)
    steps = await quality.list_samples(
        session,
        meter=meter,
        quantity=now.quantity,
        since=reader.now - STEPS * STEP,
        step=STEP,
        steps=STEPS,
    )
    keyboard = [
        [Button(texts.plain("quality.key_again"), press("quality", meter.id))],
        [Button(texts.plain("usage.key"), press("use", meter.id, "month"))],
        [back_home(texts)],
    ]
    words = [heading(texts, place), describe_quality(texts, now), _describe_day(texts, now, steps)]
    if meter.supply in SWITCHED_OFF:
        words.insert(1, texts.get("quality.behind_a_cut"))

    def draw() -> bytes:
        return _draw_line(texts, now, steps, kind=_charted(place))

    is_known = any(step.mean is not None for step in steps)
    return Outgoing(
        text=texts.lines(words),
        keyboard=keyboard,
        photo=File(name="quality.png", make=draw) if is_known else None,
    )


def _draw_line(
    texts: Texts,
    now: Quality,
    steps: Sequence[Step],
    *,
    kind: Literal["water", "electricity"],
) -> bytes:
    unit = now.quantity.value

    def level(value: Decimal | None) -> Level | None:
        return None if value is None else Level(value=value, text=texts.number(value))

    return line_chart(
        language=texts.locale,
        service=kind,
        title=texts.plain(f"quality.title_{unit}"),
        unit=texts.unit(unit),
        points=[
            Point(
                label=texts.time(step.at),
                value=step.mean,
                text="" if step.mean is None else texts.number(step.mean, places_max=1),
            )
            for step in steps
        ],
        low=level(now.range.low),
        high=level(now.range.high),
    )


def describe_quality(texts: Texts, now: Quality) -> str:
    """Return how a quantity is now against its normal range, in plain words."""
    kind = now.quantity.value
    if now.value is None or now.taken_at is None:
        return texts.get(f"quality.{kind}_never")
    said = texts.get(
        f"quality.{kind}_{now.standing}",
        value=texts.quantity(now.value, kind, places_max=1),
        at=texts.moment(now.taken_at),
    )
    return texts.lines([said, _describe_range(texts, now)])


def _describe_range(texts: Texts, now: Quality) -> str | None:
    low, high = (
        None if bound is None else texts.quantity(bound, now.quantity.value, places_max=1)
        for bound in (now.range.low, now.range.high)
    )
    if low is not None and high is not None:
        return texts.get("quality.range", low=low, high=high)
    if low is not None:
        return texts.get("quality.range_low", low=low)
    return None if high is None else texts.get("quality.range_high", high=high)


def _describe_day(texts: Texts, now: Quality, steps: Sequence[Step]) -> str | None:
    lows = [step.lowest for step in steps if step.lowest is not None]
    highs = [step.highest for step in steps if step.highest is not None]
    if not lows:
        return None
    return texts.get(
        "quality.day",
        lowest=texts.quantity(min(lows), now.quantity.value, places_max=1),
        highest=texts.quantity(max(highs), now.quantity.value, places_max=1),
    )
