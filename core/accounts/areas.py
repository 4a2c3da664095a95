"""The area tree: finding a street, a building, a riser."""

from collections.abc import Iterable, Sequence
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


async def find_area_at(session: AsyncSession, *, names: Sequence[str]) -> int:
    """
    Return the id of the area at the end of a way of names, the first of them at the top.

    Raises:
        AreaNotFound: there is none.
    """
    parent_id: int | None = None
    for name in names:
        parent_id = await session.scalar(
            select(Area.id)
            .where(Area.parent_id.is_not_distinct_from(parent_id), Area.name == name)
            .order_by(Area.id)
            .limit(1)
        )
        if parent_id is None:
            raise AreaNotFound(area=name)
    if parent_id is None:
        raise AreaNotFound(area="")
    return parent_id


class AreaTree:
    """The whole area tree, which grows where a way leads on."""

    def __init__(self, session: AsyncSession, areas: Iterable[Area]) -> None:
        self._session = session
        self._paths = {area.id: area.path for area in areas}
        self._by_name = {(area.parent_id, area.kind, area.name): area.id for area in areas}

    @classmethod
    async def load(cls, session: AsyncSession) -> "AreaTree":
        """Return the tree as it is; of areas with one name and place the oldest counts."""
        return cls(session, (await session.scalars(select(Area).order_by(Area.id.desc()))).all())

    async def below(self, parent_id: int | None, *way: tuple[AreaKind, str]) -> int | None:
        """Return the area at the end of a way down from another one, or from the top."""
        for kind, name in way:
            key = (parent_id, kind, name)
            if key not in self._by_name:
                area = Area(kind=kind, name=name, parent_id=parent_id, path="")
                self._session.add(area)
                await self._session.flush()
                area.path = f"{'/' if parent_id is None else self._paths[parent_id]}{area.id}/"
                self._paths[area.id], self._by_name[key] = area.path, area.id
            parent_id = self._by_name[key]
        return parent_id
