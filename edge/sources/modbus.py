"""`modbus://plc.local?temperature=input:100/int16/0.1#interval=2`: registers of a device are a row, again and again.

Before the # stands which register each feature is: `KIND:ADDRESS/TYPE/FACTOR`. Addresses count from 0, as on the wire.
The same over a serial line: `modbus-rtu:/dev/ttyUSB0?...#baud=9600`. Registers that lie together are read at once. What
the device does not answer as it should makes it unavailable: it is told once, and asked again, later each time.
"""

from __future__ import annotations

import logging
import struct
import time
from collections.abc import Iterator, Sequence
from typing import Any, Literal, TypeAlias
from urllib.parse import parse_qsl

import msgspec

from edge.data.join import check_names
from edge.data.sample import Sample
from edge.data.units import SECOND_NS
from edge.errors import ConfigError, Needing, UnavailableError, nearest
from edge.plugins.contexts import SourceContext
from edge.plugins.declarations import SourceInfo
from edge.remote.address import options_of

PORT = 502
ADDRESSES = 0x10000
DAY_S = 86_400
REGISTERS_MOST, BITS_MOST = 125, 2000
"""Of one request, as the protocol has it."""
TYPES = {
    "uint16": "H",
    "int16": "h",
    "uint32": "I",
    "int32": "i",
    "uint64": "Q",
    "int64": "q",
    "float32": "f",
    "float64": "d",
}
CALLS = {
    "holding": "read_holding_registers", "input": "read_input_registers", "coil": "read_coils",
    "discrete": "read_discrete_inputs",
}  # fmt: skip
BITS = ("coil", "discrete")
REASONS = {
    1: "it does not know this function", 2: "it has no such address", 3: "it refuses the number of registers",
    4: "it failed", 5: "it is busy with a long task", 6: "it is busy", 10: "the gateway has no path to it",
    11: "the gateway hears nothing of it: is the unit right?",
}  # fmt: skip
"""Exception codes of the protocol, as the device's own word."""

Values: TypeAlias = Sequence[int] | Sequence[bool]


class Register(msgspec.Struct, frozen=True):
    """Where the value of a feature is. `count`: registers, or bits."""

    feature: str
    kind: str
    address: int
    type: str
    factor: float

    @property
    def count(self) -> int:
        return 1 if self.kind in BITS else struct.calcsize(f">{TYPES[self.type]}") // 2

    @property
    def end(self) -> int:
        """The address behind it."""
        return self.address + self.count

    def value(self, values: Values, *, little: bool) -> object:
        """From those that were read; `little`: the lowest word comes first."""
        if self.kind in BITS:
            return bool(values[0])
        words = reversed(values) if little else values
        (number,) = struct.unpack(f">{TYPES[self.type]}", b"".join(struct.pack(">H", word) for word in words))
        return number if self.factor == 1 else number * self.factor


class Options(msgspec.Struct, frozen=True):
    """Behind the #. Seconds; `unit`: the device's number on its line."""

    interval: float = 1.0
    unit: int = 1
    timeout: float = 3.0
    words: Literal["big", "little"] = "big"
    baud: int = 19_200
    parity: Literal["N", "E", "O"] = "N"
    stopbits: Literal[1, 2] = 1


