"""Files of other programs: the values are those that an independent reading of them gives."""

import json
import re
from datetime import UTC, datetime
from decimal import Decimal
from itertools import pairwise
from xml.sax.saxutils import escape

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.gateway import p1
from bot.gateway.decode import Refusal
from bot.gateway.green_button import read_green_button
from bot.gateway.units import What
from core.monitoring.ingest import Reason
from tests.gateway.shelves import DATA

TELEGRAMS = json.loads((DATA / "dsmr-p1/parsed.json").read_text("utf-8"), parse_float=Decimal)
COUNTERS = {
    f"VOLTAGE_{kind}_L{phase}_COUNT": f"1-0:{code}.{part}.0"
    for kind, part in (("SAG", 32), ("SWELL", 36))
    for phase, code in ((1, 32), (2, 52), (3, 72))
}
SAMPLE = (DATA / "green-button/sample.xml").read_bytes()


def telegram(name: str) -> bytes:
    return (DATA / "dsmr-p1" / name).read_bytes()


@pytest.mark.parametrize("name", sorted(TELEGRAMS))
class TestATelegram:
    def test_says_what_an_independent_parser_reads(self, name):
        said = TELEGRAMS[name]
        found = p1.read_telegram(telegram(name))
        assert not isinstance(found, Refusal)
        electricity = {
            (m.what, m.register or "".join(dict(m.labels).values())): m.value
            for m in found
            if m.what is not What.VOLUME
        }
        wanted = {
            (What.ENERGY, f"t{tariff}"): said[f"ELECTRICITY_USED_TARIFF_{tariff}"]["value"]
            for tariff in (1, 2)
        }
        for phase, letter in enumerate("abc", start=1):
            key = f"INSTANTANEOUS_VOLTAGE_L{phase}"
            if key in said:
                wanted[What.VOLTAGE, letter] = said[key]["value"]
        if "ACTUAL_SWITCH_POSITION" in said:
            wanted[What.RELAY, ""] = "closed"
        assert electricity == wanted
        taken_at = datetime.fromisoformat(said["P1_MESSAGE_TIMESTAMP"]["value"])
        assert {m.taken_at for m in found if m.what is not What.VOLUME} == {taken_at}

    def test_has_water_only_from_water_meters(self, name):
        said = [d for d in TELEGRAMS[name]["MBUS_DEVICES"] if 7 in kind_of(d)]
        found = p1.read_telegram(telegram(name))
        water = [(m.device, m.value, m.taken_at) for m in found if m.what is What.VOLUME]
        assert water == [
            (
                bytes.fromhex(d["MBUS_EQUIPMENT_IDENTIFIER"]["value"]).decode(),
                d["MBUS_METER_READING"]["value"],
                datetime.fromisoformat(d["MBUS_METER_READING"]["datetime"]),
            )
            for d in said
        ]

    def test_has_lines_with_every_counter_and_gas_reading(self, name):
        lines = p1.read_lines(telegram(name))
        for key, code in COUNTERS.items():
            if key in TELEGRAMS[name]:
                assert int(lines[code][0]) == TELEGRAMS[name][key]["value"]
        for device in TELEGRAMS[name]["MBUS_DEVICES"]:
            reading = device.get("MBUS_METER_READING", device.get("HOURLY_GAS_METER_READING"))
            if reading is None or reading["unit"] is None:
                continue
            part = "3" if f"0-{device['CHANNEL_ID']}:24.2.3" in lines else "1"
            moment, value = lines[f"0-{device['CHANNEL_ID']}:24.2.{part}"]
            assert p1.read_moment(moment) == datetime.fromisoformat(reading["datetime"])
            assert Decimal(value.removesuffix("*m3")) == reading["value"]

    def test_with_any_changed_byte_is_refused(self, name):
        raw = bytearray(telegram(name))
        for place in range(1, len(raw) - 8, 7):
            changed = raw.copy()
            changed[place] ^= 0x10
            assert p1.read_telegram(bytes(changed)) == Refusal(Reason.BROKEN)


def kind_of(device: dict) -> list[int]:
    return [device[key]["value"] for key in ("DEVICE_TYPE", "MBUS_DEVICE_TYPE") if key in device]


@given(st.binary())
def test_no_bytes_make_a_telegram_fail(raw):
    assert p1.read_telegram(raw) == Refusal(Reason.BROKEN)


class TestAGreenButtonFile:
    def test_becomes_a_register_that_ends_at_the_sum_of_its_uses(self):
        text = SAMPLE.decode()
        uses = [int(v) for v in re.findall(r"</timePeriod>\s*<value>(\d+)</value>", text)]
        starts = [int(v) for v in re.findall(r"<duration>3600</duration>\s*<start>(\d+)<", text)]
        assert len(uses) == len(starts) == 362
        found = read_green_button(SAMPLE, device="E-1", start=Decimal(100))
        assert found[0].value == 100
        assert found[-1].value == 100 + Decimal(sum(uses)) / 1000
        steps = [after.value - before.value for before, after in pairwise(found)]
        assert steps == [Decimal(use) / 1000 for use in uses]
        assert {(m.device, m.what, m.register) for m in found} == {("E-1", What.ENERGY, "total")}
        assert found[0].taken_at == datetime.fromtimestamp(starts[0], UTC)
        assert found[-1].taken_at == datetime.fromtimestamp(starts[-1] + 3600, UTC)

    @pytest.mark.parametrize(
        ("old", "new", "reason"),
        [
            ("<uom>72</uom>", "<uom>38</uom>", Reason.NOTHING_MEASURED),
            ("<flowDirection>1<", "<flowDirection>19<", Reason.NOTHING_MEASURED),
            ("<accumulationBehaviour>4<", "<accumulationBehaviour>6<", Reason.NOTHING_MEASURED),
            ("<value>703<", "<value>seven<", Reason.BROKEN),
            ("<start>1293868800<", "<start>99999999999999<", Reason.BROKEN),
            ("Multiplier>0<", "Multiplier>99999999<", Reason.BROKEN),
            ("</feed>", "", Reason.BROKEN),
        ],
    )
    def test_of_something_else_is_refused(self, old, new, reason):
        assert old in SAMPLE.decode()
        changed = SAMPLE.decode().replace(old, new).encode()
        assert read_green_button(changed, device="E-1") == Refusal(reason)

    def test_that_attacks_the_parser_is_refused(self):
        bomb = f'<!DOCTYPE a [<!ENTITY b "{escape("x" * 10)}">]><feed>&b;</feed>'
        assert read_green_button(bomb.encode(), device="E-1") == Refusal(Reason.BROKEN)

    def test_scales_by_the_power_of_ten_of_its_type(self):
        changed = SAMPLE.replace(b"Multiplier>0<", b"Multiplier>3<")
        plain = read_green_button(SAMPLE, device="E-1")
        scaled = read_green_button(changed, device="E-1")
        assert scaled[-1].value == plain[-1].value * 1000
