"""Money over HTTP: the cashier's payments, bills and their documents, billing runs."""

import re
from collections.abc import Mapping
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Annotated

from fastapi import APIRouter, Header, Request, Response
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, Field, model_validator
from sqlalchemy.ext.asyncio import AsyncSession

from bot import billing_runs
from bot.api.auth import Admin
from bot.api.context import Now, Session
from bot.api.fields import Moment, RowId, Word
from bot.documents.documents import bill_pdf
from bot.handlers.bill_pages import bill_page
from bot.texts import Texts, locale_for
from core.accounts import service as accounts
from core.accounts.models import Service
from core.billing import payments, queries, runs
from core.billing.bills import BillNotFound
from core.billing.models import BillState, PaymentState
from core.errors import DomainError
from core.money import Money
from core.periods import Period, month_of

router = APIRouter(prefix="/api/v1", tags=["billing"])

CASHIER = "cashier"
CLOCKS_DIFFER = timedelta(minutes=5)
_MONTH = re.compile(r"20[0-9]{2}-(0[1-9]|1[0-2])")


class AmountNotPositive(DomainError):
    """A payment is more than nothing."""

    code = "payment.amount_not_positive"


class CurrencyIsAnother(DomainError):
    """Accounts are kept in the operator's currency; other money is changed at the desk."""

    code = "input.currency_is_another"


class ReceivedInTheFuture(DomainError):
    """Money that came in came in before now."""

    code = "input.received_in_the_future"


class MoneyBody(BaseModel):
    """An amount in currency units, as text, and its currency."""

    amount: Annotated[str, Field(pattern=r"^-?[0-9]{1,12}(\.[0-9]{1,4})?$", examples=["12.30"])]
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$", examples=["CNY"])]

    @classmethod
    def of(cls, minor: int, currency: str) -> "MoneyBody":
        """Return minor units as a body."""
        return cls(amount=str(Money(minor, currency).amount), currency=currency)

    @classmethod
    def of_all(cls, totals_minor: Mapping[str, int]) -> "list[MoneyBody]":
        """Return the sums in each currency as bodies."""
        return [cls.of(minor, currency) for currency, minor in totals_minor.items()]


class PaymentIn(BaseModel):
    """Money that the desk took, for a bill or for an account's service."""

    bill: Annotated[Word, Field(max_length=20)] = ""
    account: Annotated[Word, Field(max_length=40)] = ""
    service: Service | None = None
    amount: MoneyBody
    received_at: Moment | None = None

    @model_validator(mode="after")
    def _names_one_target(self) -> "PaymentIn":
        if bool(self.bill) == bool(self.account and self.service):
            raise ValueError("give either bill, or account and service")
        return self


class PaidBillBody(BaseModel):
    """A bill to which money went."""

    number: str
    paid: MoneyBody
    left: MoneyBody


class PaymentBody(BaseModel):
    """A payment as it was taken."""

    number: str
    state: PaymentState
    amount: MoneyBody
    bills: list[PaidBillBody]
    credit: MoneyBody


class LineBody(BaseModel):
    """One line of a bill; `amount` is exact, in the bill's currency."""

    name: dict[str, str]
    kind: str
    tier: int | None
    register_name: str | None
    quantity: Decimal
    price: Decimal
    amount: Decimal


class BillBody(BaseModel):
    """A bill."""

    number: str
    account: str
    service: Service
    state: BillState
    starts: date
    ends: date
    consumption: Decimal
    total: MoneyBody
    left: MoneyBody
    due_date: date | None
    lines: list[LineBody]


class RunIn(BaseModel):
    """Which month of which service; `dry_run` computes and writes nothing."""

    service: Service
    period: Annotated[str, Field(pattern=_MONTH.pattern, examples=["2026-10"])]
    dry_run: bool = False


class RunBody(BaseModel):
    """A run and what came of it."""

    id: int
    service: Service
    starts: date
    ends: date
    started_at: datetime
    finished_at: datetime | None
    bills: dict[str, int]
    skipped: dict[str, int]
    totals: list[MoneyBody]


class StrangeBody(BaseModel):
    """A bill, or none, that somebody should look at."""

    account: str
    address: str
    reason: str
    consumption: Decimal | None
    total_minor: int | None


class PreviewBody(BaseModel):
    """What a run would do."""

    bills: int
    held: int
    consumption: Decimal
    totals: list[MoneyBody]
    skipped: dict[str, int]
    strangest: list[StrangeBody]


