"""Half-open periods of local days, and the way from a moment to its local day."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from fractions import Fraction
from functools import lru_cache
from zoneinfo import ZoneInfo

from core.errors import DomainError


class EmptyPeriod(DomainError):
    """A period must end after it starts."""

    code = "period.empty"


class DayOutsidePeriod(DomainError):
    """The period cannot be split at a day that is not inside it."""

    code = "period.day_outside"


@dataclass(frozen=True, slots=True, order=True)
class Period:
    """
    The local days from `starts` up to and without `ends`.

    So the day of the previous reading counts in and the day of the current reading counts out.

    Raises:
        EmptyPeriod: `ends` is not after `starts`.
    """

    starts: date
    ends: date

    def __post_init__(self) -> None:
        if self.ends <= self.starts:
            raise EmptyPeriod(starts=self.starts, ends=self.ends)

    @property
    def days(self) -> int:
        """How many days the period has, at least one."""
        return (self.ends - self.starts).days

    @property
    def last_day(self) -> date:
        """The last day that is inside."""
        return self.ends - timedelta(days=1)

    @property
    def months(self) -> Fraction:
        """The length in calendar months, each day counting as its share of its own month."""
        length, day = Fraction(0), self.starts
        while day < self.ends:
            month = month_of(day)
            until = min(month.ends, self.ends)
            length += Fraction((until - day).days, month.days)
            day = until
        return length

    @property
    def months_touched(self) -> int:
        """The number of calendar months with a day in the period: a part counts as a whole."""
        return _month_number(self.last_day) - _month_number(self.starts) + 1

    def contains(self, day: date) -> bool:
        """Return whether the day is inside."""
        return self.starts <= day < self.ends

    def overlaps(self, other: "Period") -> bool:
        """Return whether the two periods share a day."""
        return self.starts < other.ends and other.starts < self.ends

    def split_at(self, day: date) -> tuple["Period", "Period"]:
        """
        Return the part before the day and the part that starts with it.

        Raises:
            DayOutsidePeriod: one of the parts would have no day.
        """
        if not self.starts < day < self.ends:
            raise DayOutsidePeriod(day=day, starts=self.starts, ends=self.ends)
        return Period(self.starts, day), Period(day, self.ends)


def _month_number(day: date) -> int:
    return day.year * 12 + day.month - 1


def _first_of(month_number: int) -> date:
    return date(month_number // 12, month_number % 12 + 1, 1)


@lru_cache(maxsize=1024)
def month_of(day: date) -> Period:
    """Return the calendar month around the day."""
    number = _month_number(day)
    return Period(_first_of(number), _first_of(number + 1))


def bimonth_of(day: date, *, first_month: int = 1) -> Period:
    """Return the two months around the day; pairs start with `first_month`, so 1 is Jan and Feb."""
    number = _month_number(day)
    number -= (number + 1 - first_month) % 2
    return Period(_first_of(number), _first_of(number + 2))


@lru_cache(maxsize=1024)
def year_of(day: date, *, first_month: int = 1, first_day: int = 1) -> Period:
    """
    Return the year around the day, for years that start on this day of this month.

    Units:
        `first_day`: 1 to 28, a day that every year has.
    """
    starts = date(day.year, first_month, first_day)
    if day < starts:
        starts = starts.replace(year=day.year - 1)
    return Period(starts, starts.replace(year=starts.year + 1))


def a_year_before(day: date) -> date:
    """Return the same day of the year before; for a leap day the one before it."""
    return day.replace(year=day.year - 1, day=28 if (day.month, day.day) == (2, 29) else day.day)


def local_day(moment: datetime, *, zone: ZoneInfo) -> date:
    """
    Return the day that the calendar in the zone shows at this moment.

    Raises:
        ValueError: the moment has no time zone.
    """
    if moment.tzinfo is None:
        raise ValueError(f"a moment needs a time zone: {moment}")
    return moment.astimezone(zone).date()


@lru_cache(maxsize=1024)
def start_of_day(day: date, *, zone: ZoneInfo) -> datetime:
    """Return the first moment of the local day, in UTC, whatever the clocks do that night."""
    return datetime.combine(day, time.min, tzinfo=zone).astimezone(UTC)
