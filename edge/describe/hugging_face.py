"""transformers' image processors: what a `preprocessor_config.json` says of pictures, and what of it is not done here.

A processor is a class and its fields; the class decides what the fields mean, and does more than they say in some. So
those whose tensors were compared with ours are named, and of any other a warning says so.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from edge.describe.image_processors import above_0, enlarged, numbers, rectangle, resample, share, whole
from edge.describe.metadata import Pictures, Resize

_Fitting = tuple[tuple[int, int] | None, Resize | None, float]
_SUFFIX = re.compile(r"(ImageProcessor(Fast|Pil)?|FeatureExtractor)$")
_COMPARED = frozenset((
    "Beit", "Bit", "Blip", "CHMv2", "CLIP", "ChineseCLIP", "ConditionalDetr", "ConvNext", "DINOv3ViT", "DPT",
    "DeformableDetr", "DeiT", "DepthPro", "Detr", "EfficientNet", "Eomt", "Flava", "GLPN", "GroundingDino", "Levit",
    "Mask2Former", "MaskFormer", "MobileNetV1", "MobileNetV2", "MobileViT", "OneFormer", "OwlViT", "Owlv2",
    "PPDocLayoutV2", "PPDocLayoutV3", "Perceiver", "PoolFormer", "PromptDepthAnything", "Pvt", "RTDetr", "RfDetr",
    "Sam", "Sam2", "Sam3", "Sapiens2", "SegGpt", "Segformer", "Siglip", "SuperPoint", "TextNet", "ViT",
    "Vilt", "Yolos", "ZoeDepth",
))  # fmt: skip
"""Whose tensors of pictures with odd sides were compared with those made here, transformers 5.24.0: docs/MODELS.md says
how near they are. Some make the sides of what they keep multiples of a number: the form differs by less than that."""


def pictures(content: Mapping[str, Any]) -> Pictures | None:
    """`(pixel * rescale_factor - mean) / std`, each step may be off. None where the file tells of no pictures."""
    if not {"image_processor_type", "image_mean", "do_rescale"} & set(content):
        return None
    factor = above_0(content.get("rescale_factor", 1 / 255), "rescale_factor") if content.get("do_rescale", 1) else 1.0
    mean, std = numbers(content, "image_mean"), numbers(content, "image_std")
    # The class that normalises only where it is told to writes its numbers down nevertheless.
    normalises = bool(content.get("do_normalize", _family(content) != "MobileViT") and mean and std)
    mean, std = (mean, std) if normalises else ((), (1.0,))
    again = numbers(content, "image_std") if content.get("include_top") else ()
    if again:  # EfficientNet divides by the deviation a second time: its file holds the roots of ImageNet's
        std = tuple((np.array(std) * np.array(again)).tolist())
    offset = 1.0 if content.get("rescale_offset") else 0.0  # EfficientNet: pixels to -1..1 before the rest
    size, resize, fraction = _fitting(content)
    mean = tuple(round((m + offset) / factor, 4) for m in (mean or ((0.0,) if offset else ())))
    return Pictures(
        mean=mean,
        std=tuple(round(s / factor, 4) for s in std) if factor != 1.0 or normalises else (),
        size=size,
        resize=resize or "",
        crop_fraction=fraction,
        resample=resample(content.get("resample")) if content.get("do_resize", True) else "",
        pad=_pad(content, mean) if resize == "letterbox-topleft" else None,
        color="BGR" if content.get("do_flip_channel_order") else "RGB",
    )


def doubts(content: Mapping[str, Any]) -> list[str]:
    """What of the file is not done here, in words that name the way out."""
    said = []
    if content.get("keep_aspect_ratio") is True and _fitting(content)[1] == "stretch":
        said.append(
            "the form of a picture should be kept, which is not done here: it is stretched to the size "
            "(--input-size WxH of the camera's form, where the model takes it)"
        )
    if "image_processor_type" in content and _family(content) not in _COMPARED:
        said.append(
            f"{str(content['image_processor_type'])[:60]} may do more with pictures than its fields say, which are "
            "read as those of others: --resize, --color, --mean and --std say otherwise, or send arrays"
        )
    if _family(content) == "SuperPoint" and content.get("do_grayscale"):
        said.append("do_grayscale is not done here: send grey pictures")
    return said


def _family(content: Mapping[str, Any]) -> str:
    """ViT of ViTImageProcessor, ViTImageProcessorFast and ViTFeatureExtractor."""
    return _SUFFIX.sub("", str(content.get("image_processor_type") or content.get("feature_extractor_type") or ""))


def _pad(content: Mapping[str, Any], mean: tuple[float, ...]) -> int:
    """Zeros are laid around what is normalised; Owlv2 lays them around the picture."""
    if not mean or _family(content) == "Owlv2":
        return 0
    return int(min(255.0, max(0.0, sum(mean) / len(mean))) + 0.5)


def _fitting(content: Mapping[str, Any]) -> _Fitting:
    """Size, resize and crop fraction. A shortest edge keeps the picture's form: nothing of it is cut off."""
    size, family = content.get("size"), _family(content)
    shortest, longest = _edges(content)
    crop = rectangle(content.get("crop_size"))
    sides = rectangle(size) if isinstance(size, dict) else None
    if content.get("do_center_crop") and crop:
        if sides and family == "Perceiver":  # cuts before it resizes
            return sides, "crop", share(sides[0], crop[0])
        if sides:  # BEiT: the form is lost before the cut
            return crop, "stretch", share(crop[0], sides[0])
        edge = _before_crop(content, shortest) or whole(size) or min(crop)
        return crop, "crop", share(min(crop), edge)
    if shortest and "crop_pct" in content:  # ConvNeXt
        square, kept = (shortest, shortest), enlarged(shortest, content["crop_pct"] or 1.0)
        return (square, "crop", kept) if shortest < 384 else (square, "stretch", 1.0)
    if shortest:
        wide = round(shortest * 4 / 3)
        return (min(wide, longest) if longest else wide, shortest), "letterbox-topleft", 1.0
    if longest:  # SAM
        return rectangle(content.get("pad_size")) or (longest, longest), "letterbox-topleft", 1.0
    sides = rectangle(size)
    if sides and family == "Owlv2" and content.get("do_pad"):
        return sides, "letterbox-topleft", 1.0
    return (sides, "stretch", 1.0) if sides else (None, None, 1.0)


def _before_crop(content: Mapping[str, Any], shortest: int) -> int:
    """How long the shorter side is before the middle is cut out."""
    if shortest and "crop_pct" in content:  # PoolFormer
        return int(shortest / above_0(content["crop_pct"] or 1.0, "crop_pct"))
    return int(256 / 224 * shortest) if _family(content) == "Levit" else shortest


def _edges(content: Mapping[str, Any]) -> tuple[int, int]:
    """The shortest and the longest edge, 0 where there is none.

    Older files say a number: an edge for DETR and its kin (`max_size` beside it) and for ConvNeXt (`crop_pct`), else
    the side of a square.
    """
    size = content.get("size")
    if isinstance(size, dict):
        return whole(size.get("shortest_edge")), whole(size.get("longest_edge"))
    if "max_size" in content or "crop_pct" in content:
        return whole(size), whole(content.get("max_size"))
    return 0, 0
