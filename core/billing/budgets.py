"""The amount that somebody does not want a bill to go over, one for each agreement and person."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, Index, select, text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Mapped, mapped_column

from core.accounts.service import Place, list_places
from core.billing.running import AgreementNotFound
from core.db import Base, Id, lock_for_transaction
from core.errors import DomainError
from core.money import Money

LIMIT_MAX_MINOR = 100_000_000


class BudgetNotPossible(DomainError):
    """A budget lies between the smallest coin and more than any home pays."""

    code = "budget.not_possible"


class BudgetNotFound(DomainError):
    """No such budget is this person's, or it was stopped."""

    code = "budget.not_found"


class Budget(Base):
    """Somebody is told once a bill when it reaches this amount, or is going to. Minor units."""

    __tablename__ = "budgets"
    __table_args__ = (
        CheckConstraint("limit_minor > 0", name="positive"),
        Index(
            "uq_budgets_running",
            "agreement_id",
            "person_id",
            unique=True,
            postgresql_where=text("ended_at IS NULL"),
        ),
    )

    id: Mapped[Id]
    agreement_id: Mapped[int] = mapped_column(ForeignKey("agreements.id"))
    person_id: Mapped[int] = mapped_column(ForeignKey("people.id"), index=True)
    currency: Mapped[str]
    limit_minor: Mapped[int]
    set_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]


async def set_budget(
    session: AsyncSession, *, person_id: int, agreement_id: int, limit: Money, now: datetime
) -> Budget:
    """
    Have somebody told when a bill of theirs goes over an amount, instead of any set before.

    Raises:
        AgreementNotFound: it is not theirs, or over.
        BudgetNotPossible: the amount is nothing, or more than any home pays.
    """
    await get_place(session, person_id=person_id, agreement_id=agreement_id)
    if not 0 < limit.minor <= LIMIT_MAX_MINOR:
        raise BudgetNotPossible(limit=limit)
    await lock_for_transaction(session, f"budget:{agreement_id}:{person_id}")
    for running in await list_budgets(session, agreement_id=agreement_id, person_id=person_id):
        running.ended_at = now
    await session.flush()
    budget = Budget(
        agreement_id=agreement_id,
        person_id=person_id,
        currency=limit.currency,
        limit_minor=limit.minor,
        set_at=now,
    )
    session.add(budget)
    await session.flush()
    return budget


async def get_place(session: AsyncSession, *, person_id: int, agreement_id: int) -> Place:
    """
    Return where an agreement supplies somebody who has a right on its account.

    Raises:
        AgreementNotFound: it is not theirs, or over.
    """
    for place in await list_places(session, person_id=person_id):
        if place.agreement_id == agreement_id:
            return place
    raise AgreementNotFound


async def list_budgets(
    session: AsyncSession, *, agreement_id: int, person_id: int | None = None
) -> Sequence[Budget]:
    """Return the running budgets of an agreement, of one person or of all."""
    query = select(Budget).where(Budget.agreement_id == agreement_id, Budget.ended_at.is_(None))
    if person_id is not None:
        query = query.where(Budget.person_id == person_id)
    return (await session.scalars(query.order_by(Budget.id))).all()


async def find_budget(session: AsyncSession, *, budget_id: int) -> Budget | None:
    """Return a budget unless it was stopped."""
    budget = await session.get(Budget, budget_id)
    return budget if budget is not None and budget.ended_at is None else None


async def stop_budget(
    session: AsyncSession, *, person_id: int, budget_id: int, now: datetime
) -> Budget:
    """
    Stop telling somebody of an amount.

    Raises:
        BudgetNotFound: there is none, it was stopped, or it is somebody else's.
    """
    budget = await session.get(Budget, budget_id, with_for_update=True)
    if budget is None or budget.person_id != person_id or budget.ended_at is not None:
        raise BudgetNotFound
    budget.ended_at = now
    return budget
