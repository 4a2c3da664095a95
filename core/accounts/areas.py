"""The area tree: finding a street, a building, a riser."""

from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from core.accounts.models import Area, AreaKind
from core.errors import DomainError

FOUND_MAX = 50


class AreaNotFound(DomainError):
    """There is no such area."""

    code = "area.not_found"


@dataclass(frozen=True, slots=True, kw_only=True)
class AreaView:
    """An area with its place in the tree; `full_name` names its building too."""

    id: int
    parent_id: int | None
    kind: AreaKind
    name: str
    full_name: str


async def get_area(session: AsyncSession, *, area_id: int) -> AreaView:
    """
    Return an area.

    Raises:
        AreaNotFound: there is none with this id.
    """
    area = await session.get(Area, area_id)
    if area is None:
        raise AreaNotFound(area=area_id)
    return await _view(session, area)


async def find_areas(
    session: AsyncSession, *, name: str = "", parent_id: int | None = None
) -> list[AreaView]:
    """Return areas whose name holds some words (any case), or those right below another."""
    query = select(Area).order_by(Area.path).limit(FOUND_MAX)
    if name:
        query = query.where(func.lower(Area.name).contains(name.lower(), autoescape=True))
    else:
        query = query.where(Area.parent_id.is_not_distinct_from(parent_id))
    return [await _view(session, area) for area in await session.scalars(query)]


async def _view(session: AsyncSession, area: Area) -> AreaView:
    ids = [int(part) for part in area.path.strip("/").split("/")]
    rows = await session.execute(select(Area.id, Area.name).where(Area.id.in_(ids)))
    names = {row.id: row.name for row in rows}
    return AreaView(
        id=area.id,
        parent_id=area.parent_id,
        kind=area.kind,
        name=area.name,
        full_name=" · ".join(names[part] for part in ids[1:] or ids),
    )