class ModbusSource:
    """Belongs to one thread."""

    live = False

    def __init__(self, where: str, registers: Sequence[Register], options: Options, context: SourceContext) -> None:
        """`where`: host and port, or the path of a serial device."""
        self._where = where
        self._options = options
        self._clock = context.clock
        self._named = bool(context.features)
        self._registers = registers
        self._requests = tuple(together(registers))
        self._client: Any = None
        self._due_ns = 0

    def open(self) -> None:
        self.close()
        client = self._client = self._make()
        try:
            connected = client.connect()
        except (OSError, ValueError) as exc:
            raise UnavailableError(f"modbus {self._where}: {exc}") from exc
        if not connected:
            raise UnavailableError(f"modbus {self._where}: no connection; is the device on, and is the address right?")
        self._row()  # a gateway takes connections for devices that are away: it is there when it answers
        self._due_ns = self._clock.monotonic_ns()

    def _make(self) -> Any:
        from pymodbus.client import ModbusSerialClient, ModbusTcpClient

        logging.getLogger("pymodbus.logging").setLevel(logging.CRITICAL)  # what goes wrong is said here
        said = self._options
        if self._where.startswith("/"):
            return ModbusSerialClient(
                self._where, baudrate=said.baud, parity=said.parity, stopbits=said.stopbits, timeout=said.timeout,
                retries=0,
            )  # fmt: skip
        host, _, port = self._where.rpartition(":")
        return ModbusTcpClient(host.strip("[]"), port=int(port), timeout=said.timeout, retries=0)

    def read(self, timeout_s: float) -> Sample | None:
        wait_s = (self._due_ns - self._clock.monotonic_ns()) / SECOND_NS
        if wait_s > 0:
            time.sleep(min(wait_s, timeout_s))
            if wait_s > timeout_s:
                return None
        now = self._clock.monotonic_ns()
        self._due_ns = max(self._due_ns + int(self._options.interval * SECOND_NS), now)
        row = self._row()
        payload = row if self._named else list(row.values())
        return Sample(payload, f"modbus:{self._where}", now, self._clock.time_ns())

    def _row(self) -> dict[str, object]:
        """Raises UnavailableError."""
        found = {name: value for request in self._requests for name, value in self._ask(request)}
        return {r.feature: found[r.feature] for r in self._registers}

    def _ask(self, request: Sequence[Register]) -> Iterator[tuple[str, object]]:
        first = request[0]
        count = max(register.end for register in request) - first.address
        values = self._answer(first.kind, first.address, count)
        for register in request:
            at = register.address - first.address
            yield (
                register.feature,
                register.value(values[at : at + register.count], little=self._options.words == "little"),
            )

    def _answer(self, kind: str, address: int, count: int) -> Values:
        """Raises UnavailableError."""
        from pymodbus.exceptions import ModbusException

        what = f"modbus {self._where}: {kind}:{address}" + (f" to {address + count - 1}" if count > 1 else "")
        if self._client is None:
            raise UnavailableError(f"modbus {self._where} is not open")
        try:
            answer = getattr(self._client, CALLS[kind])(address, count=count, device_id=self._options.unit)
        except (ModbusException, OSError) as exc:
            raise UnavailableError(f"{what}: no answer of unit {self._options.unit}; is it on?") from exc
        if answer.isError():
            code = getattr(answer, "exception_code", 0)
            reason = REASONS.get(code, f"the device answers {answer}")
            raise UnavailableError(f"{what}: {reason} (exception code {code}); unit {self._options.unit}")
        values: Values = answer.bits if kind in BITS else answer.registers
        if len(values) < count:
            raise UnavailableError(f"{what}: {len(values)} values came")
        return values

    def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            client.close()


def together(registers: Sequence[Register]) -> Iterator[Sequence[Register]]:
    """Those that touch one another, in one request each."""
    group: list[Register] = []
    for register in sorted(registers, key=lambda r: (r.kind, r.address)):
        most = BITS_MOST if register.kind in BITS else REGISTERS_MOST
        if group:
            end = max(r.end for r in group)
            fits = register.end - group[0].address <= most
            if register.kind != group[0].kind or register.address > end or not fits:
                yield group
                group = []
        group.append(register)
    yield group


def parse(query: str, what: str) -> tuple[Register, ...]:
    """Features and their registers. Raises ConfigError."""
    found = tuple(_register(name, said, what) for name, said in parse_qsl(query, keep_blank_values=True))
    names = [register.feature for register in found]
    if not found:
        raise ConfigError(f"{what}: no register; say ?FEATURE=holding:ADDRESS, with & between several")
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise ConfigError(f"{what}: there are two registers for {twice}; leave one out")
    return found


