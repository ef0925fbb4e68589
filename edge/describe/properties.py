"""What the properties in an ONNX file say of pictures and labels: the standard's own, and OpenVINO's Model API's.

`Image.BitmapPixelFormat` and `Image.NominalPixelRange` (onnx, `docs/MetadataProps.md`; written by Custom Vision and by
converters for Windows ML) name the order of colours and the range of pixels. `model_info ...` (Geti, OTX) names mean,
scale, resizing, labels and what makes probabilities, for the Model API, which does that outside of the model. What
people write themselves are `mean` and `std`, in pixel values or shares of 255.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Literal

from edge.data.normalization import understand
from edge.data.vocabulary import Activation
from edge.describe.metadata import Pictures, Resize
from edge.errors import ConfigError

_VIDEO = 255 / 219
"""16 to 235 are the whole range of video: pixel * 219 / 255 + 16."""
_RANGES: Mapping[str, Pictures] = {
    "nominalrange_0_255": Pictures(),
    "normalized_0_1": Pictures(std=(255.0,)),
    "normalized_1_1": Pictures(mean=(127.5,), std=(127.5,)),
    "nominalrange_16_235": Pictures(mean=(round(-16 * _VIDEO, 4),), std=(round(_VIDEO, 4),)),
}
_ORDERS: Mapping[str, Literal["", "RGB", "BGR"]] = {"rgb8": "RGB", "bgr8": "BGR", "gray8": ""}
_RESIZES: Mapping[str, Resize] = {
    "standard": "stretch", "fit_to_window": "letterbox-topleft", "fit_to_window_letterbox": "letterbox", "crop": "crop",
}  # fmt: skip
_INFO = "model_info "
_OWN = tuple((f"{before}mean", f"{before}std") for before in ("", "image_", "norm_", "input_", "standardization_"))
OWN = "mean and std in the metadata of the file"
"""Whether the graph does it or the host, such properties do not tell."""
_TRUE = ("true", "yes", "1")


def read(embedded: Mapping[str, str]) -> dict[str, Any]:
    """Fields of `Metadata`; none where neither form is there. What cannot be read is left out, with a warning."""
    properties = {k.lower(): v for k, v in embedded.items()}
    found: dict[str, Any] = {}
    warnings: list[str] = []
    if "image.nominalpixelrange" in properties or "image.bitmappixelformat" in properties:
        found = _image(properties, warnings)
    elif numbers := _own(properties, warnings):
        found = {"pictures": numbers, "pictures_from": OWN}
    if info := {k.removeprefix(_INFO): v.strip() for k, v in properties.items() if k.startswith(_INFO)}:
        found = _model_info(info, warnings)
    return found | ({"warnings": tuple(warnings)} if warnings else {})


def _image(properties: Mapping[str, str], warnings: list[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    order = properties.get("image.bitmappixelformat", "").lower()
    found["color"] = _ORDERS.get(order, "")
    if order and order not in _ORDERS:
        warnings.append(f"its metadata: Image.BitmapPixelFormat {order[:60]!r} is not known here: --color says it")
    said = properties.get("image.nominalpixelrange", "").lower()
    if said in _RANGES:
        found |= {"pictures": _RANGES[said], "pictures_from": "Image.NominalPixelRange of the file"}
    elif said:
        warnings.append(
            f"its metadata: Image.NominalPixelRange {said[:60]!r} is not known here: --mean and --std say it"
        )
    return found


def _own(properties: Mapping[str, str], warnings: list[str]) -> Pictures | None:
    for names in _OWN:
        if not set(names) <= set(properties):
            continue
        if len(_parts(properties[names[0]])) not in (1, 3):
            return None  # of a table's columns, which is no picture's affair
        try:
            numbers = understand(*(_numbers(properties[name]) for name in names))
        except (ValueError, ConfigError) as exc:
            warnings.append(f"its metadata: {' and '.join(names)} are left out: {exc}")
            return None
        # 0 and 1 are the same in either measure, but for the whole picture.
        telling = numbers.measure != "pixels as they are"
        return Pictures(mean=numbers.mean, std=numbers.std) if telling else None
    return None


def _model_info(info: Mapping[str, str], warnings: list[str]) -> dict[str, Any]:
    def value(name: str, read: Callable[[str], Any]) -> Any:
        try:
            return read(info[name]) if info.get(name) else None
        except (ValueError, RecursionError) as exc:  # the second of brackets in brackets
            warnings.append(f"its metadata: {_INFO}{name} is left out: {exc}")
            return None

    found: dict[str, Any] = {"labels": value("label_info", _names) or tuple(info.get("labels", "").split())}
    if {"mean_values", "scale_values", "resize_type"} & set(info):
        mean = value("mean_values", _numbers) or ()
        pictures = Pictures(
            mean=mean if any(mean) else (),
            std=value("scale_values", _scales) or (),
            resize=value("resize_type", _resize) or "",
            pad=value("pad_value", _pad),
        )
        found |= {"pictures": pictures, "pictures_from": "model_info of the file", "color": "RGB"}
        if info.get("reverse_input_channels", "").lower() not in _TRUE:
            warnings.append(
                "its metadata (reverse_input_channels) leaves colours in the order that they come in, which it does "
                "not tell: RGB is a guess; --color BGR says otherwise"
            )
    several = info.get("multilabel", "").lower() in _TRUE
    activation: Activation = (
        "sigmoid" if several else "softmax" if "classif" in info.get("model_type", "").lower() else ""
    )
    threshold = value("confidence_threshold", float)
    if threshold is not None and 0 < threshold < 1 and activation != "softmax":
        found["threshold"] = threshold
    return found | {"activation": activation}


def _names(text: str) -> tuple[str, ...]:
    content = json.loads(text)
    names = content.get("label_names") if isinstance(content, dict) else None
    return tuple(names) if isinstance(names, list) and all(isinstance(n, str) for n in names) else ()


def _parts(text: str) -> list[str]:
    return text.strip("[]()").replace(",", " ").split()


def _numbers(text: str) -> tuple[float, ...]:
    numbers = tuple(map(float, _parts(text)))
    if len(numbers) not in (0, 1, 3) or not all(abs(n) < 1e6 for n in numbers):
        raise ValueError(f"{text[:60]!r} is not one number or three")
    return numbers


def _scales(text: str) -> tuple[float, ...]:
    scales = _numbers(text)
    if scales and min(scales) <= 0:
        raise ValueError(f"{text[:60]!r} is not above 0")
    return scales if set(scales) != {1.0} else ()


def _resize(text: str) -> Resize:
    if text not in _RESIZES:
        raise ValueError(f"{text[:60]!r} is none of {', '.join(_RESIZES)}; --resize says it")
    return _RESIZES[text]


def _pad(text: str) -> int:
    pad = float(text)
    if not 0 <= pad <= 255:
        raise ValueError(f"{text[:60]!r} is no grey from 0 to 255")
    return int(pad)
