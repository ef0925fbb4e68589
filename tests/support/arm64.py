"""ARM64 on this machine: Debian's root file system, an image built on it, and programs run in either by QEMU.

Everything lies in one folder below the project's own; mounts are made in the mount namespace of the program that
needs them and go with it. The one thing that is set for the whole machine, QEMU as the interpreter of ARM64
programs, is taken back where it was not there before.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[2]
FOLDER = PROJECT / ".arm64"
TOOLS = {
    "mmdebstrap": "mmdebstrap",
    "buildah": "buildah",
    "qemu-aarch64-static": "qemu-user-static",
    "unshare": "util-linux",
}
BINFMT = Path("/proc/sys/fs/binfmt_misc")
REGISTRATION = Path("/usr/lib/binfmt.d/qemu-aarch64.conf")
RELEASES = {"bookworm": "3.11", "trixie": "3.13"}
"""Debian's, as those of Raspberry Pi OS, and their Python."""
PACKAGES = (
    "python3,python3-venv,python3-pip,libstdc++6,libgcc-s1,ca-certificates,coreutils,bash,dash,libc-bin,base-files"
)
CPU = "cortex-a72"
"""A Raspberry Pi 4's: what runs on it runs on a Pi 5. QEMU's default can more, and signs each return address of
Debian's programs at nine times the cost."""
CORE = (
    "processor\t: {0}\nBogoMIPS\t: 108.00\nFeatures\t: fp asimd evtstrm crc32 cpuid\nCPU implementer\t: 0x41\n"
    "CPU architecture: 8\nCPU variant\t: 0x0\nCPU part\t: 0xd08\nCPU revision\t: 3\n"
)
CPUINFO = (
    "\n".join(CORE.format(n) for n in range(4)) + "\nRevision\t: c03115\nModel\t\t: Raspberry Pi 4 Model B Rev 1.5\n"
)
"""onnxruntime reads it: the host's would tell of another kind of processor."""

ENTER = """
set -e
root=$1 read_only=$2 binds=$3 user=$4; shift 4
mount --bind "$root" "$root"
for line in $binds; do
  from=${line%%=*} to=$root${line#*=}
  if [ -d "$from" ]; then mkdir -p "$to"; else mkdir -p "${to%/*}"; [ -e "$to" ] || : > "$to"; fi
done
mount -t proc proc "$root/proc"
mount -t sysfs -o ro sysfs "$root/sys"
mount -t tmpfs tmpfs "$root/dev"
mkdir "$root/dev/shm"; chmod 1777 "$root/dev/shm"
for device in null zero random urandom; do : > "$root/dev/$device"; mount --bind /dev/$device "$root/dev/$device"; done
for line in $binds; do mount --bind "${line%%=*}" "$root${line#*=}"; done
[ "$read_only" = no ] || mount -o remount,bind,ro "$root"
exec chroot --userspec="$user" --groups= "$root" "$@"
"""


def lacks() -> str:
    """What this machine has not that all this needs, or ""."""
    if os.geteuid():
        return "root: mounts and a chroot need it"
    missing = [package for tool, package in TOOLS.items() if shutil.which(tool) is None]
    return f"apt-get install {' '.join(missing)}" if missing else ""


@contextlib.contextmanager
def interpreter() -> Iterator[None]:
    """ARM64 programs run by QEMU, its F flag set: the kernel holds it open, so that a chroot needs no copy."""
    with contextlib.ExitStack() as undo:
        if not (BINFMT / "register").exists():
            subprocess.run(["mount", "-t", "binfmt_misc", "binfmt_misc", BINFMT], check=True)
            undo.callback(subprocess.run, ["umount", BINFMT], check=True)
        entry = BINFMT / "qemu-aarch64"
        if not entry.exists():
            line = REGISTRATION.read_text().strip()
            head, _, flags = line.rpartition(":")
            (BINFMT / "register").write_text(f"{head}:{flags if 'F' in flags else flags + 'F'}")
            undo.callback(entry.write_text, "-1")
        yield


