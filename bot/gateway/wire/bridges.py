"""The file of bridges: which meters are behind which address, and how each is spoken to."""

import tomllib
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field, Secret, TypeAdapter, ValidationInfo

from bot.gateway.wire.maps import Described, DeviceMap

FourBytes = Annotated[str, Field(pattern=r"^[0-9A-Fa-f]{8}$")]


def _load(path: Path) -> dict[str, Any]:
    return tomllib.loads(path.read_text(encoding="utf-8"), parse_float=Decimal)


def _load_beside(name: str, file: ValidationInfo) -> dict[str, Any]:
    assert isinstance(file.context, Path)  # noqa: S101 (where the file of bridges is)
    return _load(file.context / name)


class Meter(Described):
    """A meter behind a bridge; only where `switch` is set its relay or valve is ours to move."""

    serial: Annotated[str, Field(pattern=r"^[^\x00-\x1f]{1,64}$")]
    switch: bool = False


class Dlt645Meter(Meter):
    """`shows_command`: its status word says what the relay was told, not only how it stands."""

    address: Annotated[str, Field(pattern=r"^\d{12}$")]
    phases: Literal[1, 3] = 1
    shows_command: bool = True


class Cjt188Meter(Meter):
    """`valve_bits`: where in the status byte its maker puts the valve."""

    address: Annotated[str, Field(pattern=r"^[0-9A-Fa-f]{14}$")]
    kind: Annotated[int, Field(ge=0x10, le=0x19)] = 0x10
    valve_bits: Literal["low", "high"] = "low"


class ModbusMeter(Meter):
    """`address` is the unit; `map` names the file that says where its values are."""

    address: Annotated[int, Field(ge=0, le=255)]
    map: Annotated[DeviceMap, BeforeValidator(_load_beside)]


class Bridge(Described):
    """
    A way to meters; its name is that of the credential to which they are assigned.

    Units: seconds; `nominal` volts, from which the worst phase is the farthest.
    """

    name: Annotated[str, Field(min_length=1, max_length=64)]
    host: str
    port: Annotated[int, Field(ge=1, le=65535)]
    period_seconds: Annotated[float, Field(gt=0)] = 900
    timeout_seconds: Annotated[float, Field(gt=0, le=60)] = 3
    nominal: Decimal = Decimal(220)


class Relay(Described):
    """
    What DL/T 645 asks of whoever commands a relay, four bytes each in the order of the wire.

    After `allow` a person presses the button on the meter; `close` gives power with nobody there.
    """

    password: Secret[FourBytes]
    operator: FourBytes = "00000000"
    restore: Literal["allow", "close"] = "allow"


class Dlt645Bridge(Bridge):
    """Electricity meters on a serial line; without `relay` none of them is switched."""

    protocol: Literal["dlt645"]
    relay: Relay | None = None
    meters: Annotated[list[Dlt645Meter], Field(alias="meter", min_length=1)]


class Cjt188Bridge(Bridge):
    """Water meters on a serial line."""

    protocol: Literal["cjt188-2004", "cjt188-2018"]
    meters: Annotated[list[Cjt188Meter], Field(alias="meter", min_length=1)]


class ModbusBridge(Bridge):
    """Devices that speak Modbus; `modbus-rtu` is a serial line whose bytes the bridge passes on."""

    protocol: Literal["modbus-tcp", "modbus-rtu"]
    meters: Annotated[list[ModbusMeter], Field(alias="meter", min_length=1)]


AnyBridge = Annotated[Dlt645Bridge | Cjt188Bridge | ModbusBridge, Field(discriminator="protocol")]
_FILE = TypeAdapter(
    dict[Literal["bridge"], list[AnyBridge]], config=ConfigDict(hide_input_in_errors=True)
)


def read_bridges(path: Path) -> list[AnyBridge]:
    """
    Return the bridges of a file, with the maps it names, which are found beside it.

    Raises:
        ValueError: it says what is wrong, and where.
    """
    bridges = _FILE.validate_python(_load(path), context=path.parent).get("bridge", [])
    serials = [meter.serial for bridge in bridges for meter in bridge.meters]
    for name, count in Counter([*(bridge.name for bridge in bridges), *serials]).items():
        if count > 1:
            raise ValueError(f"{name} stands there {count} times")
    return bridges
