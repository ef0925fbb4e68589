"""One planted fault for each row: it is named, with a fix beside it."""

from __future__ import annotations

import io
import itertools
import json
import os
import re
import subprocess
from pathlib import Path

import pytest
from support import onnxmodels
from support.guessing import build, picture, random
from support.processes import BINARIES

from edge.app import profile
from edge.engines import onnxruntime
from edge.model import identity
from edge.settings import layers
from edge.tools import doctor
from edge.tools.doctor import boards, packages, runs, storage
from edge.tools.doctor.host import Host


def only(rows, part):
    """The one row of a part that is not in order."""
    found = [r for r in rows if r.part == part and r.verdict in ("warn", "fail")]
    assert len(found) == 1, list(rows)
    assert found[0].fix
    return found[0]


def engines_of(pi, *flags):
    broken = set()
    return list(packages.engines(pi.settings(*flags), pi.host, broken)), broken


def test_a_board_in_good_health_has_nothing_to_fix(pi):
    rows = list(doctor.look(pi.settings(), pi.host))
    assert {r.verdict for r in rows} == {"ok"}, [r for r in rows if r.verdict != "ok"]
    assert [r.part for r in rows] == [
        *("python", "packages", "engines", "board", "temperature", "power", "throttling", "memory", "model", "golden"),
        *("latency", "source", "broker", "state", "disk", "card", "clock"),
    ]


# --- python, packages, engines --------------------------------------------------------------------------


def test_python_of_32_bits(pi):
    pi.becomes(bits=32)
    row = only([packages.python(pi.host)], "python")
    assert "32-bit Python on a 64-bit kernel" in row.text
    assert "64-bit Raspberry Pi OS" in row.fix


def test_packages_that_the_settings_ask_for_in_vain(pi):
    del pi.wheels["starlette"]
    row = only(packages.installed(pi.settings("--http", "0"), pi.host), "packages")
    assert (row.verdict, row.code, row.fix) == ("fail", 2, "pip install 'edge-run[http]'")


def test_packages_onnxruntime_on_32_bits(pi):
    pi.becomes(bits=32, machine="armv7l")
    del pi.wheels["onnxruntime"]
    row = only(packages.installed(pi.settings(), pi.host), "packages")
    assert (row.verdict, row.code) == ("fail", 2)
    assert "install the 64-bit Raspberry Pi OS" in row.fix


def test_packages_a_camera_without_opencv(pi):
    row = only(packages.engines(pi.settings("--source", "camera:0"), pi.host, set()), "packages")
    assert (row.code, row.fix) == (2, "pip install 'edge-run[vision]'")


def test_packages_a_camera_with_the_opencv_of_the_system(pi):
    pi.of_the_system.add("cv2")
    pi.module("cv2", "")
    settings = pi.settings("--source", "camera:0")
    rows = [*packages.installed(settings, pi.host), *packages.engines(settings, pi.host, set())]
    assert [(r.part, r.verdict) for r in rows] == [("packages", "ok"), ("engines", "ok")]
    assert "cv2 (not pip's)" in rows[0].text


