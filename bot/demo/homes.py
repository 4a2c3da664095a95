"""The homes of the demo's district, before they are in the database. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

from bot.demo import names
from bot.demo.cast import CAST, PREPAID, Player
from core.accounts.models import Service
from core.periods import local_day

ZONE = ZoneInfo("Asia/Shanghai")
BUILDINGS, FLOORS, FLATS = 2, 5, 3
FIRST_NUMBER = 10_001
HIGH_ZONE = (1, 0)  # street and building: on a hill, where pressure is low by nature
HIGH_ZONE_LIFT = -260
BEIJING_EVERY = 20  # one home in so many has the tariff with three yearly tiers
LONG_MONTHS, SHORT_MONTHS = 13, 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Home:
    """A home before it is in the database."""

    number: int
    street: int
    building: int
    floor: int
    flat: int
    player: Player | None

    @property
    def address(self) -> str:
        """The address as people write it."""
        return names.name_flat(self.street, self.building, self.floor * 100 + self.flat)

    @property
    def is_on_beijing(self) -> bool:
        """Whether its water is charged by Beijing's tariff."""
        return self.player is None and self.number % BEIJING_EVERY == 0

    @property
    def has_long_history(self) -> bool:
        """Whether more than a year of it is known."""
        return self.player is not None or self.is_on_beijing

    @property
    def people(self) -> int:
        """How many people live there."""
        return 5 if self.is_on_beijing else 1 + self.number * 7 % 5

    def pays_ahead(self, service: Service) -> bool:
        """Tell whether a service is prepaid."""
        return (self.player, service.value) in PREPAID

    def traits(self, service: Service) -> dict[str, Any]:
        """Return what makes the course of its meter."""
        lift = HIGH_ZONE_LIFT if (self.street, self.building) == HIGH_ZONE else 0
        told: dict[str, Any] = {"people": self.people}
        if service is Service.WATER:
            told |= {"floor": self.floor, "lift": lift}
        if self.is_on_beijing:
            told["thirst"] = 150
        if self.player is not None:
            water = service is Service.WATER
            told["recorded"] = self.player.water if water else self.player.energy
        return told


def homes() -> Iterator[Home]:
    """Yield all homes of the district."""
    players = {player.home: player for player in CAST if player.home}
    number = FIRST_NUMBER
    for street in range(len(names.STREETS)):
        for building in range(BUILDINGS):
            for floor in range(1, FLOORS + 1):
                for flat in range(1, FLATS + 1):
                    place = (street, building, floor, flat)
                    yield Home(
                        number=number,
                        street=street,
                        building=building,
                        floor=floor,
                        flat=flat,
                        player=players.get(place),
                    )
                    number += 1


def first_day(home: Home, *, now: datetime) -> date:
    """Return the day from which a home is supplied: the first of a month that begins a bill."""
    today = local_day(now, zone=ZONE)
    back = LONG_MONTHS if home.has_long_history else SHORT_MONTHS
    month = today.year * 12 + today.month - 1 - back
    year, number = divmod(month - month % 2, 12)
    return date(year, number + 1, 1)


def tariff_of(home: Home, service: Service) -> str:
    """Return the code of the tariff by which a service is charged at a home."""
    if service is Service.ELECTRICITY:
        return "anhui-electricity"
    return "beijing-water" if home.is_on_beijing else "hefei-water"
