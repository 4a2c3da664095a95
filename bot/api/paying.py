"""The payment page that a link or QR code leads to, and where providers report payments."""

from pathlib import Path

import structlog
from fastapi import APIRouter, Request, Response
from fastapi.responses import FileResponse, HTMLResponse, RedirectResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from sqlalchemy.ext.asyncio import AsyncSession

from bot.api.context import Now, Session
from bot.api.problems import problem
from bot.paying.provider import (
    NotSigned,
    NotUnderstood,
    Order,
    ProviderUnreachable,
    new_order,
)
from bot.texts import Texts, locale_for
from core.accounts import service as accounts
from core.billing import payments, provider_events, queries
from core.billing.bills import BillNotFound
from core.billing.models import BillState, PaymentState
from core.billing.plan_queries import find_asked
from core.errors import DomainError

log = structlog.get_logger()

HERE = Path(__file__).parents[1] / "paying" / "templates"
ACCOUNT_DIGITS_SHOWN = 3
router = APIRouter(prefix="/pay", include_in_schema=False)
_templates = Environment(loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined)


@router.get("/pay.css")
async def get_style() -> Response:
    """Return the one stylesheet."""
    return FileResponse(HERE / "pay.css", media_type="text/css")


@router.post("/notify/{name}")
async def take_notice(request: Request, name: str) -> Response:
    """
    Keep what a provider reports and act on it, then answer as the provider wants it.

    What is not signed is refused and leaves no trace but a line in the log.
    """
    provider = request.app.state.providers.get(name)
    if provider is None:
        return problem(404, "http.404", "There is no such provider.")
    now, body = request.app.state.clock.now(), await request.body()
    try:
        events = provider.read(request.headers, body, now=now)
    except NotSigned as why:
        log.warning("payment.notice_not_signed", provider=name, why=str(why))
        return problem(401, "http.401", "The signature is not the provider's.")
    except (NotUnderstood, DomainError) as why:
        log.warning("payment.notice_not_understood", provider=name, why=str(why))
        return problem(422, "http.422", "The message is not as documented.")
    if any(event.amount_minor <= 0 for event in events):
        return problem(422, "http.422", "An amount is more than nothing.")
    for event in events:
        async with request.app.state.database.transaction() as session:
            await provider_events.take_event(session, event, now=now)
    return Response(provider.kept.body, media_type=provider.kept.media_type)


@router.get("/{number}/{token}")
async def show_bill(
    request: Request,
    session: Session,
    number: str,
    token: str,
    *,
    paid: bool = False,
    again: bool = False,
) -> Response:
    """
    Show what is open on a bill, and the ways to pay it; `paid`: somebody comes back from one.

    While a payment's fate is unknown the ways stand behind a step of their own (`again`).
    """
    says = "paypage.waiting" if paid else ""
    last = await payments.find_last_state(session, bill_number=number)
    if last is PaymentState.UNKNOWN:
        says = "paypage.unknown"  # also for who opens the page anew, and would pay twice
    elif last is PaymentState.FAILED and paid:
        says = "paypage.failed"
    return await _show(request, session, number, token, says=says, again=again)


@router.post("/{number}/{token}/{way}")
async def go_and_pay(
    request: Request, now: Now, number: str, token: str, way: str, *, again: bool = False
) -> Response:
    """Lead the payer to a provider's page, with an order of its own."""
    database, links = request.app.state.database, request.app.state.links
    async with database.transaction() as session:
        found = await _find(request, session, number, token)
        last = await payments.find_last_state(session, bill_number=number)
        asked = await find_asked(session, summary=found, now=now)
        title = (await _texts_for(request, session)).plain(
            f"bill.title_{found.party.service}", number=number
        )
    opening = request.app.state.openings.get(way)
    is_unsure = last is PaymentState.UNKNOWN and not again
    if opening is None or found.left_minor <= 0 or is_unsure:
        return RedirectResponse(f"/pay/{number}/{token}", 303)
    order = Order(
        reference=new_order(number),
        title=title,
        amount_minor=asked.part.amount_minor if asked else found.left_minor,
        currency=found.bill.currency,
        back=f"{links.for_bill(number)}?paid=true",
        notify=links.notify(way),
    )
    try:
        return RedirectResponse(await opening.open(order, now=now), 303)
    except ProviderUnreachable as why:
        log.warning("payment.page_not_opened", provider=way, why=str(why))
    async with database.transaction() as session:
        return await _show(request, session, number, token, says="paypage.unreachable")


async def _find(
    request: Request, session: AsyncSession, number: str, token: str
) -> queries.BillSummary:
    if not request.app.state.links.is_ours(number, token):
        raise BillNotFound(number=number)
    found = await queries.get_summary(session, number=number, person_id=None)
    if found.bill.state is BillState.HELD:
        raise BillNotFound(number=number)
    return found


async def _texts_for(request: Request, session: AsyncSession) -> Texts:
    operator = await accounts.get_operator(session)
    wanted = request.headers.get("accept-language", "").split(",")[0].split(";")[0].strip()
    locale = locale_for(wanted or None, default=operator.locale)
    return Texts(locale, timezone=operator.timezone, currency=operator.currency)


async def _show(
    request: Request,
    session: AsyncSession,
    number: str,
    token: str,
    *,
    says: str,
    again: bool = False,
) -> Response:
    texts = await _texts_for(request, session)
    found = await _find(request, session, number, token)
    operator = await accounts.get_operator(session)
    bill, party, ways = found.bill, found.party, request.app.state.openings
    is_open = found.left_minor > 0
    amount, due = found.left_minor, ""
    asked = await find_asked(session, summary=found, now=request.app.state.clock.now())
    if asked is not None:
        amount = asked.part.amount_minor
        due = texts.plain(
            "paypage.part",
            position=asked.part.position,
            count=asked.count,
            day=texts.day(asked.part.due),
            left=texts.money(asked.left_minor, bill.currency),
        )
    elif bill.due_date:
        due = texts.plain("paypage.due", day=texts.day(bill.due_date))
    if not is_open:
        says = f"paypage.{bill.state}"
    is_unsure = is_open and says == "paypage.unknown"
    if is_unsure and not again:
        ways = {}
    html = _templates.get_template("pay.html").render(
        lang=texts.locale.replace("_", "-"),
        operator=operator.name,
        title=texts.plain(f"bill.title_{party.service}", number=bill.number),
        days=texts.days(bill.starts_date, bill.ends_date),
        account=texts.plain("paypage.account", end=party.account_number[-ACCOUNT_DIGITS_SHOWN:]),
        left=texts.money(amount, bill.currency) if is_open else "",
        due=due,
        ways=[(name, texts.plain(f"paypage.way_{name}")) for name in ways] if is_open else [],
        action=f"/pay/{number}/{token}",
        again=texts.plain("paypage.again") if is_unsure and not again else "",
        suffix="?again=true" if again else "",
        says=texts.plain(says or ("paypage.choose" if ways else "paypage.no_way")),
        is_waiting=is_open and not again and says in {"paypage.waiting", "paypage.unknown"},
        hotline=texts.plain("page.hotline", hotline=operator.hotline),
    )
    forms = " ".join(filter(None, request.app.state.forms_lead_to))
    policy = f"default-src 'none'; style-src 'self'; form-action {forms}"
    headers = {
        "Content-Security-Policy": f"{policy}; frame-ancestors 'none'; base-uri 'none'",
        "Cache-Control": "no-store",
    }
    return HTMLResponse(html, headers=headers)
