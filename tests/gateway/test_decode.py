"""Every recorded message gives exactly what is written beside it; anything else gives a reason."""

import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.gateway.decode import Measured, Refusal, decode
from bot.gateway.units import UNITS, What, convert
from core.monitoring.ingest import Reason
from tests.gateway.shelves import DATA, PROFILES, RECEIVED_AT, as_bytes, lines

KEYS = {
    "energy_kwh": (What.ENERGY, Decimal(1)),
    "volume_m3": (What.VOLUME, Decimal(1)),
    "volume_raw": (What.VOLUME, Decimal(1)),
    "voltage_v": (What.VOLTAGE, Decimal(1)),
    "pressure_kpa": (What.PRESSURE, Decimal(1)),
    "pressure_mpa": (What.PRESSURE, Decimal(1000)),
}
FACTS = {
    "relay": What.RELAY,
    "valve": What.VALVE,
    "online": What.ONLINE,
    "fault": What.FAULT,
    "command_reply": What.REPLY,
    "downlink_ack": What.ACKNOWLEDGED,
}
LABELS = ("channel", "phase", "object")
# A flow is no quantity of this service: registers tell the use, and no profile reads it.
NOT_READ = ("flow_m3h",)
SOURCES = {"thingsboard_gw": "thingsboard"}
BAD = {
    "tele/wm-6d3a/SENSOR": ("tasmota", Reason.NOT_JSON),
    "zigbee2mqtt/wm-6d3a": ("zigbee2mqtt", Reason.IMPOSSIBLE),
    "wmbusmeters/00000000": ("wmbusmeters", Reason.NOTHING_MEASURED),
}
MESSAGES = lines("gateway-messages/messages.jsonl")
GOOD = [message for message in MESSAGES if message["source"] != "bad"]


def read(profile: str, topic: str, payload: object, *, at: datetime = RECEIVED_AT):
    return decode(PROFILES[profile], topic, as_bytes(payload), received_at=at)


def expected(entry: dict) -> Counter:
    """Return what one entry of `expect` says, as decode says it, without the moment."""
    entry = {key: value for key, value in entry.items() if key not in (*NOT_READ, "ts")}
    device = entry.pop("device", "tuya-1")
    labels = tuple((key, str(entry.pop(key))) for key in LABELS if key in entry)
    found: Counter = Counter()
    for key, value in entry.items():
        if value is None:
            continue
        if key in FACTS:
            text = str(value).lower() if isinstance(value, bool) else value
            found[device, labels, FACTS[key], text] += 1
        else:
            what, factor = KEYS[key]
            found[device, labels, what, value * factor] += 1
    return found


class TestAMessageOfEachKind:
    @pytest.mark.parametrize("message", GOOD, ids=lambda m: f"{m['source']} {m['topic']}")
    def test_gives_exactly_what_is_expected_of_it(self, message):
        profile = SOURCES.get(message["source"], message["source"])
        topic, payload = message["topic"], message["payload"]
        if PROFILES[profile].transport == "http":
            topic = ""
        if profile == "tuya":  # the sample has the list alone; it comes with the device about it
            payload = {"devId": "tuya-1", "status": [{"t": 1759648571000} | p for p in payload]}
        found = read(profile, topic, payload)
        wanted = sum((expected(entry) for entry in message["expect"]), Counter())
        if not wanted:
            assert found == Refusal(Reason.NOTHING_MEASURED)
            return
        assert not isinstance(found, Refusal), found
        assert Counter((m.device, m.labels, m.what, m.value) for m in found) == wanted
        for entry in message["expect"]:
            if "ts" in entry:
                assert {m.taken_at for m in found} == {datetime.fromisoformat(entry["ts"])}

    @pytest.mark.parametrize("message", [m for m in MESSAGES if m["source"] == "bad"], ids=str)
    def test_that_is_bad_gives_nothing_and_a_reason(self, message):
        profile, reason = BAD[message["topic"]]
        assert message["expect"] == []
        assert read(profile, message["topic"], message["payload"]) == Refusal(reason)


