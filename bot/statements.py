"""Bank statements into the books, from the command line or the office, and what came of them."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from zoneinfo import ZoneInfo

from sqlalchemy.ext.asyncio import AsyncSession

from bot.bank_files import read_statement
from bot.imports import Imported, all_or_nothing
from bot.texts import Texts
from core.accounts.service import get_operator
from core.billing import statements
from core.db import Database
from core.importing import Fault, Outcome

FAULTS_SHOWN = 20
LINES_SHOWN = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Posted:
    """What became of a statement; `out` counts its lines of money that went out."""

    imported: Imported
    out: int
    is_dry_run: bool


async def import_statement(
    database: Database,
    *,
    content: bytes,
    columns: Mapping[str, str],
    is_dry_run: bool,
    now: datetime,
) -> Posted:
    """
    Take in a statement, all of it or nothing; what is not sure waits in suspense.

    Raises:
        FileNotReadable, ColumnsNotFound: it is no statement that we can read.
    """
    async with database.transaction() as session:
        operator = await get_operator(session)
    statement = read_statement(
        content,
        zone=ZoneInfo(operator.timezone),
        currency=operator.currency,
        columns=columns,
    )

    async def store(session: AsyncSession) -> Outcome:
        outcome = await statements.receive_statement(session, statement.lines, now=now)
        return replace(outcome, faults=[*statement.faults, *outcome.faults])

    imported = await all_or_nothing(database, store, columns={}, is_dry_run=is_dry_run)
    return Posted(imported=imported, out=statement.out, is_dry_run=is_dry_run)


def describe(posted: Posted, texts: Texts) -> list[str]:
    """Return what became of a statement, line by line."""
    outcome = posted.imported.outcome
    if outcome.faults:
        faults = [
            texts.plain(
                "import.fault_in_file",
                row=fault.position,
                column=fault.field,
                why=texts.plain(
                    fault.code, **{name: texts.value(value) for name, value in fault.params.items()}
                ),
            )
            for fault in outcome.faults[:FAULTS_SHOWN]
        ]
        return [texts.count("statement.refused", len(outcome.faults)), *faults]
    counts = {
        "statement.posted": outcome.new,
        "statement.waits": outcome.held,
        "statement.known": outcome.unchanged,
        "statement.out": posted.out,
    }
    lines = [texts.count(key, count) for key, count in counts.items() if count]
    lines += [_line_words(texts, note) for note in outcome.notes[:LINES_SHOWN]]
    if len(outcome.notes) > LINES_SHOWN:
        lines.append(texts.count("statement.more_lines", len(outcome.notes) - LINES_SHOWN))
    return [*lines, *([texts.plain("import.dry_run")] if posted.is_dry_run else [])]


def _line_words(texts: Texts, note: Fault) -> str:
    """Return where the money of a line goes, or why it waits."""
    told = {name: texts.value(value) for name, value in note.params.items()}
    if not note.field:
        return texts.plain(note.code, row=note.position, **told)
    return texts.plain(
        "statement.line_waits", row=note.position, why=texts.plain(note.code), **told
    )