def _register(name: str, said: str, what: str) -> Register:
    place, *more = said.split("/")
    kind, _, address = place.partition(":")
    usage = "KIND:ADDRESS/TYPE/FACTOR, such as holding:100/int16/0.1"
    if kind not in CALLS:
        raise ConfigError(
            f"{what}: {name}={said}: {kind!r} is none of {', '.join(CALLS)}{nearest(kind, CALLS)}; say {usage}"
        )
    if not (address.isascii() and address.isdigit() and int(address) < ADDRESSES):
        raise ConfigError(f"{what}: {name}={said}: {address!r} is no address from 0 to 65535; say {usage}")
    if len(more) > 2 or (kind in BITS and more):
        raise ConfigError(f"{what}: {name}={said}: too much; say {'coil:3' if kind in BITS else usage}")
    type_, factor = more[0] if more else "uint16", 1.0
    if type_ not in TYPES:
        raise ConfigError(f"{what}: {name}={said}: {type_!r} is none of {', '.join(TYPES)}{nearest(type_, TYPES)}")
    try:
        factor = float(more[1]) if len(more) > 1 else 1.0
    except ValueError:
        factor = 0.0
    if not factor or factor - factor:
        raise ConfigError(f"{what}: {name}={said}: {more[1]!r} is no factor; say {usage}")
    register = Register(name, kind, int(address), type_, factor)
    if register.end > ADDRESSES:
        raise ConfigError(
            f"{what}: {name}={said}: its {register.count} registers end behind 65535; say a lower address"
        )
    return register


def _made(where: str, query: str, fragment: str, what: str, context: SourceContext) -> ModbusSource:
    """Raises ConfigError."""
    options: Options = options_of(f"--source {what}:", fragment, Options)
    times = all(0 < seconds <= DAY_S for seconds in (options.interval, options.timeout))
    if not times or not 0 <= options.unit <= 255 or options.baud < 1:
        raise ConfigError(
            f"--source {what}: interval and timeout are above 0 and at most {DAY_S} s, unit is from 0 to 255, baud "
            "is above 0"
        )
    registers = parse(query, f"--source {what}")
    check_names(f"--source {what}: {{}}=...", [r.feature for r in registers], context.features, partial=context.partial)
    with Needing("the modbus source", "pymodbus", "modbus"):
        import pymodbus.client  # noqa: F401 - said at the start
    return ModbusSource(where, registers, options, context)


def create(rest: str, context: SourceContext) -> ModbusSource:
    """`rest` is host, port and registers. Raises ConfigError."""
    url, _, fragment = rest.partition("#")
    place, _, query = url.partition("?")
    place = place.removeprefix("//").rstrip("/")
    host, colon, port = place.rpartition(":")
    if not colon or place.endswith("]"):
        host, port = place, str(PORT)
    if not host or "/" in host or "@" in host or not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise ConfigError(f"--source modbus:{place}: no address of a device; say {SOURCE.usage}")
    return _made(f"{host}:{port}", query, fragment, "modbus", context)


def create_rtu(rest: str, context: SourceContext) -> ModbusSource:
    """`rest` is the serial device and registers. Raises ConfigError."""
    url, _, fragment = rest.partition("#")
    path, _, query = url.partition("?")
    if not path.startswith("/"):
        raise ConfigError(f"--source modbus-rtu:{path}: no device; say {RTU.usage}")
    return _made(path, query, fragment, "modbus-rtu", context)


FIX = "is it on, and are unit and addresses right? they count from 0: 40001 of a manual is holding:0"
SOURCE = SourceInfo(
    edge_api=1, create=create, usage="modbus://HOST[:502]?FEATURE=holding:0", gives="readings", ongoing=True,
    packages=("pymodbus",), fix=FIX,
)  # fmt: skip
RTU = SourceInfo(
    edge_api=1, create=create_rtu, usage="modbus-rtu:/dev/ttyUSB0?FEATURE=holding:0", gives="readings", ongoing=True,
    devices=("char-ttyUSB", "char-ttyACM", "char-ttyAMA", "char-ttyS"), groups=("dialout",),
    packages=("pymodbus", "pyserial"), fix=FIX,
)  # fmt: skip