@pytest.mark.parametrize(
    ("module", "name", "flags"),
    [("onnxruntime", "onnxruntime", ()), ("starlette", "starlette", ("--http", "0")), ("numpy", "numpy", ())],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_packages_that_the_system_brings_are_there(pi, module, name, flags):
    del pi.wheels[name]
    pi.of_the_system.add(module)
    (row,) = packages.installed(pi.settings(*flags), pi.host)
    assert row.verdict == "ok"


def test_packages_what_is_there_is_found_whatever_brought_it(pi, tmp_path, monkeypatch):
    (tmp_path / "brought_by_the_system").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    assert Host().importable("brought_by_the_system.within")
    assert not Host().importable("brought_by_nothing")


def test_engines_of_the_system_that_do_not_load_name_their_module(pi):
    pi.of_the_system.add("cv2")
    pi.module("cv2", "raise ImportError('libGL.so.1: cannot open shared object file: No such file or directory')")
    row = only(engines_of(pi, "--source", "camera:0")[0], "engines")
    assert row.text.startswith("cv2 (not pip's) does not load: ")
    assert (row.verdict, "libGL.so.1" in row.fix) == ("fail", True)


def test_packages_the_older_engine_beside_a_newer_numpy(pi):
    pi.wheels["tflite-runtime"] = "2.14.0"
    assert "numpy<2" in only(packages.installed(pi.settings(), pi.host), "packages").fix


def test_engines_an_illegal_instruction_names_itself(pi):
    pi.module("onnxruntime", "import os, signal; os.kill(os.getpid(), signal.SIGILL)")
    rows, broken = engines_of(pi)
    row = only(rows, "engines")
    assert row.text == "onnxruntime 1.32.0 does not load: Illegal instruction (SIGILL)"
    assert (row.verdict, row.code) == ("fail", 3)
    assert "newer processor" in row.fix
    assert broken == {"onnxruntime"}


def test_engines_a_library_that_is_not_there(pi):
    pi.wheels["opencv-python-headless"] = "5.0.0"
    pi.module("cv2", "raise ImportError('libGL.so.1: cannot open shared object file: No such file or directory')")
    row = only(engines_of(pi)[0], "engines")
    assert row.verdict == "warn"  # these settings need no pictures
    assert "libGL.so.1" in row.fix


def test_engines_a_system_that_is_too_old(pi):
    pi.module("onnxruntime", "raise ImportError('/lib/libc.so.6: version `GLIBC_2.38` not found')")
    assert "bookworm or trixie" in only(engines_of(pi)[0], "engines").fix


def test_a_numpy_that_kills_its_process_leaves_the_doctor_alive(pi, tmp_path):
    pi.module("numpy", "import os, signal; os.kill(os.getpid(), signal.SIGILL)")
    command = [str(BINARIES / "edge-run"), "--model", str(pi.model), "--mqtt", "none", "--source", "synthetic:1"]
    env = {**os.environ, "PYTHONPATH": str(pi.modules), "XDG_STATE_HOME": str(tmp_path)}
    done = subprocess.run([*command, "--check", "--json"], env=env, capture_output=True, text=True, timeout=150)
    assert (done.returncode, done.stderr) == (2, "")
    rows = json.loads(done.stdout)["rows"]
    row = next(r for r in rows if r["part"] == "engines" and r["text"].startswith("numpy"))
    assert "SIGILL" in row["text"]
    assert "OPENBLAS_CORETYPE" in row["fix"]
    assert {r["verdict"] for r in rows if r["part"] in doctor.NEED_NUMPY} == {"skip"}


# --- the board ------------------------------------------------------------------------------------------


def test_board_that_is_kept_slow(pi):
    pi.lay("sys/devices/system/cpu/cpufreq/policy0/scaling_governor", "powersave\n")
    assert "scaling_governor" in only(boards.rows(pi.host), "board").fix


@pytest.mark.parametrize("celsius", [72, 84])
def test_temperature(pi, celsius):
    pi.lay("sys/class/thermal/thermal_zone0/temp", f"{celsius}000\n")
    row = only(boards.rows(pi.host), "temperature")
    assert f"{celsius} C" in row.text
    assert "--max-temperature" in row.fix


def test_power_that_is_too_weak(pi):
    pi.says(0x10000)
    row = only(boards.rows(pi.host), "power")
    assert row.text == "under-voltage since the start"
    assert "supply" in row.fix


def test_power_of_a_phones_charger_on_a_pi_5(pi):
    pi.lay("proc/device-tree/chosen/power/max_current", (3000).to_bytes(4, "big"))
    row = only(boards.rows(pi.host), "power")
    assert "3 A" in row.text
    assert "600 mA" in row.text


def test_throttling(pi):
    pi.says(0x4)
    row = only(boards.rows(pi.host), "throttling")
    assert row.text == "throttled now"
    assert "heat sink" in row.fix


def test_throttling_for_want_of_power_is_mended_by_a_supply(pi):
    pi.says(0x50005)
    assert "supply" in only(boards.rows(pi.host), "throttling").fix


def test_memory_that_will_be_short(pi):
    pi.lay("proc/meminfo", "MemTotal: 500000 kB\nMemAvailable: 60000 kB\nSwapFree: 0 kB\n")
    row = only(boards.memory(pi.settings(), pi.host), "memory")
    assert (row.verdict, row.text) == ("warn", "the model takes about 110 MB, 61 MB are free")


def test_memory_that_the_file_alone_exceeds(pi, tmp_path):
    pi.lay("proc/meminfo", "MemTotal: 500000 kB\nMemAvailable: 60000 kB\nSwapFree: 1000 kB\n")
    big = tmp_path / "big.onnx"
    with big.open("wb") as file:
        file.truncate(200_000_000)
    row = only(boards.memory(pi.settings("--model", big), pi.host), "memory")
    assert (row.verdict, row.code) == ("fail", 3)


def test_memory_that_a_container_does_not_get(pi):
    pi.lay("sys/fs/cgroup/memory.max", "67108864\n")
    pi.lay("sys/fs/cgroup/memory.current", "33554432\n")
    assert "34 MB are free" in only(boards.memory(pi.settings(), pi.host), "memory").text


# --- what really runs -----------------------------------------------------------------------------------


def test_model_that_is_none(pi, tmp_path):
    (tmp_path / "page.onnx").write_text("<html>")
    rows = list(runs.rows(pi.settings("--model", tmp_path / "page.onnx"), pi.host, set()))
    row = only(rows, "model")
    assert (row.verdict, row.code) == ("fail", 3)
    assert {r.part: r.verdict for r in rows} | {"golden": "skip", "latency": "skip"} == {
        r.part: r.verdict for r in rows
    }


def test_golden_samples_that_come_out_otherwise(pi, tmp_path):
    import onnx

    model = onnx.load(pi.model)
    weights = next(n for n in model.graph.node if n.op_type == "LinearClassifier")
    next(a for a in weights.attribute if a.name == "coefficients").floats[0] += 1.0
    onnx.save(model, tmp_path / "bent.onnx")
    row = only(runs.rows(pi.settings("--model", tmp_path / "bent.onnx"), pi.host, set()), "golden")
    assert (row.verdict, row.code) == ("fail", 3)


def test_latency_of_seconds(pi):
    ticks = itertools.count(0, 2_000_000_000)
    pi.becomes(perf_ns=lambda: next(ticks))
    row = only(runs.rows(pi.settings(), pi.host, set()), "latency")
    assert "2000 ms median" in row.text
    assert "--quantize int8" in row.fix


def test_latency_is_that_of_the_tuned_profile(pi):
    profile.require_folder(pi.state)
    engine = f"onnxruntime {onnxruntime.version()}"
    made = {"model": identity.sha256(pi.model), "engine": engine, "processor": profile.processor()}
    profile.write(pi.state, profile.Profile(**made, goal="throughput", threads=2, provider="cpu"))
    said = {flags: [r.text for r in runs.rows(pi.settings(*flags), pi.host, set()) if r.part == "latency"]
            for flags in ((), ("--threads", "1"))}  # fmt: skip
    assert said[()][0].endswith("; tuned for throughput: cpu, threads 2")
    assert "tuned" not in said["--threads", "1"][0]


def test_reading_a_file_that_says_too_little_is_told_as_in_the_log(pi, tmp_path):
    seeing = build(tmp_path / "seeing.onnx", picture(), {"y": random(1, 2)})
    found = [row for row in runs.rows(pi.settings("--model", seeing), pi.host, set()) if row.part == "reading"]
    assert any("how pixels become numbers" in row.text for row in found)
    assert {row.verdict for row in found} == {"warn"}
    assert all("seeing.onnx.json" in row.fix for row in found)


def test_source_that_is_not_there(pi, tmp_path):
    seeing = build(tmp_path / "seeing.onnx", picture(), {"y": random(1, 2)})
    row = only(runs.rows(pi.settings("--model", seeing, "--source", "camera:97"), pi.host, set()), "source")
    assert "/dev/video97" in row.text
    assert "usermod -aG video" in row.fix


def test_source_that_brings_what_the_model_cannot_take(pi):
    found = list(runs.rows(pi.settings("--source", "cat.jpg"), pi.host, set()))
    row = only(iter(found), "source")
    assert (row.verdict, row.code) == ("fail", 2)
    assert row.text == "--source cat.jpg brings pictures, and flowers.onnx takes rows"
    assert "--source rows.csv" in row.fix
    assert [row.verdict for row in found if row.part == "model"] == ["ok"]


def test_source_that_is_none_leaves_the_other_checks(pi):
    settings = layers.read(
        ["--model", str(pi.model), "--mqtt", "none", "--state-dir", str(pi.state), "--check"], {}, "0"
    )
    rows = list(doctor.look(settings, pi.host))
    row = only(rows, "source")
    assert (row.code, row.fix) == (2, "name a --source or --http PORT")
    assert {r.part for r in rows if r.verdict == "ok"} >= {"model", "golden", "latency", "broker", "state"}
    assert "nothing feeds the model" in row.text


def test_source_that_is_empty(pi):
    assert "empty" in only(runs.rows(pi.settings("--source", "synthetic:0"), pi.host, set()), "source").text


def test_broker_that_is_away(pi):
    row = only(runs.rows(pi.settings("--mqtt", "mqtt://127.0.0.1:1"), pi.host, set()), "broker")
    assert "wait in the spool" in row.text
    assert "mosquitto" in row.fix


def test_broker_that_wants_a_password(pi, mosquitto):
    strict = mosquitto(anonymous=False)
    row = only(runs.rows(pi.settings("--mqtt", strict.url), pi.host, set()), "broker")
    assert "--mqtt-password-file" in row.fix


def test_broker_that_answers_is_in_order(pi, broker):
    rows = {r.part: r for r in runs.rows(pi.settings("--mqtt", broker.url), pi.host, set())}
    assert (rows["broker"].verdict, rows["broker"].text) == ("ok", f"{broker.url} answers")


def test_a_sink_that_is_away_and_one_that_answers(pi, store_server, tmp_path):
    receiver = store_server("webhook")
    uris = ("--sink", receiver.uri, "--sink", "console", "--sink", f"file:{tmp_path}/out.jsonl")
    (row,) = [r for r in runs.rows(pi.settings(*uris, "--mqtt", "none"), pi.host, set()) if r.part == "webhook"]
    assert (row.verdict, str(receiver.port) in row.text) == ("ok", True)
    receiver.kill()
    row = only(runs.rows(pi.settings(*uris, "--mqtt", "none"), pi.host, set()), "webhook")
    assert row.verdict == "warn"
    assert "results will wait in the spool" in row.text


def test_a_sink_that_doubts_says_what_to_do(pi, store_server):
    receiver = store_server("webhook")
    receiver.answer(401)
    row = only(runs.rows(pi.settings("--sink", receiver.uri, "--mqtt", "none"), pi.host, set()), "webhook")
    assert row.verdict == "warn"
    assert "#token_file" in row.fix


def test_a_sink_that_cannot_be_meant_fails_with_the_way_out(pi):
    row = only(runs.rows(pi.settings("--sink", "webhook:", "--mqtt", "none"), pi.host, set()), "webhook")
    assert (row.verdict, row.code, row.fix) == ("fail", 2, "say webhook:https://host/path")


def test_a_file_of_results_in_a_folder_that_there_is_not_fails_and_one_elsewhere_is_in_order(pi, tmp_path):
    def looked(path):
        settings = pi.settings("--sink", f"file:{path}", "--mqtt", "none")
        return next(r for r in runs.rows(settings, pi.host, set()) if r.part == "file")

    row = looked(tmp_path / "no" / "out.jsonl")
    assert (row.verdict, row.code, row.fix) == ("fail", 4, "make it, or check the path")
    assert looked(tmp_path / "out.jsonl").verdict == "ok"


# --- state, disk, card, clock ---------------------------------------------------------------------------


def test_state_folder_that_is_a_file(pi):
    pi.state.write_text("")
    row = only(storage.rows(pi.settings(), pi.host), "state")
    assert (row.verdict, row.code) == ("fail", 4)


def test_a_folder_for_kept_samples_that_cannot_be_had(pi):
    row = only(storage.rows(pi.settings("--capture", "random:1", "--capture-dir", "/proc/kept"), pi.host), "capture")
    assert "no sample would be kept" in row.text


def test_state_folder_that_cannot_be_written(pi):
    row = only(storage.rows(pi.settings("--state-dir", "/proc/edge-run"), pi.host), "state")
    assert (row.verdict, row.code) == ("fail", 4)


def test_state_folder_in_memory_is_gone_after_a_power_cut(pi):
    pi.lay("proc/mounts", "overlay / overlay rw 0 0\n")
    row = only(storage.rows(pi.settings(), pi.host), "state")
    assert "power cut" in row.text


def test_disk_that_is_nearly_full(pi):
    row = only(storage.rows(pi.settings("--spool-max", "900000GB"), pi.host), "disk")
    assert "--spool-max" in row.fix


CARD_FAULTS = {
    "noatime": ("proc/mounts", "/dev/mmcblk0p2 / ext4 rw 0 0\n"),
    "swap on the card: /dev/mmcblk0p3": ("proc/swaps", "Filename Type\n/dev/mmcblk0p3 partition 102396 0 -2\n"),
    "swap on the card: /var/swap": ("proc/swaps", "Filename Type\n/var/swap file 102396 0 -2\n"),
    "the card may be dying": ("sys/fs/ext4/mmcblk0p2/errors_count", "3\n"),
    "90 % of its life": ("sys/block/mmcblk0/device/life_time", "0x02 0x0a\n"),
    "the journal writes": ("var/log/journal/0123/system.journal", ""),
}


@pytest.mark.parametrize("said", CARD_FAULTS)
def test_card(pi, said):
    pi.lay(*CARD_FAULTS[said])
    assert said in only(storage.rows(pi.settings(), pi.host), "card").text


def test_card_written_for_each_result(pi):
    assert "--durability outage" in only(storage.rows(pi.settings("--durability", "always"), pi.host), "card").fix


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("usr/lib/systemd/journald.conf.d/40-rpi.conf", "[Journal]\nStorage=volatile\n"),
        ("proc/mounts", "/dev/mmcblk0p2 / ext4 rw,noatime 0 0\nlog2ram /var/log tmpfs rw 0 0\n"),
        ("proc/mounts", "/dev/nvme0n1p2 / ext4 rw 0 0\n"),
    ],
)
def test_a_journal_in_memory_or_beside_a_card_is_none_on_it(pi, name, text):
    pi.lay("var/log/journal/0123/system.journal", "")
    pi.lay(name, text)
    assert [r.verdict for r in storage.rows(pi.settings(), pi.host) if r.part == "card"] == ["ok"]


