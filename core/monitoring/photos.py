"""Photos of dials, each kept beside the reading that it shows."""

from collections.abc import Iterable

from sqlalchemy import ColumnElement, and_, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from core.db import lock_for_transaction
from core.monitoring.models import ReadingPhoto
from core.monitoring.rows import Key

PHOTOS_MAX = 5
PRINTED = ("image/jpeg", "image/png")


async def add_photo(session: AsyncSession, *, key: Key, channel_ref: str) -> bool:
    """Keep a photo beside a reading; tell whether it is kept, as more than a few are not."""
    await lock_for_transaction(session, f"photos:{key.meter_id}")
    known = await session.scalar(select(func.count()).select_from(ReadingPhoto).where(*_of(key)))
    if (known or 0) >= PHOTOS_MAX:
        return False
    session.add(
        ReadingPhoto(
            meter_id=key.meter_id,
            register=key.name,
            taken_at=key.taken_at,
            channel_ref=channel_ref,
            media_type="",
        )
    )
    await session.flush()
    return True


def _of(key: Key) -> tuple[ColumnElement[bool], ...]:
    return (
        ReadingPhoto.meter_id == key.meter_id,
        ReadingPhoto.register == key.name,
        ReadingPhoto.taken_at == key.taken_at,
    )


async def list_photos(session: AsyncSession, *, key: Key) -> list[int]:
    """Return the photos of a reading, the oldest first."""
    found = select(ReadingPhoto.id).where(*_of(key)).order_by(ReadingPhoto.id)
    return list(await session.scalars(found))


async def find_picture(
    session: AsyncSession, *, keys: Iterable[Key], bytes_max: int
) -> bytes | None:
    """Return the newest photo that was fetched of any of these readings, if it is not too big."""
    picture: bytes | None = await session.scalar(
        select(ReadingPhoto.content)
        .where(
            or_(*(and_(*_of(key)) for key in keys)),
            ReadingPhoto.media_type.in_(PRINTED),
            func.length(ReadingPhoto.content) <= bytes_max,
        )
        .order_by(ReadingPhoto.id.desc())
        .limit(1)
    )
    return picture


async def get_photo(session: AsyncSession, *, photo_id: int) -> ReadingPhoto | None:
    """Return a photo as the channel knows it and, once it was fetched, as bytes."""
    return await session.get(ReadingPhoto, photo_id)