class TestRtl433:
    TOPIC = "rtl_433/cellar/events"

    def test_counts_and_cubic_metres_are_as_the_program_printed_them(self):
        wanted = json.loads((DATA / "rtl433/expected.json").read_text(encoding="utf-8"))
        found = [m for line in lines("rtl433/messages.jsonl") for m in rtl433(line)]
        by_device: dict[str, list[Decimal]] = {}
        for measured in found:
            if measured.what is not What.FAULT:
                by_device.setdefault(measured.device, []).append(measured.value)
        assert sum(map(len, by_device.values())) == wanted["messages"]
        for device, said in wanted["ert"].items():
            values = by_device.pop(device)
            assert (values[0], values[-1]) == (said["first"], said["last"])
            used = sum(int(b - a) % 2**24 for a, b in pairwise(values))
            assert used == said["used_counts"]
        for device, said in wanted["wmbus"].items():
            values = by_device.pop(device)
            assert values[-1] - values[0] == Decimal(str(said["used_m3"]))
            assert (str(values[0]), str(values[-1])) == (
                str(said["first_m3"]),
                str(said["last_m3"]),
            )
        assert not by_device
        assert {m.device for m in found if m.what is What.FAULT} == {wanted["physical_tamper"]}

    def test_a_meter_that_drives_by_is_water_or_power_by_its_type(self):
        kinds = {m.device: m.what for line in lines("rtl433/messages.jsonl") for m in rtl433(line)}
        assert kinds["17000321"] is What.VOLUME
        assert kinds["55120009"] is What.ENERGY

    def test_its_time_is_the_operators(self):
        (first, *_) = rtl433(lines("rtl433/messages.jsonl")[0])
        assert first.taken_at == datetime(2026, 7, 5, 16, tzinfo=UTC)

    def test_an_unknown_unit_is_refused(self):
        line = {"model": "Wireless-MBus", "id": 1, "time": "2026-07-06 00:00:00"}
        answer = read("rtl_433", self.TOPIC, line | {"inst_volume_0": "3.5 hogshead"})
        assert answer == Refusal(Reason.UNKNOWN_UNIT)
        answer = read("rtl_433", self.TOPIC, line | {"inst_volume_0": "m3"})
        assert answer == Refusal(Reason.NOT_A_NUMBER)


def rtl433(line: dict) -> tuple[Measured, ...]:
    found = read("rtl_433", TestRtl433.TOPIC, line)
    assert not isinstance(found, Refusal), (line, found)
    return found


class TestWmbusmeters:
    SAID = lines("wmbusmeters/messages.jsonl")

    def test_every_message_is_read_or_measures_nothing(self):
        answers = [read("wmbusmeters", each["topic"], each["payload"]) for each in self.SAID]
        refused = [answer.code for answer in answers if isinstance(answer, Refusal)]
        assert set(refused) == {Reason.NOTHING_MEASURED}
        kinds = Counter(m.what for answer in answers if isinstance(answer, tuple) for m in answer)
        payloads = [each["payload"] for each in self.SAID]
        assert kinds[What.VOLUME] == sum(
            isinstance(p.get("total_m3"), int | Decimal) for p in payloads if p["media"] != "heat"
        )
        assert kinds[What.PRESSURE] == 2
        assert len(answers) == 120
        assert len(refused) == len([p for p in payloads if not wanted_of(p)])

    def test_every_value_is_the_one_of_the_program(self):
        for each in self.SAID:
            found = read("wmbusmeters", each["topic"], each["payload"])
            values = {} if isinstance(found, Refusal) else {(m.what, m.labels): m for m in found}
            assert {key: m.value for key, m in values.items()} == wanted_of(each["payload"])
            assert {m.device for m in values.values()} <= {each["topic"].split("/")[1]}
            at = datetime(2026, 11, 22, 5, 22, tzinfo=UTC)
            assert {m.taken_at for m in values.values()} <= {at}

    def test_the_battery_of_a_water_meter_is_no_mains_voltage(self):
        batteries = [e for e in self.SAID if "voltage_v" in e["payload"]]
        assert len(batteries) == 3
        for each in batteries:
            found = read("wmbusmeters", each["topic"], each["payload"])
            assert What.VOLTAGE not in {m.what for m in found}


