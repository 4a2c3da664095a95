"""Frames of DL/T 645 and CJ/T 188: the kept ones, invented ones, damaged ones."""

import json
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.gateway.wire import cjt188, dlt645
from bot.gateway.wire.dlt645 import ENERGY, STATUS, VOLTAGES, Action
from bot.gateway.wire.frames import NotYet, Refused, pack, seal, unpack
from core.accounts.models import Supply

KEPT = Path(__file__).parents[1] / "data/china-frames/frames.jsonl"
FRAMES = [
    json.loads(line, parse_float=Decimal) for line in KEPT.read_text(encoding="utf-8").splitlines()
]
REPLIES = [frame for frame in FRAMES if frame["dir"] == "reply"]
REQUESTS = [frame for frame in FRAMES if frame["dir"] == "request"]
RELAY = {Supply.CONNECTED: "closed", Supply.CUT: "open"}
VALVE = {Supply.CONNECTED: "open", Supply.CUT: "closed"}

METER = "945807302157"
VALVE_METER = "93036426212997"
ENERGY_REPLY = bytes.fromhex("FEFEFEFE6857213007589468910833333433B4769B3BD116")
STATUS_REPLY = bytes.fromhex("685721300758946891063638333733334016")
WATER_REPLY = bytes.fromhex(
    "FEFEFE68109729212664039381161F9000677026012C676926012C550006250426200000D616"
)
VALVE_REPLY = bytes.fromhex("6810972921266403938405A017010000BA16")


def understand(frame: dict[str, Any]) -> dict[str, object]:
    """Read a kept reply by our codecs, as `expect` in the file is written."""
    heard, address = bytes.fromhex(frame["hex"]), frame.get("addr", METER)
    try:
        if frame["proto"] == "dlt645-2007":
            return understand_electricity(heard, address, frame.get("di"))
        if "A017" in frame["hex"]:
            valve = cjt188.read_acceptance(heard, address=address, number=1)
            return {"valve": VALVE[valve]}
        shown = cjt188.read_meter(heard, address=address, number=0)
    except Refused as refusal:
        return {"error": refusal.reason}
    return {f"volume_{shown.unit}": shown.volume, "valve": VALVE[shown.valve]}


def understand_electricity(heard: bytes, address: str, di: str | None) -> dict[str, object]:
    match di:
        case "04000503":
            return {"relay": RELAY[dlt645.read_relay(heard, address=address)]}
        case "02010100":
            value = dlt645.read_number(heard, address=address, item=VOLTAGES[0])
            return {"voltage_v": value}
        case None if b"\x68\xdc" in heard:
            dlt645.read_acceptance(heard, address=address)
            return {}
        case _:
            return {"energy_kwh": dlt645.read_number(heard, address=address, item=ENERGY)}


class TestKeptFrames:
    @pytest.mark.parametrize("frame", REPLIES, ids=lambda frame: frame["hex"][-12:])
    def test_give_exactly_what_is_expected(self, frame: dict[str, Any]) -> None:
        expected = {key: value for key, value in frame["expect"].items() if key != "note"}

        assert understand(frame) == expected

    def test_are_all_there(self) -> None:
        assert (len(REQUESTS), len(REPLIES)) == (5, 8)

    def test_questions_are_built_as_kept(self) -> None:
        built = [
            dlt645.ask(METER, ENERGY),
            cjt188.ask(VALVE_METER, number=0, is_low_first=True),
            cjt188.ask(VALVE_METER, number=0),
            cjt188.command(VALVE_METER, opens=False, number=1),
            cjt188.command(VALVE_METER, opens=True, number=2),
        ]

        assert [frame.hex().upper() for frame in built] == [frame["hex"] for frame in REQUESTS]


