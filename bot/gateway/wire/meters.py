"""Meters as every protocol shows them: what they measured, and how their switch stands."""

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, Protocol

from bot.gateway.wire.frames import SILENCE, Refused
from core.accounts.models import Supply
from core.monitoring.models import Quantity


@dataclass(slots=True)
class Seen:
    """What a meter showed, in our units, and why it did not show the rest."""

    registers: dict[str, Decimal] = field(default_factory=dict)
    samples: dict[Quantity, Decimal] = field(default_factory=dict)
    state: Supply | None = None
    refusals: list[Refused] = field(default_factory=list)

    @property
    def is_heard(self) -> bool:
        """Whether anything was said, be it a refusal or nonsense."""
        is_silent = all(refusal.reason == SILENCE for refusal in self.refusals)
        return bool(self.registers or self.samples or self.state) or not is_silent

    def add_sample(self, quantity: Quantity, value: Decimal, *, nominal: Decimal) -> None:
        """Note a measurement; of several phases the one farthest from `nominal` counts."""
        known = self.samples.setdefault(quantity, value)
        self.samples[quantity] = max(known, value, key=lambda each: abs(each - nominal))


class Driver(Protocol):
    """
    One bridge and the meters behind it; a meter is as the bridge's part of the file describes it.

    Every question may raise `Refused` (the meter) or `OSError` (the bridge).
    """

    async def read(self, meter: Any, /) -> Seen:  # noqa: ANN401 (each protocol has its own)
        """Return what a meter shows; a part that is refused does not keep the others back."""

    async def read_state(self, meter: Any, /) -> Supply:  # noqa: ANN401 (the same)
        """Ask a meter how its switch stands."""

    async def switch(self, meter: Any, wanted: Supply, /, *, until: datetime) -> None:  # noqa: ANN401 (the same)
        """Have a meter accept a command; it may move later, or not."""

    def close(self) -> None:
        """Hang up."""
