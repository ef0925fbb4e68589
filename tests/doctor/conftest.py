from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from edge.settings import layers
from edge.tools.doctor.host import Host

PI_5 = {
    "proc/device-tree/model": b"Raspberry Pi 5 Model B Rev 1.0\0",
    "proc/device-tree/chosen/power/max_current": (5000).to_bytes(4, "big"),
    "proc/meminfo": b"MemTotal: 8245936 kB\nMemAvailable: 7000000 kB\nSwapFree: 0 kB\n",
    "proc/mounts": b"/dev/mmcblk0p2 / ext4 rw,noatime 0 0\ntmpfs /run tmpfs rw 0 0\n",
    "proc/swaps": b"Filename Type Size Used Priority\n/dev/zram0 partition 2097148 0 100\n",
    "sys/class/thermal/thermal_zone0/type": b"cpu-thermal\n",
    "sys/class/thermal/thermal_zone0/temp": b"48200\n",
    "sys/devices/system/cpu/cpufreq/policy0/scaling_governor": b"ondemand\n",
    "sys/fs/ext4/mmcblk0p2/errors_count": b"0\n",
    "etc/systemd/journald.conf": b"[Journal]\n#Storage=auto\n",
}
WHEELS = {"numpy": "2.4.6", "onnxruntime": "1.32.0", "paho-mqtt": "2.2.0", "msgspec": "0.22.0", "starlette": "1.10.0"}


class Pi:
    """A Raspberry Pi 5 in good health, laid out in a folder; a test breaks one thing of it."""

    def __init__(self, folder: Path, model: Path) -> None:
        self.root = folder / "root"
        self.state = folder / "state"
        self.modules = folder / "modules"
        self.model = model
        self.wheels = dict(WHEELS)
        self.of_the_system: set[str] = set()
        for name, data in PI_5.items():
            self.lay(name, data)
        self.says(0)
        self.modules.mkdir()
        self.host = Host(
            root=self.root,
            environ={"PATH": f"{self.root}/bin:/usr/bin:/bin", "PYTHONPATH": str(self.modules)},
            machine="aarch64",
            bits=64,
            version=self.wheels.get,
            importable=self.of_the_system.__contains__,
            kernel_clock=lambda: (0, 0),
        )

    def lay(self, name: str, data: bytes | str) -> Path:
        file = self.root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data.encode() if isinstance(data, str) else data)
        return file

    def says(self, bits: int) -> None:
        """What `vcgencmd get_throttled` tells."""
        self.lay("bin/vcgencmd", f"#!/bin/sh\n[ $1 = get_throttled ] && echo throttled={bits:#x}\n").chmod(0o755)

    def module(self, name: str, text: str) -> None:
        """A wheel's module as this text, for child processes."""
        (self.modules / f"{name}.py").write_text(text)

    def becomes(self, **fields: Any) -> None:
        self.host = dataclasses.replace(self.host, **fields)

    def settings(self, *flags: object) -> layers.Settings:
        base = ["--model", self.model, "--mqtt", "none", "--source", "synthetic:1", "--state-dir", self.state]
        return layers.read([str(f) for f in (*base, *flags)], {}, "0")


@pytest.fixture
def pi(tmp_path, flowers) -> Pi:
    return Pi(tmp_path, flowers.path)
