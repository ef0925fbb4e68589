"""A picture with what the model sees drawn on it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from edge.data.result import Anomaly, Classification, Detection, Regression, Result, Segmentation, Text
from edge.data.sample import EncodedImage
from edge.data.tensor import Array
from edge.errors import SampleError
from edge.preprocess.image.decode import decode, opencv

if TYPE_CHECKING:
    from edge.tracking.places import Place
    from edge.tracking.stage import Places

QUALITY = 88
# RGB; told apart by people who see red and green alike (Okabe and Ito), dark enough for white text.
COLOURS = ((0, 114, 178), (213, 94, 0), (0, 130, 95), (170, 80, 140), (140, 100, 0), (60, 100, 160))


def draw(picture: EncodedImage, result: Result, places: Places | None = None) -> bytes:
    """A JPEG of the picture with boxes, points and labels. Raises SampleError."""
    return encode(on(decode(picture.data), result, places))


def on(pixels: Array, result: Result, places: Places | None = None) -> Array:
    """A copy with boxes, points and labels, zones and lines below them; RGB, height x width x 3, uint8."""
    pen = _Pen(pixels.copy())
    if places is not None:
        for zone in places.zones:
            pen.place(zone, closed=True)
        for line in places.lines:
            pen.place(line, closed=False)
    caption: list[str] = []
    for prediction in reversed(result.predictions):  # the best box on top
        if isinstance(prediction, Detection):
            pen.box(prediction)
            for inner in prediction.then.predictions if prediction.then else ():
                if isinstance(inner, Detection):
                    pen.box(inner)
        else:
            caption = [*_lines(prediction), *caption]
    pen.caption(caption[:5])
    return pen.pixels


def encode(pixels: Array) -> bytes:
    """RGB pixels to a JPEG. Raises SampleError."""
    cv2 = opencv()
    ok, data = cv2.imencode(".jpg", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    if not ok:
        raise SampleError("the picture cannot be encoded as JPEG")
    return bytes(data)


def _lines(prediction: Any) -> list[str]:
    if isinstance(prediction, Classification):
        return [f"{prediction.label} {prediction.score:.0%}"]
    if isinstance(prediction, Text):
        return [f"{prediction.text} {prediction.score:.0%}"]
    if isinstance(prediction, Regression):
        return [f"{prediction.name} {prediction.value:.4g}"]
    if isinstance(prediction, Anomaly):
        return [f"{'anomaly' if prediction.is_anomaly else 'normal'} {prediction.score:.3g}"]
    if isinstance(prediction, Segmentation):
        return [f"{label} {area:.0%}" for label, area in zip(prediction.labels, prediction.areas, strict=True)]
    return []


def _within(detection: Detection) -> str:
    """What a second model says of an object, in a word: its best class, the text that it has read, or a number."""
    best = detection.inner
    if isinstance(best, Text):
        return best.text
    return best.label if isinstance(best, (Classification, Detection)) else next(iter(_lines(best)), "")


class _Pen:
    """Draws in sizes that fit the picture."""

    def __init__(self, pixels: Array) -> None:
        self._cv2 = opencv()
        self.pixels = pixels
        height, width = pixels.shape[:2]
        self._scale = max(0.4, min(width, height) / 900)
        self._line = max(1, round(min(width, height) / 300))
        self._stroke = max(1, round(2 * self._scale))
        self._font = self._cv2.FONT_HERSHEY_SIMPLEX

    def box(self, detection: Detection) -> None:
        colour = COLOURS[detection.index % len(COLOURS)]
        x_min, y_min, x_max, y_max = (round(v) for v in detection.box)
        self._cv2.rectangle(self.pixels, (x_min, y_min), (x_max, y_max), colour, self._line)
        for x, y, score in detection.keypoints or ():
            if score > 0:
                self._cv2.circle(self.pixels, (round(x), round(y)), self._line * 2, colour, -1)
        track = f" #{detection.track_id}" if detection.track_id else ""
        text = f"{detection.label}{track} {detection.score:.0%} {_within(detection)}".rstrip()
        self._label(text, x_min, y_min, colour)

    def place(self, place: Place, *, closed: bool) -> None:
        """A zone is closed; a line has an arrow to its right side."""
        height, width = self.pixels.shape[:2]
        points = np.array([(round(x), round(y)) for x, y in place.within(width, height).points], np.int32)
        for colour, wide in (((0, 0, 0), 3 * self._line), ((255, 255, 255), self._line)):  # seen on any picture
            self._cv2.polylines(self.pixels, [points], closed, colour, wide)
            if not closed:
                middle, along = points.mean(axis=0), points[1] - points[0]
                side = np.array([-along[1], along[0]]) / max(1.0, float(np.hypot(*along))) * 20 * self._line
                tip = middle + side
                start, end = ((round(float(x)), round(float(y))) for x, y in (middle, tip))
                self._cv2.arrowedLine(self.pixels, start, end, colour, wide, tipLength=0.4)
        self._label(place.name, int(points[0][0]), int(points[0][1]), (40, 40, 40))

    def caption(self, lines: list[str]) -> None:
        bottom = 0
        for line in lines:
            bottom = self._label(line, 0, bottom, (40, 40, 40), below=True)

    def _label(self, text: str, x: int, y: int, colour: tuple[int, int, int], *, below: bool = False) -> int:
        """White on a filled box above `y`, or below it; returns where it ends."""
        text = text.encode("ascii", "replace").decode()  # OpenCV's font has no other letters
        (width, height), base = self._cv2.getTextSize(text, self._font, self._scale, self._stroke)
        tall = height + base + self._line * 2
        top = y if below else max(0, y - tall)
        x = max(0, min(x, self.pixels.shape[1] - width))
        self._cv2.rectangle(self.pixels, (x, top), (x + width + self._line * 2, top + tall), colour, -1)
        at = (x + self._line, top + height + self._line)
        self._cv2.putText(
            self.pixels, text, at, self._font, self._scale, (255, 255, 255), self._stroke, self._cv2.LINE_AA
        )
        return int(top + tall)