def test_a_drop_in_of_etc_wins_over_the_systems(pi):
    pi.lay("var/log/journal/0123/system.journal", "")
    pi.lay("usr/lib/systemd/journald.conf.d/40-rpi.conf", "[Journal]\nStorage=volatile\n")
    pi.lay("etc/systemd/journald.conf.d/40-rpi.conf", "[Journal]\nStorage=persistent\n")
    assert "journal" in only(storage.rows(pi.settings(), pi.host), "card").text


def test_clock_that_nobody_sets(pi):
    pi.becomes(kernel_clock=lambda: (5, 0x40))
    assert "set-ntp" in only([boards.clock(pi.host)], "clock").fix


def test_the_readmes_table_is_what_the_doctor_says(pi):
    pi.says(0x10000)
    pi.lay("proc/swaps", "Filename Type\n/var/swap file 102396 0 -2\n")
    pi.lay("sys/class/thermal/thermal_zone0/temp", "61300\n")
    out = io.StringIO()
    doctor.examine(pi.settings(), pi.host, out)
    readme = (Path(__file__).parents[2] / "docs" / "run.md").read_text()
    shown = re.search(r"<!-- doctor -->\n```\n(.*?)```", readme, re.DOTALL)[1].splitlines()
    assert len(shown) > 5
    assert set(shown) <= set(out.getvalue().splitlines())


