"""The keys above the phones: the clock, what goes wrong with the supply, the service itself."""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bot.demo.child import Child
    from bot.demo.clock import WoundClock
    from bot.demo.simulator import Simulator
    from bot.demo.troubles import Target, Targets
    from core.db import Database

# Imports of the slow parts stand inside the functions that run once the page is served.
# ruff: noqa: PLC0415

ZONE = "Asia/Shanghai"
TIMES = "\N{MULTIPLICATION SIGN}"
RATES = {"pause": 0, "x1": 1, "x60": 60, "x3600": 3600}
STEPS = {"hour": timedelta(hours=1), "day": timedelta(days=1)}
BILLED_BY = timedelta(hours=9)  # on the first of a month, the bills of the last one are out
# Words of the host, not of the service: short, and in both languages of the page.
CLOCK, TROUBLES, MORE = "时钟 Clock", "事件 Events", "更多 More"
LABELS = {
    "pause": "暂停 Pause",
    "x1": f"{TIMES}1",
    "x60": f"{TIMES}60",
    "x3600": f"{TIMES}3600",
    "hour": "+1 h",
    "day": "+1 d",
    "bill": "下次账单 Next bill",
    "pressure_drop": "水压骤降 Pressure drop",
    "voltage_sag": "电压偏低 Voltage sag",
    "leak": "漏水 Leak",
    "burst": "爆管 Burst at home",
    "silent_meter": "表计失联 Silent meter",
    "silent_gateway": "网关失联 Silent gateway",
    "end": "恢复正常 End all events",
    "restart": "断电重启 Restart the bot",
    "invite": "绑定码 Invitation code",
    "office": "后台地址 Back office",
}
EVENTS = ("pressure_drop", "voltage_sag", "leak", "burst", "silent_meter", "silent_gateway")
BEGUN = "已开始 Begun"
ENDED = "已恢复 Ended"
CODE = "绑定码 Code: /link {code}"
OFFICE = "{office} — 经理发送 /office 登录 The manager enters by /office"
Described = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Backstage:
    """What the keys act on."""

    clock: "WoundClock"
    database: "Database"
    child: "Child"
    simulator: "Simulator"
    targets: "Targets"
    office: str


class Panel:
    """What the page shows of the demo; no keys until the demo is ready."""

    def __init__(self) -> None:
        self.backstage: Backstage | None = None

    def now(self) -> datetime:
        """Return what the demo's clock shows; before it runs, the first moment of all."""
        return (
            datetime.min.replace(tzinfo=UTC)
            if self.backstage is None
            else self.backstage.clock.now()
        )

    async def describe(self) -> Described:
        """Tell the state of the clock and the actions there are."""
        if self.backstage is None:
            return {"clock": None, "actions": []}
        clock, targets = self.backstage.clock, self.backstage.targets
        shown = {
            "now": clock.now().isoformat(),
            "rate": clock.rate,
            "paused": clock.rate == 0,
            "zone": ZONE,
        }
        water = [meter for meter in targets.meters if meter.service == "water"]
        current = [meter for meter in targets.meters if meter.service == "electricity"]
        actions = [
            *(_key(name, CLOCK) for name in (*RATES, *STEPS, "bill")),
            _key("pressure_drop", TROUBLES, targets.areas),
            _key("voltage_sag", TROUBLES, current),
            _key("leak", TROUBLES, water),
            _key("burst", TROUBLES, water),
            _key("silent_meter", TROUBLES, targets.meters),
            _key("silent_gateway", TROUBLES),
            _key("end", TROUBLES),
            _key("invite", MORE, targets.accounts),
            _key("office", MORE),
            _key("restart", MORE),
        ]
        return {"clock": shown, "actions": actions}

    async def act(self, action: str, fields: dict[str, Any]) -> Described:
        """
        Carry out an action; answer with a message for the person who asked.

        Raises:
            KeyError: there is no such action.
        """
        if self.backstage is None:
            return {}
        if action in RATES:
            await self.backstage.clock.turn(self.backstage.database, rate=RATES[action])
            return {}
        message = await ACTS[action](self.backstage, fields)
        return {"message": message} if message else {}


def _key(name: str, group: str, targets: "Iterable[Target]" = ()) -> Described:
    options = [{"value": str(target.id), "label": target.label} for target in targets]
    fields = [{"name": "target", "label": LABELS[name], "options": options}] if options else []
    return {"id": name, "group": group, "label": LABELS[name], "fields": fields}


Act = Callable[[Backstage, dict[str, Any]], Awaitable[str]]


async def _leap(stage: Backstage, until: datetime) -> None:
    from bot.demo.leaps import leap

    await leap(stage.database, stage.clock, stage.simulator, until=until)


def _step(span: timedelta) -> Act:
    async def step(stage: Backstage, _: dict[str, Any]) -> str:
        await _leap(stage, stage.clock.now() + span)
        return ""

    return step


async def _go_to_bill(stage: Backstage, _: dict[str, Any]) -> str:
    """Go to the end of the month, have the registers read, and go on to when bills are out."""
    from zoneinfo import ZoneInfo

    from core.periods import local_day, month_of, start_of_day

    zone = ZoneInfo(ZONE)
    ends = month_of(local_day(stage.clock.now(), zone=zone)).ends
    midnight = start_of_day(ends, zone=zone)
    await _leap(stage, midnight + timedelta(minutes=1))
    await _leap(stage, midnight + BILLED_BY)
    return ""


def _begin(kind: str) -> Act:
    async def begin(stage: Backstage, fields: dict[str, Any]) -> str:
        from bot.demo import troubles
        from bot.demo.signals import EventKind

        target = None
        if EventKind(kind) is not EventKind.SILENT_GATEWAY:
            known = {str(target.id) for target in (*stage.targets.areas, *stage.targets.meters)}
            if fields["target"] not in known:
                raise KeyError(fields["target"])
            target = int(fields["target"])
        async with stage.database.transaction() as session:
            await troubles.begin_trouble(
                session,
                kind=EventKind(kind),
                target_id=target,
                now=stage.clock.now(),
            )
        return BEGUN

    return begin


async def _end(stage: Backstage, _: dict[str, Any]) -> str:
    from bot.demo import troubles

    async with stage.database.transaction() as session:
        await troubles.end_troubles(session, now=stage.clock.now())
    return ENDED


async def _invite(stage: Backstage, fields: dict[str, Any]) -> str:
    from core.accounts import linking

    async with stage.database.transaction() as session:
        code = await linking.invite(
            session, account_id=int(fields["target"]), now=stage.clock.now()
        )
    return CODE.format(code=code)


async def _show_office(stage: Backstage, _: dict[str, Any]) -> str:
    return OFFICE.format(office=stage.office)


async def _restart(stage: Backstage, _: dict[str, Any]) -> str:
    stage.child.kill()
    return ""


async def _look(_: Backstage, __: dict[str, Any]) -> str:
    """Change nothing; pages that are open are shown the panel as it is."""
    return ""


ACTS: dict[str, Act] = {
    **{name: _step(span) for name, span in STEPS.items()},
    **{kind: _begin(kind) for kind in EVENTS},
    "look": _look,
    "bill": _go_to_bill,
    "end": _end,
    "invite": _invite,
    "office": _show_office,
    "restart": _restart,
}
