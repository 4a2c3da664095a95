"""The page of plans to pay in parts: those that wait or run, with a word on those that wait."""

from typing import Annotated

from fastapi import APIRouter, Form, Response
from fastapi.responses import RedirectResponse
from markupsafe import Markup

from bot.backoffice import desk
from bot.backoffice.desk import OfficeRoute, OwnPage, Signed
from bot.handlers.plan_words import describe_plan
from bot.handlers.plans import REASON_LENGTH_MAX
from bot.texts import clean_line
from core.billing import plan_queries, plans
from core.billing.plan_models import PlanState

TYPED_MAX = 1000
router = APIRouter(route_class=OfficeRoute)


@router.get("/plans")
async def show_plans(visit: Signed) -> Response:
    """Show the plans that wait or run, those that wait for an answer first."""
    texts = visit.texts
    found = await plan_queries.list_plans(visit.session, now=visit.now)
    title = texts.count("plan.list", len(found)) if found else texts.get("plan.list_none")
    return visit.page(
        "plans.html",
        title=Markup(title),  # noqa: S704 (escaped by texts)
        plans=[
            {
                "number": each.plan.number,
                "facts": [
                    Markup(line)  # noqa: S704 (escaped by texts)
                    for line in describe_plan(texts, each, for_staff=True).split("\n")
                ],
                "is_asked": each.plan.state is PlanState.ASKED,
            }
            for each in found
        ],
        agree=texts.plain("plan.agree"),
        decline=texts.plain("plan.decline"),
        reason_max=REASON_LENGTH_MAX,
    )


@router.post("/plans/{number}/agree", dependencies=[OwnPage])
async def agree(visit: Signed, number: str) -> Response:
    """Agree to a plan that was asked for."""
    await plans.agree(
        visit.session, number=number, person_id=visit.visitor.person_id, now=visit.now
    )
    return RedirectResponse("/office/plans", 303, headers=desk.HEADERS)


@router.post("/plans/{number}/decline", dependencies=[OwnPage])
async def decline(
    visit: Signed, number: str, reason: Annotated[str, Form(max_length=TYPED_MAX)]
) -> Response:
    """Decline a plan that was asked for, with the reason that the customer reads."""
    await plans.decline(
        visit.session,
        number=number,
        reason=clean_line(reason, length_max=REASON_LENGTH_MAX),
        actor_id=visit.visitor.person_id,
        now=visit.now,
    )
    return RedirectResponse("/office/plans", 303, headers=desk.HEADERS)