class TestCommand:
    def test_puts_password_operator_action_and_the_end_of_its_validity(self) -> None:
        frame = dlt645.command(
            METER,
            Action.TRIP,
            password=bytes.fromhex("02123456"),
            operator=bytes.fromhex("0a0b0c0d"),
            until=datetime(2026, 12, 28, 10, 31, 59),  # noqa: DTZ001 (the meter's clock has no zone)
        )

        content = bytes((byte - 0x33) & 0xFF for byte in frame[10:-2])
        assert frame[8:10] == bytes((0x1C, 16))
        assert content.hex() == "02123456" + "0a0b0c0d" + "1a00" + "593110" + "281226"

    def test_is_accepted_by_an_answer_of_its_own_kind_only(self) -> None:
        accepted = seal(bytes.fromhex("68572130075894689C00"))

        dlt645.read_acceptance(accepted, address=METER)
        with pytest.raises(NotYet, match="other_answer"):
            dlt645.read_acceptance(ENERGY_REPLY, address=METER)

    def test_is_not_accepted_by_its_own_echo(self) -> None:
        echo = dlt645.ask(METER, ENERGY)

        with pytest.raises(NotYet, match="silence"):
            dlt645.read_number(echo, address=METER, item=ENERGY)
        assert dlt645.read_number(echo + ENERGY_REPLY, address=METER, item=ENERGY) > 0

    @pytest.mark.parametrize(
        ("error", "reason"),
        [("04", "password"), ("01", "other"), ("06", "no_such_item+password"), ("00", "error_00")],
    )
    def test_is_refused_with_the_reason(self, error: str, reason: str) -> None:
        byte = (int(error, 16) + 0x33) & 0xFF
        refusal = seal(bytes.fromhex("6857213007589468DC01") + bytes((byte,)))

        with pytest.raises(Refused) as refused:
            dlt645.read_acceptance(refusal, address=METER)
        assert refused.value.reason == reason


class TestReadRelay:
    @pytest.mark.parametrize(
        ("word", "state", "without_command"),
        [
            (0x0000, Supply.CONNECTED, Supply.CONNECTED),
            (0x0040, Supply.CONNECTED, Supply.CONNECTED),  # told to open, has not moved yet
            (0x0050, Supply.CUT, Supply.CUT),
            (0x0010, Supply.READY, Supply.CUT),  # open, and told to be closed
            (0xFFAF, Supply.CONNECTED, Supply.CONNECTED),
        ],
    )
    def test_believes_only_the_relay_itself(
        self, word: int, state: Supply, without_command: Supply
    ) -> None:
        content = STATUS.wire + word.to_bytes(2, "little")
        heard = seal(
            bytes.fromhex("68572130075894689106") + bytes((byte + 0x33) & 0xFF for byte in content)
        )

        assert dlt645.read_relay(heard, address=METER) is state
        without = dlt645.read_relay(heard, address=METER, shows_command=False)
        assert without is without_command


def show_water(**changes: Any) -> bytes:
    """Build the answer of a water meter."""
    parts = {"volume": "01267067", "unit": 0x2C, "status": 0, "tail": b"", "number": 0} | changes
    content = (
        bytes((0x1F, 0x90, parts["number"]))
        + pack(parts["volume"])
        + bytes((parts["unit"],))
        + pack("01266967")
        + b"\x2c"
        + pack("20260425060055")
        + bytes((parts["status"], 0))
        + parts["tail"]
    )
    return seal(b"\x68\x10" + pack(VALVE_METER) + bytes((0x81, len(content))) + content)


class TestReadMeter:
    @pytest.mark.parametrize(
        ("status", "low", "high"),
        [
            (0b0000_0000, Supply.CONNECTED, Supply.CONNECTED),
            (0b0000_0001, Supply.CUT, Supply.CONNECTED),
            (0b0000_0011, Supply.UNKNOWN, Supply.CONNECTED),
            (0b0100_0000, Supply.CONNECTED, Supply.CUT),
            (0b1100_0010, Supply.UNKNOWN, Supply.UNKNOWN),
        ],
    )
    def test_finds_the_valve_in_the_bits_that_are_set(
        self, status: int, low: Supply, high: Supply
    ) -> None:
        heard = show_water(status=status)

        shown = [
            cjt188.read_meter(heard, address=VALVE_METER, number=0, is_high=is_high).valve
            for is_high in (False, True)
        ]
        assert shown == [low, high]

    @pytest.mark.parametrize(
        ("changes", "reason"),
        [
            ({"unit": 0x05}, "unit"),
            ({"volume": "0126FFFF"}, "not_decimal"),
            ({"tail": b"\x00"}, "length"),
            ({"number": 7}, "other_answer"),  # the answer to an earlier question
        ],
    )
    def test_refuses_what_is_no_volume(self, changes: dict[str, Any], reason: str) -> None:
        with pytest.raises(Refused) as refused:
            cjt188.read_meter(show_water(**changes), address=VALVE_METER, number=0)
        assert refused.value.reason == reason

    def test_reads_litres_as_litres(self) -> None:
        shown = cjt188.read_meter(show_water(unit=0x29), address=VALVE_METER, number=0)

        assert (shown.volume, shown.unit) == (Decimal("12670.67"), "l")

    def test_takes_an_abnormal_answer_for_a_refusal(self) -> None:
        heard = seal(b"\x68\x10" + pack(VALVE_METER) + bytes((0xC1, 3, 0, 0x04, 0x00)))

        with pytest.raises(Refused, match="error_0400"):
            cjt188.read_meter(heard, address=VALVE_METER, number=0)


