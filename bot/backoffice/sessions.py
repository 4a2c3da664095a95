"""Signing in to the back office: a link that the chat gives opens one session, once."""

import hashlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, ForeignKey, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from bot.context import Reader, Render
from bot.outgoing import Outgoing
from core import audit
from core.accounts.models import Person, Role, Staff
from core.db import Base, Id

TOKEN_BYTES = 16
LINK_LIFE = timedelta(minutes=10)
SESSION_LIFE = timedelta(hours=12)


class OfficeSession(Base):
    """A link that was given to a manager and the session that it opened; only hashes are kept."""

    __tablename__ = "office_sessions"

    id: Mapped[Id]
    person_id: Mapped[int] = mapped_column(ForeignKey("people.id"), index=True)
    link_hash: Mapped[str] = mapped_column(unique=True)
    link_expires_at: Mapped[datetime]
    token_hash: Mapped[str | None] = mapped_column(unique=True)
    opened_at: Mapped[datetime | None]
    expires_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Visitor:
    """The manager behind a link or a session."""

    person_id: int
    name: str
    locale: str


async def issue_link(session: AsyncSession, *, person_id: int, now: datetime) -> str:
    """Return the token of a new link; it is shown once, only its hash is kept."""
    token = secrets.token_urlsafe(TOKEN_BYTES)
    session.add(
        OfficeSession(
            person_id=person_id, link_hash=_hashed(token), link_expires_at=now + LINK_LIFE
        )
    )
    await session.flush()
    return token


async def find_invited(session: AsyncSession, *, token: str, now: datetime) -> Visitor | None:
    """Return the manager to whom a link was given, while it can still be used."""
    return await _find_manager(session, *_usable(token, now))


async def open_session(session: AsyncSession, *, token: str, now: datetime) -> str | None:
    """
    Use up a link and return the secret of the session that it opens.

    Of two that use the same link at the same moment one gets the session, the other nothing.
    """
    invited = await find_invited(session, token=token, now=now)
    secret = secrets.token_urlsafe(TOKEN_BYTES)
    opened = await session.scalar(
        update(OfficeSession)
        .where(*_usable(token, now))
        .values(token_hash=_hashed(secret), opened_at=now, expires_at=now + SESSION_LIFE)
        .returning(OfficeSession.person_id)
    )
    if invited is None or opened is None:
        return None
    subject = f"person:{opened}"
    audit.record(session, at=now, actor_id=opened, action="office.opened", subject=subject)
    return secret


async def find_visitor(session: AsyncSession, *, secret: str, now: datetime) -> Visitor | None:
    """Return whose session it is, as long as it runs and the person is a manager."""
    return await _find_manager(
        session,
        OfficeSession.token_hash == _hashed(secret),
        OfficeSession.expires_at > now,
        OfficeSession.ended_at.is_(None),
    )


async def end_session(session: AsyncSession, *, secret: str, now: datetime) -> None:
    """End a session for good."""
    await session.execute(
        update(OfficeSession)
        .where(OfficeSession.token_hash == _hashed(secret), OfficeSession.ended_at.is_(None))
        .values(ended_at=now)
    )


def _usable(token: str, now: datetime) -> tuple[ColumnElement[bool], ...]:
    return (
        OfficeSession.link_hash == _hashed(token),
        OfficeSession.link_expires_at > now,
        OfficeSession.opened_at.is_(None),
    )


async def _find_manager(session: AsyncSession, *conditions: ColumnElement[bool]) -> Visitor | None:
    person = await session.scalar(
        select(Person)
        .join(OfficeSession, OfficeSession.person_id == Person.id)
        .join(Staff, (Staff.person_id == Person.id) & (Staff.role == Role.MANAGER))
        .where(*conditions)
    )
    if person is None:
        return None
    return Visitor(person_id=person.id, name=person.name, locale=person.locale)


def _hashed(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def link_renderer(base_url: Callable[[], str]) -> Render:
    """Return what makes the message with the link when it is sent, so that no row holds it."""

    async def render(
        session: AsyncSession, reader: Reader, _params: dict[str, Any]
    ) -> Outgoing | None:
        if Role.MANAGER not in reader.roles:
            return None
        token = await issue_link(session, person_id=reader.person_id, now=reader.now)
        link = f"{base_url().rstrip('/')}/office/enter?token={token}"
        return Outgoing(text=reader.texts.get("office.link", link=link))

    return render
