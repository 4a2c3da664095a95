"""
When a meter or a gateway is silent. Pure.

A meter may be silent for three times the pause that it usually makes, but never for less than the
limit that is set (six hours, if none is): so who speaks hourly is missed after six hours and who
speaks daily after three days. The figures are the house's defaults.
"""

from datetime import timedelta
from decimal import Decimal

LEAST = timedelta(hours=6)
PAUSES = 3
# Of a meter nothing is known of yet.
FIRST_USUAL = timedelta(days=1)
# By how much of the difference the usual pause comes down with each shorter one.
FORGETTING = 10
# As many meters and such a share behind one gateway have one cause.
METERS_MIN = 3
SHARE_MIN = Decimal("0.25")


def allow(usual: timedelta, *, least: timedelta = LEAST) -> timedelta:
    """Return for how long somebody with this usual pause may be silent."""
    return max(least, PAUSES * usual)


def learn(usual: timedelta, pause: timedelta, *, least: timedelta = LEAST) -> timedelta:
    """
    Return the usual pause after one more.

    A longer pause counts at once, but for no more than was allowed: a meter that was broken does
    not earn itself months. A shorter one brings it down slowly.
    """
    seen = min(pause, allow(usual, least=least))
    return max(seen, usual - (usual - seen) / FORGETTING)


def is_gateway_silent(
    *, meters: int, silent: int, unheard_for: timedelta, allowed: timedelta | None
) -> bool:
    """
    Tell whether the silence is a gateway's, not that of single meters behind it.

    `allowed` is that of its most talkative meter; nothing, if it has none.
    """
    if allowed is not None and unheard_for > allowed:
        return True
    return silent >= METERS_MIN and silent >= SHARE_MIN * meters
