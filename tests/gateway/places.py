"""Files of bridges in tests, each with its name, its port and its only meter."""

from pathlib import Path
from typing import Any

from bot.gateway.wire.bridges import AnyBridge, read_bridges
from tests.gateway.counterparts import ELECTRICITY, PASSWORD, WATER

DEVICE_MAP = """
[[value]]
address = 0
type = "u32"
unit = "Wh"

[[value]]
address = 2
type = "float32"
unit = "V"

[switch.command]
table = "coil"
address = 0
connected = 1
cut = 0

[switch.state]
table = "discrete"
address = 0
connected = 1
cut = 0
"""
BRIDGE = """
[[bridge]]
name = "{name}"
host = "127.0.0.1"
port = {port}
protocol = "{protocol}"
period_seconds = {period}
timeout_seconds = {timeout}
{relay}
[[bridge.meter]]
serial = "{serial}"
address = {address}
{more}
"""
ADDRESSES = {"dlt645": f'"{ELECTRICITY}"', "modbus-tcp": "7", "modbus-rtu": "7"}


def write_bridge(port: int, **how: Any) -> str:
    """Return a part of a file."""
    protocol = how.get("protocol", "dlt645")
    relay = f'relay = {{ password = "{PASSWORD}" }}\n' if protocol == "dlt645" else ""
    more = 'map = "meter.toml"\n' if protocol.startswith("modbus") else ""
    filled = {
        "name": "gateway",
        "protocol": protocol,
        "period": 0.3,
        "timeout": 0.5,
        "relay": relay,
        "serial": "E-10001",
        "address": ADDRESSES.get(protocol, f'"{WATER}"'),
        "more": more + "switch = true",
    }
    return BRIDGE.format_map(filled | how | {"port": port})


def write_file(directory: Path, *parts: str) -> Path:
    (directory / "meter.toml").write_text(DEVICE_MAP)
    path = directory / "bridges.toml"
    path.write_text("".join(parts))
    return path


def describe_bridges(directory: Path, *parts: str) -> list[AnyBridge]:
    return read_bridges(write_file(directory, *parts))
