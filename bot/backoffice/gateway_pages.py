"""The page of gateways: which speak, what they sent day by day, and what was refused."""

from decimal import Decimal
from typing import Any

from fastapi import APIRouter, Response

from bot.backoffice.desk import OfficeRoute, Signed
from bot.texts import Texts
from core.monitoring import gateway_silence, gateways
from core.monitoring.gateway_silence import SilenceView
from core.monitoring.gateways import GatewayView

COUNTS = ("received", "accepted", "duplicate", "held", "rejected")
MINUTE_SECONDS = 60
router = APIRouter(route_class=OfficeRoute)


@router.get("/gateways")
async def show_gateways(visit: Signed) -> Response:
    """Show all gateways: which speak, what they sent in the last days, and what was refused."""
    found = await gateways.list_gateways(visit.session, now=visit.now)
    silences = {
        view.silence.gateway_id: view for view in await gateway_silence.list_silences(visit.session)
    }
    return visit.page(
        "gateways.html",
        kept=visit.texts.count("office.refused_kept", gateways.REFUSED_KEPT.days),
        counts=COUNTS,
        gateways=[
            _gateway(each, silences.get(each.id, silences.get(None)), visit.texts) for each in found
        ],
    )


def _gateway(view: GatewayView, silence: SilenceView | None, texts: Texts) -> dict[str, Any]:
    state, said = _state(view, silence, texts)
    reasons = [
        texts.plain("office.refused", reason=texts.plain(f"refused.{reason}"), count=count)
        for reason, count in view.reasons
    ]
    ahead = max((day.ahead_seconds for day in view.days), default=0)
    if ahead:
        reasons.append(texts.count("office.clock_ahead", -(-ahead // MINUTE_SECONDS)))
    return {
        "name": view.name,
        "meters": texts.count("office.meters", view.meters),
        "state": state,
        "said": said,
        "revoked": view.is_revoked,
        "days": [
            {
                "day": texts.day(day.day),
                **{name: texts.number(Decimal(getattr(day, name))) for name in COUNTS},
            }
            for day in view.days
        ],
        "reasons": reasons,
    }


def _state(view: GatewayView, silence: SilenceView | None, texts: Texts) -> tuple[str, str]:
    """Return whether a gateway speaks, as the alarms see it, and in words."""
    if view.last_at is None:
        return "never", texts.plain("office.gateway_never")
    if silence is None:
        return "speaks", texts.plain("office.gateway_speaks", moment=texts.moment(view.last_at))
    known = silence.silence
    since = texts.moment(known.began_at)
    if known.silent < known.meters:
        return "silent", texts.count("office.gateway_part", known.silent, moment=since)
    return "silent", texts.plain("office.gateway_silent", moment=since)
