from __future__ import annotations

from edge.telemetry.board import Board, Firmware
from edge.testing.fakes import FakeClock


def lay(root, name, text):
    file = root / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


def vcgencmd(folder, says="throttled=0x50005"):
    """A stand-in that notes each call; the PATH to find it on."""
    tool = lay(folder, "bin/vcgencmd", f'#!/bin/sh\necho "$@" >> {folder}/calls\necho {says}\n')
    tool.chmod(0o755)
    return f"{tool.parent}:/usr/bin:/bin"


SYSFS = "sys/devices/platform/soc/soc:firmware/get_throttled"


def test_the_tool_is_asked_first_for_some_kernels_show_0_in_sysfs(tmp_path):
    lay(tmp_path, SYSFS, "0\n")
    assert Board(tmp_path, vcgencmd(tmp_path)).throttled() == 0x50005


def test_sysfs_is_asked_where_the_tool_may_not(tmp_path):
    path = vcgencmd(tmp_path, says="VCHI initialization failed")
    lay(tmp_path, SYSFS, "50000\n")
    assert Board(tmp_path, path).throttled() == 0x50000


def test_a_pi_5_calls_the_firmware_otherwise(tmp_path):
    lay(tmp_path, "sys/bus/platform/drivers/raspberrypi-firmware/soc@107c000000:firmware/get_throttled", "4\n")
    assert Board(tmp_path, "").throttled() == 4


def test_the_kernels_voltage_alarm_is_better_than_nothing(tmp_path):
    lay(tmp_path, "sys/class/hwmon/hwmon0/name", "cpu_thermal\n")
    lay(tmp_path, "sys/class/hwmon/hwmon1/name", "rpi_volt\n")
    lay(tmp_path, "sys/class/hwmon/hwmon1/in0_lcrit_alarm", "1\n")
    assert Board(tmp_path, "").throttled() == 1


def test_a_machine_that_tells_nothing_is_no_error(tmp_path):
    board = Board(tmp_path, "")
    assert (board.throttled(), board.temperature_celsius()) == (None, None)


def test_the_processors_zone_is_read_where_there_are_several(tmp_path):
    lay(tmp_path, "sys/class/thermal/thermal_zone0/type", "rp1_adc\n")
    lay(tmp_path, "sys/class/thermal/thermal_zone0/temp", "31000\n")
    lay(tmp_path, "sys/class/thermal/thermal_zone1/type", "cpu-thermal\n")
    lay(tmp_path, "sys/class/thermal/thermal_zone1/temp", "62500\n")
    assert Board(tmp_path).temperature_celsius() == 62.5


def test_however_often_metrics_are_read_the_tool_is_started_once_in_ten_seconds(tmp_path):
    clock = FakeClock()
    firmware = Firmware(Board(tmp_path, vcgencmd(tmp_path)), clock)
    for _ in range(100):
        assert firmware() == 0x50005
        clock.advance(0.09)
    assert len((tmp_path / "calls").read_text().splitlines()) == 1
    clock.advance(2)
    firmware()
    assert len((tmp_path / "calls").read_text().splitlines()) == 2
