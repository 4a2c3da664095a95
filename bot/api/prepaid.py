"""Prepaid agreements over HTTP: the balance of one, and having it paid ahead or after its bills."""

from datetime import datetime

from fastapi import APIRouter
from pydantic import BaseModel
from sqlalchemy.ext.asyncio import AsyncSession

from bot.api.auth import Admin
from bot.api.billing import MoneyBody
from bot.api.context import Now, Session
from bot.api.fields import Body, Word
from core.accounts.models import Agreement, Service
from core.billing.payments import find_target_by_account
from core.billing.prepaid import find_balances, switch_payment

router = APIRouter(prefix="/api/v1", tags=["prepaid"])


class WayIn(Body):
    """How a service is paid from now on."""

    prepaid: bool


class BalanceBody(BaseModel):
    """
    What is left; `balance` is empty where the use since the last bill is not known.

    `credit` is what the books say, before what is not billed yet.
    """

    account: str
    service: Service
    prepaid: bool
    credit: MoneyBody
    balance: MoneyBody | None
    estimated: bool
    read_at: datetime | None


@router.get("/accounts/{account}/{service}/balance")
async def get_balance(
    session: Session, now: Now, _: Admin, account: Word, service: Service
) -> BalanceBody:
    """Return what is left of an account's money for a service, prepaid or not."""
    return await _balance(session, account, service, now)


@router.put("/accounts/{account}/{service}/payment")
async def change_payment(
    session: Session, now: Now, _: Admin, account: Word, service: Service, body: WayIn
) -> BalanceBody:
    """Have a service paid ahead or after its bills; told again it changes nothing."""
    target = await find_target_by_account(session, account_number=account, service=service)
    agreement = await session.get_one(Agreement, target.agreement_id)
    if agreement.is_prepaid is not body.prepaid:
        await switch_payment(
            session,
            agreement_id=agreement.id,
            to_prepaid=body.prepaid,
            actor_id=None,
            now=now,
        )
    return await _balance(session, account, service, now)


async def _balance(
    session: AsyncSession, account: str, service: Service, now: datetime
) -> BalanceBody:
    target = await find_target_by_account(session, account_number=account, service=service)
    agreement = await session.get_one(Agreement, target.agreement_id)
    found = (await find_balances(session, agreement_ids=[agreement.id], now=now))[agreement.id]
    return BalanceBody(
        account=account,
        service=service,
        prepaid=agreement.is_prepaid,
        credit=MoneyBody.of(found.credit_minor, found.currency),
        balance=None if found.minor is None else MoneyBody.of(found.minor, found.currency),
        estimated=found.is_estimated,
        read_at=found.read_at,
    )
