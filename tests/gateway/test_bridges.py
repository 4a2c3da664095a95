"""The file of bridges: what it says, what it may not say, and what is never shown of it."""

from pathlib import Path

import pytest

from bot.gateway.wire.bridges import Dlt645Bridge, ModbusBridge
from tests.gateway.counterparts import PASSWORD
from tests.gateway.places import describe_bridges, write_bridge


class TestReadBridges:
    def test_returns_each_with_its_meters(self, tmp_path: Path) -> None:
        serial, modbus = describe_bridges(
            tmp_path,
            write_bridge(4001, name="cabinet"),
            write_bridge(502, name="pump room", protocol="modbus-tcp", serial="W-1"),
        )

        assert isinstance(serial, Dlt645Bridge)
        assert serial.meters[0].address == "945807302157"
        assert isinstance(modbus, ModbusBridge)
        assert [value.unit for value in modbus.meters[0].map.values] == ["Wh", "V"]

    @pytest.mark.parametrize(
        ("parts", "complaint"),
        [
            ([write_bridge(1), write_bridge(2, serial="E-2")], "gateway stands there 2 times"),
            ([write_bridge(1), write_bridge(2, name="b")], "E-10001 stands there 2 times"),
            ([write_bridge(1, address='"94580730215"')], "address"),
            ([write_bridge(1, address='"94580730215A"')], "address"),
            ([write_bridge(1, protocol="mbus")], "protocol"),
            ([write_bridge(1, more="swich = true")], "swich"),
            ([write_bridge(1, period=0)], "period_seconds"),
            ([write_bridge(0)], "port"),
            (["[[bridges]]\n"], "bridges"),
            (["bridge = ["], "end of document"),
            (["bridge = 5"], "valid list"),
            ([write_bridge(1, protocol="modbus-tcp", more="")], "map"),
        ],
    )
    def test_says_what_is_wrong(self, tmp_path: Path, parts: list[str], complaint: str) -> None:
        with pytest.raises(ValueError, match=complaint):
            describe_bridges(tmp_path, *parts)

    def test_shows_the_password_to_nobody(self, tmp_path: Path) -> None:
        (bridge,) = describe_bridges(tmp_path, write_bridge(1))
        assert PASSWORD not in repr(bridge)

        secret = "0212345X"  # noqa: S105 (made up)
        with pytest.raises(ValueError, match="password") as wrong:
            describe_bridges(
                tmp_path, write_bridge(1, relay=f'relay = {{ password = "{secret}" }}')
            )
        assert secret not in str(wrong.value)
