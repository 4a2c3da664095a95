"""
When a meter or a gateway is silent. Pure.

A meter may be silent for three times its longest usual pause, but never for less than the limit
that is set (six hours, if none is): who speaks hourly is missed after six hours, who speaks daily
after three days. Until it is known for two days it may be silent for as long. The figures are the
house's defaults.
"""

from datetime import timedelta
from decimal import Decimal

LEAST = timedelta(hours=6)
PAUSES = 3
KNOWN_AFTER = timedelta(days=2)
# A meter that pauses at night still does so tomorrow: within a week a habit is forgotten.
FORGETTING = timedelta(days=7)
# As many meters and such a share behind one gateway have one cause.
METERS_MIN = 3
SHARE_MIN = Decimal("0.25")


def allow(
    usual: timedelta, *, least: timedelta = LEAST, known_for: timedelta = KNOWN_AFTER
) -> timedelta:
    """Return for how long somebody with this usual pause may be silent."""
    return max(least, PAUSES * usual, KNOWN_AFTER if known_for < KNOWN_AFTER else least)


def learn(usual: timedelta, pause: timedelta, *, allowed: timedelta) -> timedelta:
    """
    Return the usual pause after one more.

    A longer pause counts at once, but for no more than was allowed: a meter that was broken does
    not earn itself months. Shorter ones bring it down slowly.
    """
    seen = min(pause, allowed)
    forgotten = min(pause, FORGETTING) // timedelta(seconds=1)
    return max(seen, usual - (usual - seen) * forgotten // (FORGETTING // timedelta(seconds=1)))


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