@router.post("/payments")
async def take_payment(
    session: Session,
    now: Now,
    _: Admin,
    body: PaymentIn,
    idempotency_key: Annotated[str, Header(min_length=1, max_length=200)],
) -> PaymentBody:
    """Take a payment; the same key with the same body is taken once and answered the same."""
    money = Money.exactly(Decimal(body.amount.amount), body.amount.currency)
    if money.minor <= 0:
        raise AmountNotPositive
    operator = await accounts.get_operator(session)
    if money.currency != operator.currency:
        raise CurrencyIsAnother(currency=operator.currency)
    if body.received_at is not None and body.received_at > now + CLOCKS_DIFFER:
        raise ReceivedInTheFuture
    if body.bill:
        target = await payments.find_target_by_bill(session, number=body.bill.upper())
    else:
        assert body.service is not None  # noqa: S101 (the body was validated)
        target = await payments.find_target_by_account(
            session, account_number=body.account, service=body.service
        )
    taken = await payments.record_payment(
        session,
        provider=CASHIER,
        reference=idempotency_key,
        target=target,
        amount_minor=money.minor,
        currency=money.currency,
        received_at=body.received_at or now,
        now=now,
    )
    return PaymentBody(
        number=taken.number,
        state=taken.state,
        amount=MoneyBody.of(taken.amount_minor, taken.currency),
        bills=[
            PaidBillBody(
                number=bill.number,
                paid=MoneyBody.of(bill.amount_minor, taken.currency),
                left=MoneyBody.of(bill.left_minor, taken.currency),
            )
            for bill in taken.bills
        ],
        credit=MoneyBody.of(taken.credit_minor, taken.currency),
    )


@router.get("/bills/{number}")
async def get_bill(session: Session, _: Admin, number: Word) -> BillBody:
    """Return a bill with its lines."""
    view = await queries.get_bill(session, number=number.upper(), person_id=None)
    bill = view.bill
    return BillBody(
        number=bill.number,
        account=view.party.account_number,
        service=view.party.service,
        state=bill.state,
        starts=bill.starts_date,
        ends=bill.ends_date,
        consumption=bill.consumption,
        total=MoneyBody.of(bill.total_minor, bill.currency),
        left=MoneyBody.of(view.left_minor, bill.currency),
        due_date=bill.due_date,
        lines=[
            LineBody(
                name=dict(view.labels.get(line.component, {})),
                kind=line.kind,
                tier=line.tier,
                register_name=line.register,
                quantity=line.quantity,
                price=line.price,
                amount=line.amount,
            )
            for line in view.lines
        ],
    )


@router.get("/bills/{number}/document.pdf", response_class=Response)
async def get_document(session: Session, _: Admin, number: Word, request: Request) -> Response:
    """Return a bill's document in the language of `Accept-Language`, else the operator's."""
    view = await queries.get_bill(session, number=number.upper(), person_id=None)
    if view.bill.issued_at is None:
        raise BillNotFound(number=number)
    operator = await accounts.get_operator(session)
    wanted = request.headers.get("accept-language", "").split(",")[0].split(";")[0].strip()
    texts = Texts(
        locale_for(wanted or None, default=operator.locale),
        timezone=operator.timezone,
        currency=operator.currency,
    )
    page = bill_page(
        texts, operator, view, pay_link=request.app.state.links.for_bill(view.bill.number)
    )
    pdf = await run_in_threadpool(bill_pdf, page)
    return Response(pdf, media_type="application/pdf")


@router.post("/billing-runs", status_code=202, response_model=RunBody | PreviewBody)
async def start_run(session: Session, now: Now, _: Admin, body: RunIn) -> RunBody | PreviewBody:
    """Start a run, or with `dry_run` tell what it would do."""
    period = _month(body.period)
    if not body.dry_run:
        run_id = await billing_runs.start(session, service=body.service, period=period, now=now)
        return await _run(session, run_id)
    found = await runs.preview_run(session, service=body.service, period=period, now=now)
    return PreviewBody(
        bills=found.bills,
        held=found.held,
        consumption=found.consumption,
        totals=MoneyBody.of_all(found.totals_minor),
        skipped=dict(found.skipped),
        strangest=[
            StrangeBody(
                account=strange.account_number,
                address=strange.address,
                reason=strange.reason,
                consumption=strange.consumption,
                total_minor=strange.total_minor,
            )
            for strange in found.strangest
        ],
    )


@router.get("/billing-runs/{run_id}")
async def get_run(session: Session, _: Admin, run_id: RowId) -> RunBody:
    """Return a run and how far it is."""
    return await _run(session, run_id)


async def _run(session: AsyncSession, run_id: int) -> RunBody:
    state = await runs.get_run(session, run_id=run_id)
    run = state.run
    return RunBody(
        id=run.id,
        service=run.service,
        starts=run.starts_date,
        ends=run.ends_date,
        started_at=run.started_at,
        finished_at=run.finished_at,
        bills=dict(state.bills),
        skipped=dict(state.skipped),
        totals=MoneyBody.of_all(state.totals_minor),
    )


def _month(text: str) -> Period:
    year, month = text.split("-")
    return month_of(date(int(year), int(month), 1))