def test_every_problem_comes_with_a_fix(pi):
    pi.says(0xF000F)
    pi.lay("proc/mounts", "/dev/mmcblk0p2 / ext4 rw 0 0\n")
    pi.becomes(bits=32, kernel_clock=lambda: None)
    settings = pi.settings("--mqtt", "mqtt://127.0.0.1:1", "--source", f"{os.devnull}x.csv")
    wrong = [r for r in doctor.look(settings, pi.host) if r.verdict in ("warn", "fail")]
    assert len(wrong) >= 7
    assert [r for r in wrong if not r.fix] == []


def test_the_second_model_of_a_cascade_is_looked_at(pi, tmp_path):
    onnxmodels.one_box(tmp_path / "first.onnx")
    onnxmodels.brightness(tmp_path / "second.onnx")
    pi.model = tmp_path / "first.onnx"
    (found,) = (
        r for r in runs.rows(pi.settings("--then", tmp_path / "second.onnx"), pi.host, set()) if r.part == "then"
    )
    assert found.verdict == "ok"
    assert "an object" in found.text
    assert only(runs.rows(pi.settings("--then", tmp_path / "none.onnx"), pi.host, set()), "then").code == 3


def test_each_run_has_rows_of_its_own_and_one_that_is_broken_hides_no_other(pi, tmp_path):
    (tmp_path / "page.onnx").write_text("<html>")
    (tmp_path / "runs.toml").write_text(
        f'[[run]]\nname = "bad"\nmodel = "{tmp_path}/page.onnx"\nsource = "synthetic:1"\n'
        f'[[run]]\nname = "good"\nmodel = "{pi.model}"\nsource = "synthetic:1"\n'
    )
    flags = ["--config", str(tmp_path / "runs.toml"), "--mqtt", "none", "--state-dir", str(pi.state)]
    rows = list(runs.rows(layers.read(flags, {}, "0"), pi.host, set()))
    verdicts = {(r.run, r.part): r.verdict for r in rows}
    assert verdicts["bad", "model"] == "fail"
    assert verdicts["bad", "source"] == "skip"
    assert {verdicts["good", part] for part in ("model", "latency", "source")} == {"ok"}
    assert [r.run for r in rows if r.part == "broker"] == [""]
    assert [r.text for r in rows if r.part == "runs"] == ["bad, good"]
