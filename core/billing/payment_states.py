"""Where a payment can stand, and what all that a provider said of it comes to. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from core.billing.models import EventKind, PaymentState

S = PaymentState
CAME: Final = frozenset({S.SUCCEEDED, S.REFUNDED, S.CHARGED_BACK})
OPEN: Final = frozenset({S.PENDING, S.UNKNOWN})
# Money that came in is never un-said; it can only go back, and come again.
MOVES: Final[Mapping[PaymentState, frozenset[PaymentState]]] = {
    S.PENDING: frozenset({S.UNKNOWN, S.FAILED, S.SUCCEEDED}),
    S.UNKNOWN: frozenset({S.FAILED, S.SUCCEEDED}),
    S.FAILED: frozenset({S.SUCCEEDED}),
    S.SUCCEEDED: frozenset({S.REFUNDED, S.CHARGED_BACK}),
    S.REFUNDED: frozenset({S.SUCCEEDED, S.CHARGED_BACK}),
    S.CHARGED_BACK: frozenset({S.SUCCEEDED, S.REFUNDED}),
}
_WEIGHT: Final = (EventKind.PENDING, EventKind.UNKNOWN, EventKind.FAILED, EventKind.SUCCEEDED)


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class SaidEvent:
    """
    One thing that a provider said of a payment; ordered by when it happened.

    Units: `amount_minor` minor units.
    """

    at: datetime
    kind: EventKind
    order: str
    item: str
    amount_minor: int
    currency: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What a set of events comes to; `told` is the event that decides, if any does."""

    told: SaidEvent | None
    charged_back: Mapping[str, int] = field(default_factory=dict)
    reinstated: frozenset[str] = frozenset()


def weigh_events(events: Iterable[SaidEvent]) -> Standing:
    """
    Return what events come to, whatever their order and however often each was said.

    A reinstated dispute was one, also if its beginning has not been heard of yet.
    """
    said = sorted(set(events))
    fates = [event for event in said if event.kind in _WEIGHT]
    disputes = {EventKind.CHARGED_BACK, EventKind.REINSTATED}
    return Standing(
        told=max(fates, key=lambda event: _WEIGHT.index(event.kind), default=None),
        charged_back={event.item: event.amount_minor for event in said if event.kind in disputes},
        reinstated=frozenset(e.item for e in said if e.kind is EventKind.REINSTATED),
    )


def fit_refunds(
    events: Iterable[SaidEvent], *, came_minor: int
) -> tuple[int, frozenset[SaidEvent]]:
    """
    Return how much was refunded, and the refunds that cannot be: more would go back than came.

    A refund without a name is the sum of all refunds so far. Of named ones the smallest count
    first, so that one that is absurd stands alone, in whatever order they were heard.
    """
    refunds = sorted(event for event in set(events) if event.kind is EventKind.REFUNDED)
    named = {event.item: event for event in refunds if event.item}
    sums = [event for event in refunds if not event.item]
    whole, unfit = 0, {event for event in sums if event.amount_minor > came_minor}
    for event in sorted(named.values(), key=lambda event: (event.amount_minor, event)):
        if whole + event.amount_minor > came_minor:
            unfit.add(event)
        else:
            whole += event.amount_minor
    return max([whole, *(e.amount_minor for e in sums if e not in unfit)]), frozenset(unfit)


def state_of(*, amount_minor: int, refunded_minor: int, charged_back_minor: int) -> PaymentState:
    """Return where money that came in stands, by what of it went back."""
    if charged_back_minor:
        return S.CHARGED_BACK
    return S.REFUNDED if refunded_minor == amount_minor else S.SUCCEEDED
