"""The keys above the phones: the clock, what goes wrong with the supply, the service itself."""

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bot.demo.child import Child
    from bot.demo.clock import WoundClock
    from bot.demo.simulator import Simulator
    from core.db import Database

ZONE = "Asia/Shanghai"
CLOCK = "时钟 Clock"
SERVICE = "服务 Service"
RATES = {"pause": 0, "x1": 1, "x60": 60, "x3600": 3600}
STEPS = {"hour": timedelta(hours=1), "day": timedelta(days=1)}
TIMES = "\N{MULTIPLICATION SIGN}"
LABELS = {
    "pause": "⏸",
    "x1": f"{TIMES}1",
    "x60": f"{TIMES}60",
    "x3600": f"{TIMES}3600",
    "hour": "+1 h",
    "day": "+1 d",
    "bill": "→ 账单 bill",
    "restart": "重启机器人 Restart the bot",
}
Described = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Backstage:
    """What the keys act on."""

    clock: "WoundClock"
    database: "Database"
    child: "Child"
    simulator: "Simulator"


class Panel:
    """What the page shows of the demo; no keys until the demo is ready."""

    def __init__(self) -> None:
        self.backstage: Backstage | None = None

    async def describe(self) -> Described:
        """Tell the state of the clock and the actions there are."""
        if self.backstage is None:
            return {"clock": None, "actions": []}
        clock = self.backstage.clock
        shown = {
            "now": clock.now().isoformat(),
            "rate": clock.rate,
            "paused": clock.rate == 0,
            "zone": ZONE,
        }
        keys = [_key(name, CLOCK) for name in (*RATES, *STEPS)]
        return {"clock": shown, "actions": [*keys, _key("restart", SERVICE)]}

    async def act(self, action: str, fields: dict[str, Any]) -> Described:
        """Carry out an action; answer with a message for the person who asked."""
        if self.backstage is None:
            return {}
        clock, database = self.backstage.clock, self.backstage.database
        if action in RATES:
            await clock.turn(database, rate=RATES[action])
        elif action in STEPS:
            await clock.turn(database, shown_at=clock.now() + STEPS[action])
        elif action == "restart":
            self.backstage.child.kill()
        return {}


def _key(name: str, group: str) -> Described:
    return {"id": name, "group": group, "label": LABELS[name]}
