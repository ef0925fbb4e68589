"""Registers as rows, from pymodbus's own server, and from one that says what a test wants."""

from __future__ import annotations

import asyncio
import os
import select
import struct
import threading
import tty
from collections.abc import Iterator

import pytest
from support.processes import free_port

from edge.errors import ConfigError, UnavailableError
from edge.plugins.contexts import SourceContext
from edge.sources import modbus
from edge.telemetry.clock import SystemClock
from edge.testing.fakes import FakeClock

pymodbus = pytest.importorskip("pymodbus")

UNIT = 7


class Device:
    """A server of pymodbus in a thread of its own: TCP, or on the serial line `line`."""

    def __init__(self, port: int = 0, line: str = "") -> None:
        self.port, self._line = port, line
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(self._serve(), self._loop).result(60)

    async def _serve(self):
        from pymodbus.datastore import ModbusDeviceContext, ModbusSequentialDataBlock, ModbusServerContext
        from pymodbus.server import ModbusSerialServer, ModbusTcpServer

        registers = [0] * 20
        registers[0], registers[1] = 215, 0x10000 - 30
        registers[2:4] = struct.unpack(">HH", struct.pack(">f", 1.5))
        registers[4:6] = reversed(struct.unpack(">HH", struct.pack(">i", -70_000)))
        block = ModbusSequentialDataBlock(1, registers)
        bits = ModbusSequentialDataBlock(1, [False, True, True] + [False] * 17)
        device = ModbusDeviceContext(di=bits, co=bits, hr=block, ir=block)
        units = ModbusServerContext({UNIT: device}, single=False)
        server = (
            ModbusSerialServer(units, port=self._line)
            if self._line
            else ModbusTcpServer(units, address=("127.0.0.1", self.port))
        )
        await server.serve_forever(background=True)
        return server

    def close(self) -> None:
        asyncio.run_coroutine_threadsafe(self._server.shutdown(), self._loop).result(60)
        asyncio.run_coroutine_threadsafe(asyncio.sleep(0), self._loop).result(60)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


@pytest.fixture
def device() -> Iterator[Device]:
    made = Device(free_port())
    yield made
    made.close()


def opened(port: int, query: str, *features: str, options: str = f"unit={UNIT}", clock=None):
    context = SourceContext(clock or SystemClock(), features=features)
    source = modbus.create(f"127.0.0.1:{port}?{query}#{options}", context)
    source.open()
    return source


def test_registers_of_each_kind_and_type_are_a_row_in_the_features_order(device):
    source = opened(
        device.port,
        "d=coil:1&t=holding:0/uint16/0.1&m=input:1/int16&p=holding:2/float32&e=discrete:0",
        "d", "t", "m", "p", "e",
    )  # fmt: skip
    sample = source.read(5)
    source.close()
    assert sample.payload == {"d": True, "t": 21.5, "m": -30, "p": 1.5, "e": False}
    assert list(sample.payload) == ["d", "t", "m", "p", "e"]
    assert sample.source == f"modbus:127.0.0.1:{device.port}"


def test_the_lowest_word_may_come_first_and_a_model_without_names_gets_an_array(device):
    source = opened(device.port, "x=holding:4/int32&y=holding:0", options=f"unit={UNIT}&words=little")
    assert source.read(5).payload == [-70_000, 215]
    source.close()


def test_it_is_read_again_when_the_interval_is_over(device):
    clock = FakeClock()
    source = opened(device.port, "x=holding:0", options=f"unit={UNIT}&interval=60", clock=clock)
    assert source.read(0) is not None
    assert source.read(0) is None
    clock.advance(60)
    assert source.read(0) is not None
    source.close()


def test_registers_may_overlap(device):
    source = opened(device.port, "p=holding:2/uint64&q=holding:2/float32&r=holding:3", "p", "q", "r")
    row = source.read(5).payload
    source.close()
    assert (row["p"] >> 32, row["q"], row["r"]) == (0x3FC00000, 1.5, 0)


