"""`--save-frames DIR`: pictures beside their results, for people who would rather look; `--annotate` draws on them.

Called by the infer thread after a result was handed over. The folder is bounded in bytes: the oldest of our
pictures go first. A picture that cannot be written (a full card) is counted and said once, and costs no result.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edge.data import codec
from edge.data.result import Classification, Detection, Result, Skipped
from edge.data.sample import EncodedImage, Image, Sample
from edge.data.tensor import Array
from edge.errors import ConfigError, SampleError
from edge.preprocess.image.decode import decode, opencv

log = logging.getLogger("edge.frames")

PREFIX = "frame-"
_COLOURS = ((230, 60, 60), (60, 160, 230), (70, 190, 90), (240, 170, 40), (170, 90, 210), (40, 190, 190))


class FrameSaver:
    """Used by one thread. What is no picture is passed over."""

    def __init__(self, folder: Path, max_bytes: int, *, annotate: bool) -> None:
        self._folder, self._max_bytes, self._annotate = folder, max_bytes, annotate
        self._kept: deque[tuple[Path, int]] = deque()
        self._bytes = 0
        self.failed = 0
        """Pictures that could not be written."""

    def open(self) -> None:
        """Raises ConfigError where the folder cannot be used. Pictures of an earlier run count."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            found = sorted(self._folder.glob(f"{PREFIX}*"), key=lambda p: p.stat().st_mtime_ns)
            self._kept = deque((p, p.stat().st_size) for p in found)
        except OSError as exc:
            raise ConfigError(
                f"--save-frames {self._folder}: {exc.strerror}; name a folder that can be written"
            ) from exc
        self._bytes = sum(size for _, size in self._kept)

    def __call__(self, sample: Sample, outcomes: Sequence[Result | Skipped]) -> None:
        results = [o for o in outcomes if isinstance(o, Result)]
        if len(results) != 1:
            return
        try:
            data = self._encoded(sample, results[0])
        except SampleError:
            return
        if data is not None:
            stamp = results[0].time.replace(":", "-")
            self._write(self._folder / f"{PREFIX}{stamp}-{results[0].seq}{_suffix(data)}", data)

    def _encoded(self, sample: Sample, result: Result) -> bytes | None:
        payload: Any = sample.payload
        if isinstance(payload, bytes):
            payload = EncodedImage(payload) if codec.is_image(payload) else None
        if isinstance(payload, EncodedImage):
            return _jpeg(annotated(decode(payload.data), result)) if self._annotate else payload.data
        if (
            isinstance(payload, np.ndarray)
            and payload.dtype == np.uint8
            and payload.ndim == 3
            and payload.shape[2] == 3
        ):
            payload = Image(payload)
        if isinstance(payload, Image):
            return _jpeg(annotated(payload.pixels, result) if self._annotate else payload.pixels)
        return None

    def _write(self, path: Path, data: bytes) -> None:
        try:
            while self._kept and self._bytes + len(data) > self._max_bytes:
                oldest, size = self._kept.popleft()
                oldest.unlink(missing_ok=True)
                self._bytes -= size
            if len(data) <= self._max_bytes:
                path.write_bytes(data)
                self._kept.append((path, len(data)))
                self._bytes += len(data)
        except OSError as exc:
            self.failed += 1
            if self.failed == 1:
                log.warning("a picture was not saved", extra={"path": str(path), "reason": exc.strerror})


def annotated(pixels: Array, result: Result) -> Array:
    """A copy with boxes, keypoints and labels drawn; RGB, height x width x 3, uint8."""
    cv2 = opencv()
    drawn = np.ascontiguousarray(pixels).copy()
    scale = max(0.4, min(drawn.shape[:2]) / 800)
    width = max(1, round(2 * scale))
    lines: list[str] = []
    for found in result.predictions:
        if isinstance(found, Detection):
            colour = _COLOURS[found.index % len(_COLOURS)]
            x_min, y_min, x_max, y_max = (round(v) for v in found.box)
            cv2.rectangle(drawn, (x_min, y_min), (x_max, y_max), colour, width)
            for x, y, score in found.keypoints or ():
                if score > 0.2:
                    cv2.circle(drawn, (round(x), round(y)), 2 * width, colour, -1)
            _text(
                cv2,
                drawn,
                f"{found.label} {found.score:.2f}",
                (x_min, max(round(14 * scale), y_min - 4)),
                colour,
                scale,
            )
        elif isinstance(found, Classification) and len(lines) < 3:
            lines.append(f"{found.label} {found.score:.2f}")
    for number, line in enumerate(lines, start=1):
        _text(cv2, drawn, line, (4, round(26 * scale * number)), (255, 255, 255), scale)
    return drawn


def _text(cv2: Any, drawn: Array, text: str, at: tuple[int, int], colour: tuple[int, int, int], scale: float) -> None:
    plain = text.encode("ascii", "replace").decode()  # OpenCV's letters are those of ASCII
    for shade, width in (((0, 0, 0), 3), (colour, 1)):
        cv2.putText(
            drawn, plain, at, cv2.FONT_HERSHEY_SIMPLEX, 0.6 * scale, shade, max(1, round(width * scale)), cv2.LINE_AA
        )


def _jpeg(pixels: Array) -> bytes:
    cv2 = opencv()
    return bytes(cv2.imencode(".jpg", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))[1])


def _suffix(data: bytes) -> str:
    known = ((b"\xff\xd8", ".jpg"), (b"\x89PNG", ".png"), (b"BM", ".bmp"), (b"GIF8", ".gif"), (b"RIFF", ".webp"))
    return next((suffix for magic, suffix in known if data.startswith(magic)), ".bin")
