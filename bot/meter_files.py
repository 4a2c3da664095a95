"""Files that meters and utilities write: DSMR P1 telegrams and Green Button, into the database."""

import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from itertools import groupby
from typing import Final, NamedTuple

from sqlalchemy.ext.asyncio import AsyncSession

from bot.gateway.decode import Measured, Refusal
from bot.gateway.green_button import read_green_button
from bot.gateway.p1 import read_telegram
from bot.gateway.units import SERVICE_OF, What
from bot.imports import Imported, all_or_nothing
from core.accounts.models import Service
from core.db import Database
from core.errors import DomainError
from core.importing import Fault, Outcome, among
from core.monitoring.imports import import_readings
from core.monitoring.ingest import NewReading
from core.monitoring.models import Meter
from core.monitoring.ranges import find_meters
from core.monitoring.service import TOTAL

_TELEGRAM: Final = re.compile(rb"^/.*?^![0-9A-F]{0,4}", re.DOTALL | re.MULTILINE)
_REGISTERS: Final = frozenset({What.ENERGY, What.VOLUME})


class _Row(NamedTuple):
    """What stands at a place of a file."""

    position: int
    measured: Measured

    @property
    def service(self) -> Service:
        """What was measured."""
        return SERVICE_OF[self.measured.what]

    def as_reading(self) -> NewReading:
        """Return it as a reading."""
        device, value = self.measured.device, Decimal(str(self.measured.value))
        at, register = self.measured.taken_at, self.measured.register
        return NewReading(self.position, device, register, at, value)


class NoTelegram(DomainError):
    """There is no P1 telegram in this file."""

    code = "import.no_telegram"


class NotGreenButton(DomainError):
    """The file is no Green Button file, or has no use in it."""

    code = "import.not_green_button"


async def import_telegrams(
    database: Database,
    *,
    content: bytes,
    meter: str,
    is_total: bool,
    is_dry_run: bool,
    now: datetime,
) -> Imported:
    """
    Store the registers in a file of P1 telegrams, all of it or nothing.

    With a `meter` only that one's; with `is_total` the tariffs' registers as one, their sum. A
    fault is told with the number of its telegram.

    Raises:
        NoTelegram: it is no such file.
    """
    found_rows: list[_Row] = []
    faults: list[Fault] = []
    for position, telegram in enumerate(_TELEGRAM.findall(content.replace(b"\r\n", b"\n")), 1):
        found = read_telegram(telegram.replace(b"\n", b"\r\n"))
        if isinstance(found, Refusal):
            faults.append(Fault(position, "", f"import.{found.code}", {}))
            continue
        wanted = (each for each in found if meter in ("", each.device))
        counted = _counted(wanted, is_total=is_total)
        found_rows += [_Row(position, each) for each in counted]
    if not found_rows and not faults:
        raise NoTelegram
    return await _store(database, found_rows, faults, is_dry_run=is_dry_run, now=now)


def _counted(measured: Iterable[Measured], *, is_total: bool) -> Iterator[Measured]:
    """Yield registers that count nothing twice: those of the tariffs, or what they are together."""
    registers = (each for each in measured if each.what in _REGISTERS)
    for _, group in groupby(registers, key=lambda each: (each.device, each.taken_at)):
        shown = list(group)
        parts = [each for each in shown if each.register != TOTAL]
        whole = [each for each in shown if each.register == TOTAL]
        if parts and is_total and not whole:
            values = [Decimal(str(each.value)) for each in parts]
            whole = [parts[0]._replace(register=TOTAL, value=sum(values, Decimal(0)))]
        yield from whole if is_total or not parts else parts


async def import_green_button(
    database: Database,
    *,
    content: bytes,
    meter: str,
    start: Decimal,
    is_dry_run: bool,
    now: datetime,
) -> Imported:
    """
    Store the use in a Green Button file as the register of a meter, all of it or nothing.

    A fault is told with the number of its reading.

    Units: `start` is what the register showed before the first interval.

    Raises:
        NotGreenButton: it is no such file.
    """
    found = read_green_button(content, device=meter, start=start)
    if isinstance(found, Refusal):
        raise NotGreenButton
    rows = [_Row(position, each) for position, each in enumerate(found, 1)]
    return await _store(database, rows, [], is_dry_run=is_dry_run, now=now)


async def _store(
    database: Database,
    rows: list[_Row],
    faults: list[Fault],
    *,
    is_dry_run: bool,
    now: datetime,
) -> Imported:
    async def store(session: AsyncSession) -> Outcome:
        services = await _find_services(session, {row.measured.device for row in rows})
        wrong = [
            Fault(row.position, "serial", "import.wrong_service", {"value": row.measured.device})
            for row in rows
            if services.get(row.measured.device, row.service) is not row.service
        ]
        if wrong:
            return Outcome(faults=[*faults, *wrong])
        outcome = await import_readings(session, [row.as_reading() for row in rows], now=now)
        return replace(outcome, faults=[*faults, *outcome.faults])

    return await all_or_nothing(database, store, columns={}, is_dry_run=is_dry_run)


async def _find_services(session: AsyncSession, serials: Collection[str]) -> dict[str, Service]:
    found = await find_meters(session, among(Meter.serial, serials))
    return {meter.serial: meter.service for meter in found}