@pytest.mark.parametrize(
    ("query", "unit", "reason"),
    [
        ("x=holding:500", UNIT, "holding:500: it has no such address"),
        ("x=coil:500", UNIT, "coil:500: it has no such address"),
        ("x=holding:0", 9, "unit"),
    ],
)
def test_what_the_device_does_not_have_is_told_with_its_reason(device, query, unit, reason):
    context = SourceContext(SystemClock())
    source = modbus.create(f"127.0.0.1:{device.port}?{query}#unit={unit}&timeout=0.5", context)
    with pytest.raises(UnavailableError, match=reason):
        source.open()  # not only with the first reading: it would be told as there again and again
    source.close()


def test_a_device_that_is_away_is_told_and_comes_back(device):
    port = free_port()
    source = modbus.create(f"//127.0.0.1:{port}?x=holding:0#unit={UNIT}", SourceContext(SystemClock()))
    with pytest.raises(UnavailableError, match="no connection; is the device on"):
        source.open()
    second = Device(port)
    source.open()
    assert source.read(5).payload == [215]
    second.close()
    with pytest.raises(UnavailableError, match="holding:0: no answer of unit 7"):
        source.read(5)
    source.close()


def test_registers_that_touch_are_asked_for_at_once_others_not():
    registers = modbus.parse("a=holding:0&b=holding:1/float32&c=holding:4&d=input:2&e=holding:3", "x")
    groups = [[r.feature for r in group] for group in modbus.together(registers)]
    assert groups == [["a", "b", "e", "c"], ["d"]]


@pytest.mark.parametrize(
    ("rest", "reason"),
    [
        ("", "no address of a device"),
        ("host:99999?x=coil:1", "no address of a device"),
        ("host", "no register"),
        ("host?x=holdin:1", "did you mean holding"),
        ("host?x=holding:70000", "no address from 0 to 65535"),
        ("host?x=holding:1/int17", "did you mean int16"),
        ("host?x=holding:1/int16/0", "no factor"),
        ("host?x=holding:1/int16/nan", "no factor"),
        ("host?x=coil:1/int16", "too much"),
        ("host?x=coil:1&x=coil:2", "two registers for x"),
        ("host?y=coil:1", "no such feature"),
        ("host?x=coil:1#unit=300", "from 0 to 255"),
        ("host?x=holding:65534/uint64", "end behind 65535"),
        ("host?x=coil:1#interval=0", "above 0"),
        ("host?x=coil:1#interval=nan", "above 0"),
        ("host?x=coil:1#interval=inf", "at most 86400"),
        ("host?x=coil:1#timeout=1e300", "at most 86400"),
        ("host?x=coil:1#unti=3", "did you mean unit"),
    ],
)
def test_what_cannot_be_a_device_is_refused(rest, reason):
    with pytest.raises(ConfigError, match=reason):
        modbus.create(rest, SourceContext(FakeClock(), features=("x",)))


@pytest.fixture
def lines() -> Iterator[tuple[str, str]]:
    """Two ends of a serial line, each a pseudo-terminal."""
    ends = [os.openpty() for _ in range(2)]
    (one, _), (other, _) = ends
    reads, stops = os.pipe()

    def carry() -> None:
        while reads not in (ready := select.select([one, other, reads], [], [])[0]):
            for fd in ready:
                os.write(other if fd == one else one, os.read(fd, 4096))

    for fd in (one, other, *(slave for _, slave in ends)):
        tty.setraw(fd)
    thread = threading.Thread(target=carry)
    thread.start()
    yield tuple(os.ttyname(slave) for _, slave in ends)
    os.close(stops)
    thread.join()
    for fd in (reads, *(fd for end in ends for fd in end)):
        os.close(fd)


def test_a_serial_line_is_read_as_a_network_is(lines):
    ours, theirs = lines
    device = Device(line=theirs)
    source = modbus.create_rtu(f"{ours}?t=holding:0#unit={UNIT}", SourceContext(SystemClock()))
    source.open()
    assert source.read(5).payload == [215]
    source.close()
    device.close()


def test_a_serial_line_is_named_by_its_device():
    with pytest.raises(ConfigError, match="no device; say modbus-rtu:/dev"):
        modbus.create_rtu("ttyUSB0?x=coil:1", SourceContext(FakeClock()))
    source = modbus.create_rtu("/dev/no-such-line?x=coil:1", SourceContext(FakeClock()))
    with pytest.raises(UnavailableError, match="/dev/no-such-line"):
        source.open()