def mirror() -> str:
    """Debian's, as this machine's apt has it."""
    asked = ("apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages", "Origin: Debian")
    if not said(*asked).strip():
        said("apt-get", "update", "-qq")
    return next(uri for uri in said(*asked).split() if "security" not in uri)


def bootstrap(release: str, *packages: str) -> Path:
    """The root file system of a Debian release, with further packages; made once."""
    name = "-".join((release, *packages))
    root, made = FOLDER / name, FOLDER / f"{name}.made"
    if not made.exists():
        shutil.rmtree(root, ignore_errors=True)
        FOLDER.mkdir(exist_ok=True)
        include = f"--include={','.join((PACKAGES, *packages))}"
        source = f"deb {mirror()} {release} main"
        said(
            "mmdebstrap", "--quiet", "--arch=arm64", "--variant=extract", "--mode=root", include, release, root, source
        )
        made.touch()
    return root


def said(*command: Any, timeout_s: float = 600, **options: Any) -> str:
    """What a command wrote to its standard output; its failure shows what it wrote at all."""
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, timeout=timeout_s, **options)
    if done.returncode:
        raise AssertionError(f"{' '.join(map(str, command))}: exit {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done.stdout


def pip_settings() -> tuple[Path, list[Path]]:
    """A pip.conf with what this machine's pip needs to reach its index, and the files that it names."""
    listed = said(sys.executable, "-m", "pip", "config", "list")
    found = dict(re.findall(r"^[\w:.-]*\.([\w-]+)='(.*)'$", listed, re.MULTILINE))
    wanted = ("cert", "client-cert", "default-timeout", "index-url", "proxy", "trusted-host")
    kept = {k: found[k] for k in wanted if k in found}
    conf = FOLDER / "pip.conf"
    conf.write_text("[global]\ndisable-pip-version-check = true\n" + "".join(f"{k} = {v}\n" for k, v in kept.items()))
    return conf, [Path(kept[k]) for k in ("cert", "client-cert") if k in kept]


@dataclass(frozen=True)
class Machine:
    """A root file system that programs run in. `binds`: a path of this machine to one of that."""

    root: Path
    env: Mapping[str, str] = field(default_factory=dict)
    user: str = "0:0"
    read_only: bool = False
    binds: Mapping[Path, str] = field(default_factory=dict)

    def command(self, *args: Any) -> list[str]:
        """What runs a program in it, as the first of a namespace of processes, as a container's is."""
        cpuinfo = FOLDER / "cpuinfo"
        cpuinfo.write_text(CPUINFO)
        binds = {cpuinfo: "/proc/cpuinfo", Path("/etc/hosts"): "/etc/hosts",
                 Path("/etc/resolv.conf"): "/etc/resolv.conf", **self.binds}  # fmt: skip
        lines = "\n".join(f"{a}={b}" for a, b in binds.items())
        env = {"PATH": "/usr/bin:/bin", "QEMU_CPU": CPU, "LANG": "C.UTF-8", **self.env}
        return [
            "unshare", "--mount", "--pid", "--fork", "--kill-child", "--propagation", "private",
            "sh", "-c", ENTER, "sh", str(self.root), "yes" if self.read_only else "no", lines, self.user,
            "/usr/bin/env", "-i", *(f"{k}={v}" for k, v in env.items()), *map(str, args),
        ]  # fmt: skip

    def run(self, *args: Any, timeout_s: float = 300) -> subprocess.CompletedProcess[str]:
        """A program, to its end."""
        command, pipe = self.command(*args), subprocess.PIPE
        process = subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True)
        try:
            out, err = process.communicate(timeout=timeout_s)
        finally:
            end(process)
        return subprocess.CompletedProcess(list(map(str, args)), process.returncode, out, err)

    def said(self, *args: Any, timeout_s: float = 300) -> str:
        """What a program wrote to its standard output; it must not fail."""
        done = self.run(*args, timeout_s=timeout_s)
        assert done.returncode == 0, f"{done.args}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout


def first_process(process: subprocess.Popen[Any]) -> int:
    """The process id, on this machine, of what `Machine.command` started."""
    return int(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()[0])


def end(process: subprocess.Popen[Any]) -> None:
    """Nothing of it is left. The change to another user took --kill-child back, so its first process is ended too."""
    if process.poll() is None:
        with contextlib.suppress(OSError, IndexError):
            os.kill(first_process(process), signal.SIGKILL)
        process.kill()
        process.wait(150)


class Store:
    """buildah, with its images below our folder."""

    def __init__(self) -> None:
        self._options = ["--root", FOLDER / "storage", "--runroot", FOLDER / "run", "--storage-driver", "vfs"]
        self.drop()

    def drop(self) -> None:
        """Nothing of another run, or of this one, is left: the vfs driver copies and mounts nothing."""
        shutil.rmtree(FOLDER / "storage", ignore_errors=True)
        shutil.rmtree(FOLDER / "run", ignore_errors=True)

    def __call__(self, *args: Any) -> str:
        return said("buildah", *self._options, *args).strip()

    def base(self, root: Path, name: str) -> str:
        """An image of a root file system."""
        container = self("from", "--arch", "arm64", "scratch")
        said("cp", "--archive", f"{root}/.", self("mount", container))
        self("config", "--os", "linux", "--arch", "arm64", "--env", f"QEMU_CPU={CPU}", container)
        self("commit", "--quiet", "--format", "docker", "--rm", container, name)
        return name

    def build(self, dockerfile: Path, base: str, name: str) -> str:
        """The image of a Dockerfile; the context is the project."""
        conf, files = pip_settings()
        volumes = [f"--volume={a}:{b}:ro" for a, b in ((conf, "/etc/pip.conf"), *((f, f) for f in files))]
        self("bud", "--isolation", "chroot", "--network", "host", "--arch", "arm64", "--format", "docker",
             "--pull-never", *volumes, "--build-arg", f"BASE_IMAGE={base}", "--file", dockerfile, "--tag", name,
             PROJECT)  # fmt: skip
        return name

    def config(self, name: str) -> dict[str, Any]:
        """How an image wants to be run."""
        found: dict[str, Any] = json.loads(self("inspect", "--type", "image", name))["Docker"]["config"]
        return found

    def unpack(self, name: str) -> Path:
        """An image's files."""
        return Path(self("mount", self("from", "--pull-never", name)))


def image_machine(store: Store, name: str, binds: Mapping[Path, str]) -> Machine:
    """An image as `docker run --read-only` runs it; its volumes have to be among `binds`."""
    config = store.config(name)
    assert set(config["Volumes"]) <= set(binds.values())
    env = dict(e.split("=", 1) for e in config["Env"])
    return Machine(store.unpack(name), env, config["User"], read_only=True, binds=binds)


def megabytes(folder: Path) -> float:
    """What the files of a folder take, in 10^6 bytes: each inode once."""
    seen: dict[tuple[int, int], int] = {}
    for path in [folder, *folder.rglob("*")]:
        about = path.lstat()
        seen[about.st_dev, about.st_ino] = about.st_size if path.is_file() and not path.is_symlink() else 0
    return sum(seen.values()) / 1e6


def resolve(wheel: Path, extras: Sequence[str], python: str, folder: Path) -> list[str]:
    """The file names that pip would install on a 64-bit Raspberry Pi OS bookworm (glibc 2.36), wheels only."""
    report = folder / f"{python}.json"
    platforms = [f"--platform=manylinux_2_{n}_aarch64" for n in range(36, 16, -1)] + [
        "--platform=manylinux2014_aarch64"
    ]
    said(sys.executable, "-m", "pip", "install", "--dry-run", "--quiet", "--report", report, "--target",
         folder / "target", "--implementation", "cp", "--python-version", python, *platforms, "--only-binary=:all:",
         f"{wheel}[{','.join(extras)}]")  # fmt: skip
    return [i["download_info"]["url"].rpartition("/")[2] for i in json.loads(report.read_text())["install"]]