def wanted_of(said: dict) -> dict:
    """Say by hand what of a payload counts."""
    wanted: dict = {}
    status = said.get("status")
    if status not in (None, "OK", ""):
        wanted[What.FAULT, ()] = status
    if said["media"] == "electricity":
        for key in ("total_energy_consumption_kwh", "total_kwh"):
            if said.get(key) is not None:
                wanted[What.ENERGY, ()] = said[key]
        for number, phase in enumerate("abc", start=1):
            for key in (f"at_phase_{number}", f"l{number}_n", f"{number}_n"):
                if said.get(f"voltage_{key}_v") is not None:
                    wanted[What.VOLTAGE, (("phase", phase),)] = said[f"voltage_{key}_v"]
    elif said["media"] == "pressure":
        wanted[What.PRESSURE, ()] = said["pressure_bar"] * 100
    elif said.get("total_m3") is not None:
        wanted[What.VOLUME, ()] = said["total_m3"]
    return wanted


class TestOneNet:
    def test_one_point_and_a_list_of_points_say_the_same(self):
        point = {"type": 1, "dev_id": 20166, "ds_id": "total", "at": 1759648571000, "value": 12.5}
        one = read("onenet", "", {"msg": point, "nonce": "x"})
        many = read("onenet", "", {"msg": [point, {"type": 2}], "nonce": "x"})
        assert one == many
        (measured,) = one
        assert (measured.device, measured.value) == ("20166", Decimal("12.5"))
        assert measured.taken_at == datetime(2025, 10, 5, 7, 16, 11, tzinfo=UTC)

    def test_a_property_has_a_time_of_its_own(self):
        params = {
            "total": {"value": "7.25", "time": 1759648571000},
            "press": {"value": 0.31, "time": 1759648572000},
        }
        message = {"notifyType": "property", "deviceName": "w1", "data": {"params": params}}
        found = read("onenet", "", {"msg": json.dumps(message)})
        assert [(m.what, m.value, m.taken_at.second) for m in found] == [
            (What.VOLUME, Decimal("7.25"), 11),
            (What.PRESSURE, Decimal(310), 12),
        ]


class TestTheClock:
    def when(self, profile: str, topic: str, payload: object, *, at: datetime) -> datetime:
        (first, *_) = read(profile, topic, payload, at=at)
        return first.taken_at

    @pytest.mark.parametrize(("hours", "offset"), [(0, 2), (1, 1)])
    def test_in_an_hour_that_comes_twice_is_the_one_nearer_to_the_arrival(self, hours, offset):
        arrived = datetime(2026, 10, 25, 0, 31, tzinfo=UTC) + timedelta(hours=hours)
        dutch = PROFILES["tasmota"].model_copy(update={"zone": ZoneInfo("Europe/Amsterdam")})
        payload = as_bytes({"Time": "2026-10-25T02:30:00", "ENERGY": {"Total": 1}})
        (found,) = decode(dutch, "tele/x/SENSOR", payload, received_at=arrived)
        assert found.taken_at == datetime(2026, 10, 25, 2 - offset, 30, tzinfo=UTC)

    def test_without_one_the_arrival_counts(self):
        assert self.when("zigbee2mqtt", "zigbee2mqtt/x", {"energy": 1}, at=RECEIVED_AT) == (
            RECEIVED_AT
        )

    @pytest.mark.parametrize(
        "time", [None, "", "soon", True, [], "9999-12-31T23:59:59-23:59", Decimal("1e99999")]
    )
    def test_that_cannot_be_read_is_refused(self, time):
        payload = {"Time": time, "ENERGY": {"Total": 1}}
        assert read("tasmota", "tele/x/SENSOR", payload) == Refusal(Reason.NOT_A_TIME)


