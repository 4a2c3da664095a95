"""Conversations kept as rows: what a contact was asked, and what they said so far."""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ForeignKey, delete
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from core.db import Base

LIFE = timedelta(days=2)


class Dialogue(Base):
    """The open question to a contact; any replica can take the answer."""

    __tablename__ = "dialogues"

    contact_id: Mapped[int] = mapped_column(ForeignKey("contacts.id"), primary_key=True)
    step: Mapped[str]
    draft: Mapped[dict[str, Any]]
    version: Mapped[int]
    expires_at: Mapped[datetime]


async def find(session: AsyncSession, *, contact_id: int, now: datetime) -> Dialogue | None:
    """Return the open dialogue of a contact, locked; an expired one is forgotten."""
    dialogue = await session.get(Dialogue, contact_id, with_for_update=True)
    if dialogue is None or dialogue.expires_at > now:
        return dialogue
    await session.delete(dialogue)
    return None


async def ask(
    session: AsyncSession, *, contact_id: int, step: str, draft: dict[str, Any], now: datetime
) -> None:
    """Open or move a contact's dialogue to a step."""
    values = {"step": step, "draft": draft, "expires_at": now + LIFE}
    await session.execute(
        insert(Dialogue)
        .values(contact_id=contact_id, version=1, **values)
        .on_conflict_do_update(
            index_elements=["contact_id"], set_={**values, "version": Dialogue.version + 1}
        )
    )


async def end(session: AsyncSession, *, contact_id: int) -> bool:
    """Close a contact's dialogue; tell whether there was one."""
    ended = await session.execute(
        delete(Dialogue).where(Dialogue.contact_id == contact_id).returning(Dialogue.contact_id)
    )
    return ended.first() is not None
