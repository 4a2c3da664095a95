"""What the names in a tariff's formulas stand for, for one customer and one bill. Pure."""

from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction
from typing import Final

from core.billing.formulas import NUMBER, Formula
from core.billing.tariff_model import REQUIRED, Interval, Lookup, TariffVersion
from core.errors import DomainError
from core.periods import Period

BILL_NAMES: Final = frozenset({"use", "days", "months", "month", "people"})
# Known within a short interval only: a price that uses one of them is worked out for each.
INTERVAL_NAMES: Final = frozenset({"market", "hour", "weekday"})


class AttributeMissing(DomainError):
    """The tariff needs to know something about the customer that is not known, or is no number."""

    code = "billing.attribute_missing"


class Names(dict[str, Fraction]):
    """
    The values of names, each worked out when it is first asked for.

    `use`, `days` and `months` (those touched) are of the whole bill, `month` is that of its last
    day; the others are the tariff's own values and attributes.
    """

    def __init__(
        self,
        version: TariffVersion,
        *,
        period: Period,
        use: Decimal,
        people: int,
        attributes: Mapping[str, str],
    ) -> None:
        super().__init__()
        self._version, self._attributes = version, attributes
        self._period, self._use, self._people = period, use, people

    def at(self, interval: Interval) -> "Names":
        """Return the values of all names within an interval."""
        self["market"] = Fraction(interval.market)
        self["hour"] = Fraction(interval.at.hour * 60 + interval.at.minute, 60)
        self["weekday"] = Fraction(interval.at.isoweekday())
        return self

    def __missing__(self, name: str) -> Fraction:
        self[name] = found = Fraction(self._find(name))
        return found

    def _find(self, name: str) -> Decimal | int:
        if name in BILL_NAMES:
            return self._of_bill()[name]
        value = self._version.values.get(name)
        if isinstance(value, Formula):
            return value.value(self)
        if isinstance(value, Lookup):
            if (written := self._attribute(value.by)) in value.table:
                return value.table[written]
        elif value is not None:
            return value
        elif NUMBER.fullmatch(written := self._attribute(name)):
            return Decimal(written)
        raise AttributeMissing(attribute=name, value=written)

    def _of_bill(self) -> Mapping[str, Decimal | int]:
        return {
            "use": self._use,
            "days": self._period.days,
            "months": self._period.months_touched,
            "month": self._period.last_day.month,
            "people": self._people,
        }

    def _attribute(self, name: str) -> str:
        written = self._attributes.get(name, self._version.attributes[name])
        if written == REQUIRED:
            raise AttributeMissing(attribute=name, value="")
        return written
