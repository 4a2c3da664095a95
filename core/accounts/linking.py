"""Linking a chat to an account or a staff role by a single-use code from paper or a link."""

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete, exists, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from core import audit
from core.accounts.models import (
    Account,
    AccountRight,
    Contact,
    Invitation,
    Person,
    Premise,
    Right,
    Role,
    Staff,
)
from core.errors import DomainError

# No letter or digit that is easily taken for another; 13 of these 31 hold 64 bits.
ALPHABET = "23456789ABCDEFGHJKMNPQRSTUVWXYZ"
CODE_LENGTH = 13
LIFE = timedelta(days=60)
FAILURES_MAX = 5
FAILURES_WITHIN = timedelta(hours=1)


class CodeNotValid(DomainError):
    """The code is unknown, used, or too old; all three answer the same."""

    code = "link.not_valid"


class TooManyTries(DomainError):
    """This chat has typed too many wrong codes within the hour."""

    code = "link.too_many"


@dataclass(frozen=True, slots=True, kw_only=True)
class Invited:
    """What a code offers; the address is masked until the person has accepted."""

    invitation_id: int
    account_number: str | None
    masked_address: str | None
    role: Role | None


async def invite(
    session: AsyncSession,
    *,
    now: datetime,
    account_id: int | None = None,
    right: Right | None = None,
    role: Role | None = None,
    person_id: int | None = None,
) -> str:
    """
    Return a new single-use code for an account or a role; it is shown once and kept as a hash.

    With `person_id` the chat that uses it becomes one more contact of that person.
    """
    code = "".join(secrets.choice(ALPHABET) for _ in range(CODE_LENGTH))
    session.add(
        Invitation(
            code_hash=_hashed(code),
            account_id=account_id,
            right=right,
            role=role,
            person_id=person_id,
            created_at=now,
            expires_at=now + LIFE,
        )
    )
    await session.flush()
    return code


async def find_invitation(
    session: AsyncSession, *, code: str, contact_id: int, now: datetime
) -> Invited | None:
    """
    Return what a typed code offers, or nothing; wrong codes are counted per chat.

    Raises:
        TooManyTries: the chat has used up its tries for this hour.
    """
    subject = f"contact:{contact_id}"
    failures = await session.scalar(
        select(func.count())
        .select_from(audit.AuditEntry)
        .where(
            audit.AuditEntry.subject == subject,
            audit.AuditEntry.action == "link.failed",
            audit.AuditEntry.at > now - FAILURES_WITHIN,
        )
    )
    if (failures or 0) >= FAILURES_MAX:
        raise TooManyTries
    invitation = await session.scalar(
        select(Invitation).where(
            Invitation.code_hash == _hashed(code),
            Invitation.used_at.is_(None),
            Invitation.expires_at > now,
        )
    )
    if invitation is None:
        audit.record(session, at=now, actor_id=None, action="link.failed", subject=subject)
        return None
    number = address = None
    if invitation.account_id is not None:
        account = await session.get_one(Account, invitation.account_id)
        premise = await session.get_one(Premise, account.premise_id)
        number, address = account.number, _masked(premise.address)
    return Invited(
        invitation_id=invitation.id,
        account_number=number,
        masked_address=address,
        role=invitation.role,
    )


async def accept(
    session: AsyncSession, *, invitation_id: int, contact_id: int, now: datetime
) -> None:
    """
    Give the person behind a contact what the invitation offers, once.

    Raises:
        CodeNotValid: it was used or ran out meanwhile.
    """
    contact = await session.get_one(Contact, contact_id)
    person_id = contact.person_id
    invitation = (
        await session.execute(
            update(Invitation)
            .where(
                Invitation.id == invitation_id,
                Invitation.used_at.is_(None),
                Invitation.expires_at > now,
            )
            .values(used_at=now, used_by_id=person_id)
            .returning(Invitation)
        )
    ).scalar_one_or_none()
    if invitation is None:
        raise CodeNotValid
    if invitation.person_id is not None:
        contact.person_id = person_id = invitation.person_id
    if invitation.account_id is not None:
        await session.execute(
            insert(AccountRight)
            .values(
                account_id=invitation.account_id,
                person_id=person_id,
                right=invitation.right or Right.HOLDER,
                since=now,
            )
            .on_conflict_do_nothing()
        )
        if (invitation.right or Right.HOLDER) is Right.HOLDER:
            await _take_over(session, account_id=invitation.account_id, person_id=person_id)
    if invitation.role is not None:
        await session.execute(
            insert(Staff).values(person_id=person_id, role=invitation.role).on_conflict_do_nothing()
        )
    audit.record(
        session,
        at=now,
        actor_id=person_id,
        action="link.accepted",
        subject=f"person:{person_id}",
        invitation=invitation.id,
    )


async def _take_over(session: AsyncSession, *, account_id: int, person_id: int) -> None:
    """Let a holder in chat be the one of whom only the phone number was known, here and nowhere."""
    person = await session.get_one(Person, person_id)
    elsewhere = aliased(AccountRight)
    found = await session.scalars(
        select(Person)
        .join(AccountRight, AccountRight.person_id == Person.id)
        .where(
            AccountRight.account_id == account_id,
            AccountRight.right == Right.HOLDER,
            Person.phone.is_not(None),
            ~exists().where(Contact.person_id == Person.id),
            ~exists().where(elsewhere.person_id == Person.id, elsewhere.account_id != account_id),
        )
    )
    known = found.all()
    if person.phone is None and len(known) == 1:
        phone, known[0].phone = known[0].phone, None
        await session.execute(
            delete(AccountRight).where(
                AccountRight.account_id == account_id, AccountRight.person_id == known[0].id
            )
        )
        await session.flush()  # so that the number is free
        person.phone = phone


def _hashed(code: str) -> str:
    # People copy codes from paper in groups, with spaces or dashes.
    typed = "".join(character for character in code.upper() if character.isalnum())
    return hashlib.sha256(f"invitation:{typed}".encode()).hexdigest()


def _masked(address: str) -> str:
    """Return an address in which every second half of a word is hidden."""
    return " ".join(
        word[: (len(word) + 1) // 2] + "•" * (len(word) // 2) for word in address.split()
    )
