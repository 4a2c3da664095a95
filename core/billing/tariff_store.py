"""Tariffs in the database: each dated version as its file said it when it was loaded."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from hashlib import sha256
from importlib.resources import files

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from core.accounts.models import Service
from core.billing import models
from core.billing.tariff_files import parse_tariff, require_named
from core.billing.tariff_model import Mark, Tariff, TariffVersion, version_on
from core.errors import DomainError


class TariffAlreadyBilled(DomainError):
    """Bills were made by this version, so it never changes: a new price needs a new version."""

    code = "billing.tariff_already_billed"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StoredTariff:
    """A tariff with the rows of its versions, in the same order, the earliest first."""

    tariff: Tariff
    rows: Sequence[models.TariffVersion]


def shipped_contents(*, currency: str | None = None) -> dict[str, bytes]:
    """Return the tariff files that come with the program, by name, or those in one currency."""
    folder = files("core.billing") / "tariffs"
    shipped = sorted(file.name for file in folder.iterdir() if file.name.endswith(".toml"))
    contents = {name: (folder / name).read_bytes() for name in shipped}
    return {
        name: content
        for name, content in contents.items()
        if currency in (None, parse_tariff(content, file=name).versions[-1].currency)
    }


async def load_tariffs(session: AsyncSession, *, contents: Mapping[str, bytes]) -> list[str]:
    """
    Store the versions in tariff files, given by file name, and return what was new or changed.

    A version that priced a bill keeps its content for ever; only its last day may become known.

    Raises:
        TariffRefused: a file is wrong, or not named for its tariff's code.
        TariffAlreadyBilled: a file changes a version by which bills were made.
    """
    changed = []
    for name, content in contents.items():
        tariff = parse_tariff(content, file=name)
        require_named(tariff, file=name)
        changed += [
            f"{tariff.code} {version.valid_from}"
            for version in tariff.versions
            if await _store(session, tariff, version, content)
        ]
    await session.flush()
    return changed


async def _store(
    session: AsyncSession, tariff: Tariff, version: TariffVersion, content: bytes
) -> bool:
    row = await session.scalar(
        select(models.TariffVersion).where(
            models.TariffVersion.code == tariff.code,
            models.TariffVersion.valid_from == version.valid_from,
        )
    )
    digest = sha256(content).hexdigest()
    if row is None:
        session.add(
            models.TariffVersion(
                code=tariff.code,
                service=Service(tariff.service),
                valid_from=version.valid_from,
                valid_to=version.valid_to,
                sha256=digest,
                source=version.source,
                content=content.decode(),
            )
        )
        return True
    if row.sha256 == digest:
        return False
    # A bill over a change of prices names every version in its inputs.
    billed = await session.scalar(
        select(models.Bill.id)
        .where(models.Bill.inputs["tariff"].contains([{"id": row.id}]))
        .limit(1)
    )
    if billed is None:
        row.sha256, row.content, row.source = digest, content.decode(), version.source
    elif _prices(read_version(row)) != _prices(version):
        raise TariffAlreadyBilled(tariff=tariff.code, valid_from=version.valid_from)
    moved = row.valid_to != version.valid_to
    row.valid_to = version.valid_to
    return billed is None or moved


def _prices(version: TariffVersion) -> TariffVersion:
    return replace(version, valid_to=None, examples=(), source="", to_check=(), mark=Mark.CHECKED)


@lru_cache(maxsize=256)
def _parse(digest: str, content: str) -> Tariff:
    return parse_tariff(content.encode(), file=f"stored {digest[:12]}")


def read_version(row: models.TariffVersion) -> TariffVersion:
    """Return the version that a row holds, ending when the row says."""
    versions = _parse(row.sha256, row.content).versions
    return replace(version_on(versions, row.valid_from), valid_to=row.valid_to)


async def get_tariffs(session: AsyncSession, *, codes: Sequence[str]) -> dict[str, StoredTariff]:
    """Return the stored tariffs with these codes; the names are those of the latest version."""
    rows = await session.scalars(
        select(models.TariffVersion)
        .where(models.TariffVersion.code.in_(set(codes)))
        .order_by(models.TariffVersion.code, models.TariffVersion.valid_from)
    )
    by_code: dict[str, list[models.TariffVersion]] = {}
    for row in rows:
        by_code.setdefault(row.code, []).append(row)
    return {
        code: StoredTariff(
            tariff=replace(
                _parse(found[-1].sha256, found[-1].content),
                versions=tuple(read_version(row) for row in found),
            ),
            rows=found,
        )
        for code, found in by_code.items()
    }


async def list_codes(session: AsyncSession) -> dict[str, Service]:
    """Return the service of each stored tariff, by its code."""
    rows = await session.execute(select(models.TariffVersion.code, models.TariffVersion.service))
    return {row.code: row.service for row in rows}