READERS = [
    (ENERGY_REPLY, lambda heard: dlt645.read_number(heard, address=METER, item=ENERGY)),
    (STATUS_REPLY, lambda heard: dlt645.read_relay(heard, address=METER)),
    (WATER_REPLY, lambda heard: cjt188.read_meter(heard, address=VALVE_METER, number=0)),
    (VALVE_REPLY, lambda heard: cjt188.read_acceptance(heard, address=VALVE_METER, number=1)),
]
reader = pytest.mark.parametrize(
    ("reply", "read"), READERS, ids=["energy", "status", "water", "valve"]
)


@reader
class TestAnyReply:
    @given(at=st.integers(0, 39), into=st.integers(0, 255))
    def test_with_a_flipped_byte_gives_the_truth_or_nothing(
        self, reply: bytes, read: Any, at: int, into: int
    ) -> None:
        at %= len(reply)
        damaged = reply[:at] + bytes((into,)) + reply[at + 1 :]

        if damaged == reply or reply[at] == 0xFE:
            assert read(damaged) == read(reply)
        else:
            with pytest.raises(NotYet, match=r"checksum|incomplete|silence"):
                read(damaged)

    @given(before=st.binary(max_size=40), after=st.binary(max_size=40))
    def test_is_found_among_garbage(
        self, reply: bytes, read: Any, before: bytes, after: bytes
    ) -> None:
        assert read(before + reply + after) == read(reply)

    @given(between=st.binary(max_size=20))
    def test_is_found_after_damaged_and_foreign_frames(
        self, reply: bytes, read: Any, between: bytes
    ) -> None:
        foreign = b"".join(other for other, _ in READERS if other != reply)
        damaged = reply[:-3] + bytes((reply[-3] ^ 1,)) + reply[-2:]

        assert read(foreign + between + damaged + between + reply) == read(reply)

    @given(length=st.integers(0, 39))
    def test_is_awaited_while_it_is_not_whole(self, reply: bytes, read: Any, length: int) -> None:
        with pytest.raises(NotYet):
            read(reply[: length % len(reply)])

    @given(noise=st.binary(max_size=300))
    def test_is_never_made_of_noise(self, reply: bytes, read: Any, noise: bytes) -> None:
        assert reply not in noise
        with pytest.raises(Refused):
            read(noise)


class TestUnpack:
    @given(number=st.integers(0, 10**8 - 1), places=st.integers(0, 3))
    def test_returns_any_decimal_that_was_packed(self, number: int, places: int) -> None:
        value = Decimal(number).scaleb(-places)

        assert unpack(pack(f"{number:08}"), places=places) == value

    @given(number=st.integers(0, 10**8 - 1))
    def test_is_exact_in_whole_answers(self, number: int) -> None:
        content = ENERGY.wire + pack(f"{number:08}")
        heard = seal(
            bytes.fromhex("68572130075894689108") + bytes((byte + 0x33) & 0xFF for byte in content)
        )

        energy = dlt645.read_number(heard, address=METER, item=ENERGY)
        water = cjt188.read_meter(
            show_water(volume=f"{number:08}"), address=VALVE_METER, number=0
        ).volume
        assert energy == water == Decimal(number) / 100

    @pytest.mark.parametrize("filled", ["FFFF", "12A4", "A221", "222F"])
    def test_refuses_what_is_no_decimal(self, filled: str) -> None:
        with pytest.raises(Refused, match="not_decimal"):
            unpack(pack(filled), places=1)
