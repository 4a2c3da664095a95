"""The page of billing runs: what one would do, the button that approves it, and how far it is."""

from typing import Any

from fastapi import APIRouter, Response
from fastapi.responses import RedirectResponse

from bot import billing_runs
from bot.backoffice import desk
from bot.backoffice.desk import OfficeRoute, OwnPage, Signed, Visit
from bot.handlers.runs import run_facts, run_state, run_title, strange_line
from core.billing import proposals
from core.billing.proposals import RunView

SHOWN = 24
BUSY_SECONDS, IDLE_SECONDS = 2, 60
router = APIRouter(route_class=OfficeRoute)


@router.get("/billing")
async def show_billing(visit: Signed) -> Response:
    """Show the latest runs; while one is at work the page is fetched again and again."""
    found = await proposals.list_runs(visit.session, limit=SHOWN)
    is_busy = any(run_state(view) in {"preparing", "running"} for view in found)
    return visit.page(
        "billing.html",
        seconds=BUSY_SECONDS if is_busy else IDLE_SECONDS,
        runs=[_run(visit, view) for view in found],
    )


@router.post("/billing/{run_id}/approve", dependencies=[OwnPage])
async def approve_run(visit: Signed, run_id: int) -> Response:
    """Approve a run; its bills go out."""
    await billing_runs.approve(
        visit.session, run_id=run_id, actor_id=visit.visitor.person_id, now=visit.now
    )
    return RedirectResponse("/office/billing", 303, headers=desk.HEADERS)


def _run(visit: Visit, view: RunView) -> dict[str, Any]:
    texts, state = visit.texts, run_state(view)
    strangest = view.proposal.strangest if view.proposal and state == "waits" else ()
    return {
        "id": view.run.id,
        "title": run_title(texts, view),
        "state": texts.plain(f"run.{state}"),
        "state_kind": {"waits": "waiting", "over": "closed"}.get(state, state),
        "facts": list(run_facts(texts, view)),
        "strangest": [strange_line(texts, bill, service=view.run.service) for bill in strangest],
        "strangest_title": texts.plain("run.strangest"),
        "approve": texts.plain("run.approve") if state == "waits" else "",
        "done": view.progress.done,
        "planned": view.progress.planned if state == "running" else 0,
    }
