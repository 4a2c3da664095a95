"""A burst on a street, in chat: one number for all homes, each asked, closed by their answers."""

from datetime import timedelta

from core.monitoring.models import Quantity
from tests.chat import Phone, buttons_of, text_of
from tests.e2e.conftest import Stage
from tests.e2e.gateway import STEP, Gateway, open_gateway
from tests.street import Street, build_street

LOW = (92, 95, 98, 101)
NORMAL = (310, 311, 312, 313)
AT_HOME = ("您家", "вас дома", "At your home", "您家")
ASKED = ("您家恢复了吗", "вас дома всё в порядке", "well at your home", "您家恢復了嗎")


async def measure(
    stage: Stage, gateway: Gateway, street: Street, values: tuple[int, ...], *, homes: int = 4
) -> None:
    """Let the cabinet of the street send what its homes measured in the last half hour."""
    now = stage.clock.now()
    samples = [
        {
            "meter": gateway.serials[home.meter],
            "quantity": Quantity.PRESSURE.value,
            "value": str(value),
            "taken_at": (now - STEP * back).isoformat(),
        }
        for home, value in zip(street.homes[:homes], values[:homes], strict=True)
        for back in range(3, -1, -1)
    ]
    await gateway.post("/api/v1/readings", {"samples": samples})


async def move_in(stage: Stage) -> tuple[Street, list[Phone]]:
    """Give the street's customers phones that have met the bot, each in another language."""
    async with stage.database() as database:
        street = await build_street(database, stage.world, homes_a_riser=1)
    phones = []
    for home in street.homes:
        body = {"id": home.chat, "first_name": f"Holder {home.flat}", "language_code": "en"}
        async with stage.http.post(f"{stage.base}/play/api/people", json=body) as answer:
            assert answer.status == 200
        phones.append(stage.phone(home.chat))
        await phones[-1].say("/start")
    return street, phones


async def count_cards(phone: Phone) -> int:
    return sum(text_of(each).startswith("🔧 R1001 ·") for each in await phone.messages())


async def test_a_burst_is_one_repair_for_a_street(stage: Stage) -> None:
    street, customers = await move_in(stage)
    technician, manager, stranger = stage.phone(2001), stage.phone(3001), stage.phone(1001)
    for phone in (technician, manager, stranger):
        await phone.say("/start")
    gateway = await open_gateway(stage)

    await measure(stage, gateway, street, LOW)
    cards = [await customer.expect("R1001") for customer in customers]
    offer, told = await technician.expect("R1001"), await manager.expect("R1001")

    for card, value, words in zip(cards, LOW, AT_HOME, strict=True):
        assert f"{value}" in text_of(card)
        assert words in text_of(card)
        assert "Maple Street" in text_of(card)
    assert "Maple Street (4 homes)" in text_of(told)
    assert "92 kPa" in text_of(told)

    assert "Maple Street (4 homes)" in text_of(await manager.say("/open"))

    await technician.press(offer, "我来接单")
    await customers[0].changed(cards[0], "▶ 已接单")
    for phone in (*customers, technician, manager):
        assert await count_cards(phone) == 1, [text_of(each) for each in await phone.messages()]
    assert len(await stranger.messages()) == 1

    stage.clock.shown_at += timedelta(hours=1)
    await measure(stage, gateway, street, NORMAL, homes=3)
    await manager.changed(told, "Back to normal: 3 of 4 homes")
    await technician.say("/fixed R1001")
    assert "101 kPa" in text_of((await technician.messages())[-1])
    stage.clock.shown_at += timedelta(hours=1)
    await measure(stage, gateway, street, NORMAL)
    await manager.changed(told, "Back to normal: 4 of 4 homes")
    await technician.say("/fixed R1001 换了阀门")

    questions = [
        await customer.expect(words) for customer, words in zip(customers, ASKED, strict=True)
    ]
    for place in (0, 1):
        label = next(label for label in buttons_of(questions[place]) if "✅" in label)
        await customers[place].press(questions[place], label)
    await customers[2].press(questions[2], "❌")
    own = await customers[2].expect("R1002")
    assert "Maple Street 2101" in text_of(own)
    assert [await count_cards(phone) for phone in (customers[3], manager)] == [1, 1]
    await customers[3].say("/confirm R1001")
    await manager.changed(told, "▶ Confirmed and closed")
    assert "R1002" in text_of(await manager.say("/history R1001"))
    history = await customers[0].say("/history R1001")
    assert "R1002" not in text_of(history)
    for words in ("4 户", "换了阀门"):
        assert words in text_of(history)
    assert "R1001" not in text_of(await stranger.say("/repairs"))
