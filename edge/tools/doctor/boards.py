"""The board: which one, its processor's clock, heat, power, throttling, memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from edge.errors import ModelError
from edge.settings.settings import Settings
from edge.telemetry import board
from edge.telemetry.clock import ClockSync
from edge.tools.doctor.host import Host
from edge.tools.doctor.row import Row, fail, ok, skip, warn

MB = 1_000_000
HOT_C = 80.0
WARM_C = 70.0
COOLING = "a heat sink or a fan, air around the case; --max-temperature 75 looks at fewer frames before that"
SUPPLY = "the board's own power supply, and a short, thick cable"
PI_5_MA = 5000
"""What a Pi 5 asks of its supply; with less its USB ports give 600 mA together."""
ENGINE_BYTES = 110 * MB
"""Python, numpy and an engine, before a model."""
FACTORS = {".tflite": 1.5}
ONNX_FACTOR = 2.5
"""Memory for each byte of the file: ONNX Runtime keeps weights and copies packed for its kernels, LiteRT maps them."""


def rows(host: Host) -> Iterator[Row]:
    """Board, temperature, power, throttling."""
    yield _board(host)
    yield _temperature(host)
    bits = host.board.throttled()
    yield _power(host, bits)
    yield _throttling(bits)


def _board(host: Host) -> Row:
    governors = {
        f.read_text(errors="replace").strip()
        for f in sorted((host.root / "sys/devices/system/cpu/cpufreq").glob("policy*/scaling_governor"))
    }
    total = meminfo(host).get("MemTotal", 0)
    text = f"{host.board.model()}, {board.cores()} cores, {total / 1e9:.1f} GB"
    if "powersave" in governors:
        fix = "echo ondemand | sudo tee /sys/devices/system/cpu/cpufreq/policy*/scaling_governor"
        return warn("board", f"{text}: the governor powersave keeps the processor at its slowest", fix)
    return ok("board", text, model=host.board.model(), memory_bytes=total)


def _temperature(host: Host) -> Row:
    celsius = host.board.temperature_celsius()
    if celsius is None:
        return skip("temperature", "this machine does not tell")
    if celsius >= HOT_C:
        return warn("temperature", f"{celsius:.0f} C: the firmware slows everything down", COOLING, celsius=celsius)
    if celsius >= WARM_C:
        text = f"{celsius:.0f} C: warm; from {HOT_C:.0f} C the firmware slows everything down"
        return warn("temperature", text, COOLING, celsius=celsius)
    return ok("temperature", f"{celsius:.0f} C", celsius=celsius)


def _power(host: Host, bits: int | None) -> Row:
    if bits is not None and bits & board.UNDER_VOLTAGE:
        problems = ", ".join(board.problems(bits & board.UNDER_VOLTAGE))
        return warn("power", problems, SUPPLY, bits=bits)
    offered = _offered_ma(host)
    if offered is not None and offered < PI_5_MA:
        text = f"the supply offers {offered / 1000:g} A: the USB ports give 600 mA together, little for a camera"
        return warn("power", text, "a 5 V supply that offers 5 A (27 W)", offered_ma=offered)
    if bits is None:
        return skip("power", "this machine does not tell")
    return ok("power", "no under-voltage since the start", bits=bits)


def _offered_ma(host: Host) -> int | None:
    """What the supply of a Pi 5 says it can give, in mA; None on other boards.

    https://www.raspberrypi.com/documentation/computers/configuration.html#device-tree-power-parameters
    """
    if "Raspberry Pi 5" not in host.board.model():
        return None
    try:
        raw = (host.root / "proc/device-tree/chosen/power/max_current").read_bytes()
    except OSError:
        return None
    return int.from_bytes(raw, "big") if len(raw) == 4 else None


def _throttling(bits: int | None) -> Row:
    if bits is None:
        return skip("throttling", "this machine does not tell")
    heat = bits & ~board.UNDER_VOLTAGE
    if heat:
        fix = SUPPLY if bits & board.UNDER_VOLTAGE else COOLING
        return warn("throttling", ", ".join(board.problems(heat)), fix, bits=bits)
    return ok("throttling", "none since the start", bits=bits)


def memory(settings: Settings, host: Host) -> Iterator[Row]:
    """What the models will take, by their size, against what is free. A file that several runs have is loaded once."""
    files = {one.model.file.resolve() for one in settings.each}
    sizes = {file: size for file in files if (size := model_bytes(file)) is not None}
    size = sum(sizes.values()) if sizes else None
    known = meminfo(host)
    if size is None or "MemAvailable" not in known:
        yield skip("memory", "no model" if size is None else "this machine does not tell")
        return
    free = _available(host, known)
    estimate = ENGINE_BYTES + sum(estimated_bytes(file, own) - ENGINE_BYTES for file, own in sizes.items())
    takes = "the model takes" if len(sizes) == 1 else f"the {len(sizes)} models take"
    text = f"{takes} about {estimate / MB:,.0f} MB, {free / MB:,.0f} MB are free"
    facts = {"estimate_bytes": estimate, "available_bytes": free}
    fix = "edge-convert --quantize int8 makes it a quarter; end other programs; or a board with more memory"
    if size > free + known.get("SwapFree", 0):
        yield fail("memory", f"{text}: it does not fit", fix, ModelError.exit_code, **facts)
    elif estimate > free:
        yield warn("memory", text, fix, **facts)
    else:
        yield ok("memory", text, **facts)


def model_bytes(model: Path) -> int | None:
    """Of the file and its external data; None where there is no such file."""
    try:
        sizes = [model.stat().st_size]
    except OSError:
        return None
    sizes += [
        f.stat().st_size for f in (model.with_name(f"{model.name}.data"), model.with_suffix(".data")) if f.is_file()
    ]
    return sum(sizes)


def estimated_bytes(model: Path, size: int) -> int:
    """Of the running service. A rule of thumb; the latency row has what was really used."""
    return ENGINE_BYTES + int(size * FACTORS.get(model.suffix, ONNX_FACTOR))


def meminfo(host: Host) -> dict[str, int]:
    """/proc/meminfo, in bytes."""
    sizes = {}
    for line in host.text("proc/meminfo").splitlines():
        name, _, rest = line.partition(":")
        number = rest.split()
        if number and number[0].isdigit():
            sizes[name] = int(number[0]) * 1024
    return sizes


def _available(host: Host, known: dict[str, int]) -> int:
    """Of the machine, or of the container where that has less."""
    free = known["MemAvailable"]
    most, used = host.text("sys/fs/cgroup/memory.max"), host.text("sys/fs/cgroup/memory.current")
    if most.isdigit() and used.isdigit():
        free = min(free, max(0, int(most) - int(used)))
    return free


def clock(host: Host) -> Row:
    """Whether the kernel calls its clock synchronised."""
    if ClockSync(ask=host.kernel_clock)():
        return ok("clock", "synchronised")
    text = "not synchronised: results say so (clock_synced), their times may be wrong"
    return warn("clock", text, "sudo timedatectl set-ntp true; without a network a clock with a battery")
