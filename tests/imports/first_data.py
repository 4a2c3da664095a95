"""The example files, what the database holds of them, and ways to change and import them."""

import csv
from collections.abc import Sequence
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path

from bot.import_commands import list_faults
from bot.imports import Imported, import_file
from bot.tables import read_table
from bot.texts import LOCALES, Texts
from core.db import Database
from tests.billing.books import ask

NOW = datetime(2026, 11, 2, 4, 0, tzinfo=UTC)
EXAMPLES = Path(__file__).parents[2] / "docs" / "import"
KINDS = ("accounts", "meters", "readings")
ACCOUNTS, METERS, READINGS = (read_table((EXAMPLES / f"{kind}.csv").read_bytes()) for kind in KINDS)
STATE = {
    "areas": """SELECT a.kind, a.name, p.name FROM shuidian.areas a
        LEFT JOIN shuidian.areas p ON p.id = a.parent_id""",
    "premises": """SELECT h.address, h.household_size, a.name, a.kind, b.name
        FROM shuidian.premises h JOIN shuidian.areas a ON a.id = h.area_id
        LEFT JOIN shuidian.areas b ON b.id = a.parent_id""",
    "agreements": """SELECT c.number, c.holder_name, h.address, s.service, s.customer_class,
        a.name, g.tariff_code, g.starts_date, g.ends_date FROM shuidian.agreements g
        JOIN shuidian.accounts c ON c.id = g.account_id
        JOIN shuidian.service_points s ON s.id = g.service_point_id
        JOIN shuidian.premises h ON h.id = s.premise_id AND h.id = c.premise_id
        JOIN shuidian.areas a ON a.id = s.area_id""",
    "people": """SELECT c.number, p.name, p.phone, p.locale, r."right"
        FROM shuidian.people p LEFT JOIN shuidian.account_rights r ON r.person_id = p.id
        LEFT JOIN shuidian.accounts c ON c.id = r.account_id""",
    "meters": """SELECT m.serial, c.number, m.digits, m.multiplier, m.ceiling, m.installed_at,
        k.name, m.device, m.switchable FROM shuidian.meters m
        JOIN shuidian.agreements g ON g.service_point_id = m.service_point_id
        JOIN shuidian.accounts c ON c.id = g.account_id
        LEFT JOIN shuidian.api_keys k ON k.id = m.gateway_id""",
    "readings": """SELECT m.serial, r.register, r.taken_at, r.value, r.source, r.status
        FROM shuidian.readings r JOIN shuidian.meters m ON m.id = r.meter_id""",
    "audit": "SELECT action, subject, details FROM shuidian.audit_entries",
}


def table(rows: Sequence[Sequence[object]], delimiter: str = ",") -> bytes:
    written = StringIO()
    csv.writer(written, delimiter=delimiter).writerows(rows)
    return written.getvalue().encode()


def changed(rows: Sequence[Sequence[object]], row: int, **cells: object) -> list[list[object]]:
    """Return a table in which some cells of a row, counted as in the file, are others."""
    names = [str(name).replace(" ", "_") for name in rows[0]]
    made = [list(each) for each in rows]
    for name, cell in cells.items():
        made[row - 1][names.index(name)] = cell
    return made


async def bring(
    database: Database, kind: str, rows: Sequence[Sequence[object]] | bytes, *, dry: bool = False
) -> Imported:
    content = rows if isinstance(rows, bytes) else table(rows)
    return await import_file(database, kind=kind, content=content, is_dry_run=dry, now=NOW)


async def bring_all(database: Database) -> None:
    for kind, rows in zip(KINDS, (ACCOUNTS, METERS, READINGS), strict=True):
        done = await bring(database, kind, rows)
        assert done.outcome.faults == []


async def state(database: Database) -> dict[str, list[str]]:
    return {name: sorted(map(repr, await ask(database, sql))) for name, sql in STATE.items()}


def counts(done: Imported) -> tuple[int, int, int]:
    return done.outcome.new, done.outcome.changed, done.outcome.unchanged


def faults(done: Imported) -> list[tuple[int, str, str]]:
    """Return the faults of a file, each of which can be told in every language."""
    assert not done.is_kept
    for locale in LOCALES:
        texts = Texts(locale, timezone="Asia/Shanghai", currency="CNY")
        assert list_faults(done, texts)
        assert [each for each in done.outcome.faults if not texts.knows(each.code)] == []
    return [(each.position, each.field, each.code) for each in done.outcome.faults]
