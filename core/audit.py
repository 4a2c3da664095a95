"""Who did what, when and why: append-only, readable by the person it is about."""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from core.db import Base, Id

ABOUT_READINGS = "action IN ('reading.accept', 'reading.correct')"


class AuditEntry(Base):
    """One act of a person or of the service itself (`actor_id` empty)."""

    __tablename__ = "audit_entries"
    __table_args__ = (
        Index(None, "subject", "id"),
        Index("ix_audit_entries_readings", "at", postgresql_where=text(ABOUT_READINGS)),
    )

    id: Mapped[Id]
    at: Mapped[datetime]
    actor_id: Mapped[int | None] = mapped_column(ForeignKey("people.id"))
    action: Mapped[str]
    subject: Mapped[str]
    details: Mapped[dict[str, Any]]


def record(
    session: AsyncSession,
    *,
    at: datetime,
    actor_id: int | None,
    action: str,
    subject: str,
    **details: object,
) -> None:
    """Add an entry about `subject`, written as its kind and number (`bill:W1001`)."""
    session.add(
        AuditEntry(at=at, actor_id=actor_id, action=action, subject=subject, details=details)
    )
