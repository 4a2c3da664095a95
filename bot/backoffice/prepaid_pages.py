"""The page of prepaid homes: whose balance is low, and having an account pay in another way."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated

from fastapi import APIRouter, Form, Response

from bot.backoffice.desk import OfficeRoute, OwnPage, Signed, Visit
from bot.routes import explain
from core.accounts import service as accounts
from core.accounts.models import Service
from core.billing.payments import find_target_by_account
from core.billing.prepaid import switch_payment
from core.billing.prepaid_queries import list_low
from core.errors import DomainError

router = APIRouter(route_class=OfficeRoute)


@router.get("/prepaid")
async def show_prepaid(visit: Signed) -> Response:
    """Show the prepaid homes with a low balance, and the form that changes how one pays."""
    return await _page(visit)


@router.post("/prepaid", dependencies=[OwnPage])
async def change_payment(
    visit: Signed,
    account: Annotated[str, Form(max_length=40)],
    service: Annotated[Service, Form()],
    way: Annotated[str, Form(pattern="^(ahead|after)$")],
) -> Response:
    """Have a service of an account paid ahead, or after its bills."""
    typed = {"account": account, "service": service.value, "way": way}
    try:
        async with visit.session.begin_nested():
            target = await find_target_by_account(
                visit.session, account_number=account.strip(), service=service
            )
            await switch_payment(
                visit.session,
                agreement_id=target.agreement_id,
                to_prepaid=way == "ahead",
                actor_id=visit.visitor.person_id,
                now=visit.now,
            )
    except DomainError as refusal:
        return await _page(visit, 422, why=explain(visit.texts, refusal), typed=typed)
    done = visit.texts.plain(
        "office.prepaid_done",
        account=account.strip(),
        service=visit.texts.plain(f"service.{service}"),
        way=visit.texts.plain(f"office.prepaid_{way}"),
    )
    return await _page(visit, done=done)


async def _page(
    visit: Visit,
    status: int = 200,
    *,
    why: str = "",
    done: str = "",
    typed: Mapping[str, str] = MappingProxyType({"account": "", "service": "", "way": ""}),
) -> Response:
    texts = visit.texts
    steps = (await accounts.get_operator(visit.session)).prepaid_steps
    most = max(steps, default=0)
    return visit.page(
        "prepaid.html",
        status,
        why=why,
        done=done,
        typed=typed,
        services=[(each.value, texts.plain(f"service.{each}")) for each in Service],
        low_title=texts.plain("office.prepaid_low", at=texts.money(most)),
        homes=[
            {
                "account": home.account_number,
                "holder": home.holder_name,
                "address": home.address,
                "service": texts.plain(f"service.{home.service}"),
                "service_kind": home.service.value,
                "balance": texts.money(home.minor),
                "is_spent": home.minor <= 0,
                "looked": texts.moment(home.looked_at),
                "used_up": texts.plain(
                    "office.prepaid_used_up", since=texts.moment(home.used_up_at)
                )
                if home.used_up_at
                else "",
            }
            for home in await list_low(visit.session, most_minor=most)
        ],
    )