class TestAnything:
    @given(
        st.sampled_from(sorted(PROFILES)),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text() | st.floats(),
            lambda inner: (
                st.lists(inner, max_size=4)
                | st.dictionaries(
                    st.text(max_size=8)
                    | st.sampled_from(
                        [
                            "ENERGY",
                            "Total",
                            "Time",
                            "status",
                            "devId",
                            "msg",
                            "object",
                            "state",
                            "id",
                        ]
                    ),
                    inner,
                    max_size=5,
                )
            ),
            max_leaves=12,
        ),
    )
    def test_that_is_json_gives_values_or_a_reason(self, name, content):
        self.check(name, json.dumps(content).encode())

    @given(st.sampled_from(sorted(PROFILES)), st.binary())
    def test_that_is_bytes_gives_values_or_a_reason(self, name, payload):
        self.check(name, payload)

    @pytest.mark.parametrize(
        "payload",
        [
            b"[" * 100_000,
            b'{"Time":"2026-10-05T07:15:00","ENERGY":{"Total":1e400}}',
            b'{"Time":"2026-10-05T07:15:00","ENERGY":{"Total":1e-400}}',
            b'{"Time":"2026-10-05T07:15:00","ENERGY":{"Total":0e999999}}',
            b'{"Time":"2026-10-05T07:15:00","ENERGY":{"Total":-1}}',
            b'{"Time":"2026-10-05T07:15:00","ENERGY":{"Total":%s}}' % (b"9" * 9999),
            b'{"Time":"2026-10-05T07:15:00","ENERGY":{"Total":Infinity}}',
            b'{"Time":"2026-10-05T07:15:00","ENERGY":{"Total":{"a":1}}}',
            b"\xff\xfe",
            b"",
        ],
    )
    def test_absurd_gives_a_reason(self, payload):
        assert isinstance(
            decode(PROFILES["tasmota"], "tele/x/SENSOR", payload, received_at=RECEIVED_AT), Refusal
        )

    def check(self, name, payload):
        profile = PROFILES[name]
        for message in profile.message:
            topic = message.subscription.replace("+", "a")
            answer = decode(profile, topic, payload, received_at=RECEIVED_AT)
            assert isinstance(answer, Refusal) or all(m.device for m in answer)


class TestConvert:
    @pytest.mark.parametrize(
        ("what", "value", "unit", "ours"),
        [
            (What.ENERGY, "3807280.323", "Wh", "3807.280323"),
            (What.ENERGY, "5938310", "watt-minute", "98.971833"),
            (What.VOLUME, "1", "US gal", "0.003785"),
            (What.VOLUME, "1000000", "US gal", "3785.411784"),
            (What.VOLUME, "1000000", "ft3", "28316.846592"),
            (What.PRESSURE, "2.49", "bar", "249"),
            (What.PRESSURE, "0.18", "MPa", "180"),
            (What.PRESSURE, "1", "mH2O", "9.80665"),
            (What.VOLTAGE, "0.1", "V", "0.1"),
        ],
    )
    def test_is_exact(self, what, value, unit, ours):
        assert str(convert(Decimal(value), factor=UNITS[what][unit])) == ours

    @given(st.decimals(0, 10**12, places=6), st.sampled_from([Fraction(1), Fraction(1, 1000)]))
    def test_never_turns_a_register_back(self, value, factor):
        step = Decimal("0.000001")
        assert convert(value, factor=factor) <= convert(value + step, factor=factor)
        assert convert(value, factor=Fraction(1)) == value
