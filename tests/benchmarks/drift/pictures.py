"""Cameras that are blurred, dark or moved, by the watch on pictures: `python -m drift.pictures`.

Scenes are real pictures (scikit-learn's) and made ones, 320 x 240 pixels of them, with people who walk by, a daily
cycle of the light, and a sensor's noise. Ten pictures a window, a day to arm, 190 windows to cry wolf in, then each
fault for two.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import cv2
import numpy as np
from sklearn.datasets import load_sample_images

from edge.drift import reference
from edge.drift.judge import Judge
from edge.drift.look import look
from edge.drift.reference import Reference
from edge.drift.tally import Counted

WIDTH, HEIGHT, PICTURES, DAY, JUDGED = 320, 240, 10, 24, 190
FAULTS = {"blur of 0.7 pixels": "blurred", "night (x 0.12)": "darker", "moved by 40 pixels": "moved"}


def made(seed: int) -> np.ndarray:
    """Coarse and fine shapes of all sizes, as in nature."""
    random = np.random.default_rng(seed)
    waves = np.fft.rfft2(random.normal(size=(427, 640)))
    length = np.hypot(np.fft.fftfreq(427)[:, None] * 427, np.fft.rfftfreq(640)[None] * 640)
    length[0, 0] = 1
    picture = np.fft.irfft2(waves / length**1.1, s=(427, 640))
    grey = np.clip(128 + 45 * (picture - picture.mean()) / picture.std(), 0, 255).astype(np.uint8)
    return np.stack([grey] * 3, -1)


def scenes() -> Iterator[tuple[str, np.ndarray]]:
    china, flower = load_sample_images().images
    yield from (("china.jpg", china), ("flower.jpg", flower), ("made 1", made(1)), ("made 2", made(2)))


def picture(scene: np.ndarray, hour: int, fault: str, random: np.random.Generator) -> np.ndarray:
    left = 60 + 40 * fault.startswith("moved")
    seen = scene[30 : 30 + HEIGHT, left : left + WIDTH].copy()
    for _ in range(random.poisson(2)):
        x, y = int(random.integers(0, WIDTH - 25)), int(random.integers(0, HEIGHT - 60))
        seen[y : y + 60, x : x + 25] = random.integers(0, 255)
    if fault.startswith("blur"):
        seen = cv2.GaussianBlur(seen, (0, 0), 0.7)
    light = 0.75 + 0.25 * np.sin(2 * np.pi * hour / DAY) + random.normal(0, 0.03)
    noise = random.standard_normal(seen.shape, dtype=np.float32) * np.float32(2)
    return np.clip(seen * np.float32(light * (0.12 if fault.startswith("night") else 1)) + noise, 0, 255).astype(
        np.uint8
    )


def run(scene: np.ndarray) -> tuple[int, dict[str, int | None]]:
    """False alarms in `JUDGED` windows, and after how many windows each fault is told in its word."""
    random = np.random.default_rng(7)

    def looks(hour: int, fault: str = "") -> np.ndarray:
        return np.stack([look(picture(scene, hour, fault, random)) for _ in range(PICTURES)])

    features, thumbnail, alike = reference.of_pictures(looks(6))
    judge = Judge(Reference(rows=PICTURES, features=features, thumbnail=thumbnail, alike=alike), DAY, "0" * 64)

    def told(hour: int, fault: str = "") -> set[str]:
        counts = judge.inputs.places.count_looks(looks(hour, fault))
        none = np.zeros(3, np.int64)
        window = Counted(PICTURES, counts, np.zeros(0, np.int64), none, none)
        return {f.kind for f in judge.window(window, hour % DAY).findings if not f.alone}

    false = sum(bool(told(hour)) for hour in range(DAY + JUDGED))
    found, hour = {}, DAY + JUDGED
    for fault, word in FAULTS.items():
        after = [n for n in (1, 2) if word in told(hour + n, fault)]
        found[fault] = after[0] if after else None
        for n in range(3, 9):
            told(hour + n)
        hour += 9
    return false, found


def main() -> None:
    """The table of tests/benchmarks/README.md."""
    print(f"| scene | false in {JUDGED} windows | " + " | ".join(f"{f}, windows" for f in FAULTS) + " |")
    print("|-|-:|" + "-:|" * len(FAULTS))
    for name, scene in scenes():
        false, found = run(scene)
        print(f"| {name} | {false} | " + " | ".join(str(n or "not") for n in found.values()) + " |", flush=True)
    for height, width in ((240, 320), (480, 640), (1080, 1920)):
        pixels = np.random.default_rng(0).integers(0, 255, (height, width, 3)).astype(np.uint8)
        began = time.process_time()
        for _ in range(50):
            look(pixels)
        each = (time.process_time() - began) / 50
        print(f"{width} x {height}: {each * 1e3:.2f} ms a picture, {each / 10:.3%} of a core at one in ten seconds")


if __name__ == "__main__":
    main()
