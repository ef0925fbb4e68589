"""Two models: one that takes as long as a MobileNet does, one of some ten microseconds. Weights are of chance."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
import onnx
from onnx import TensorProto, helper
from support import onnxmodels

from edge.model.manifest import ONNX_KEY, Feature, Input, Manifest, Output

SIZE = 224
CLASSES = 1000
BLOCKS = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
"""MobileNetV2's: expansion, channels, repeats, stride (arXiv 1801.04381, table 2)."""


class _Net:
    def __init__(self) -> None:
        self._rng = np.random.default_rng(11)
        self.nodes: list[Any] = []
        self.weights: list[Any] = []

    def _add(self, kind: str, inputs: list[str], **attributes: Any) -> str:
        name = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], **attributes))
        return name

    def conv(
        self, x: str, wide: int, out: int, size: int, *, stride: int = 1, group: int = 1, relu: bool = True
    ) -> str:
        shape = (out, wide // group, size, size)
        values = (self._rng.normal(size=shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32)
        name = f"w{len(self.weights)}"
        self.weights.append(helper.make_tensor(name, TensorProto.FLOAT, shape, values.ravel()))
        pads = [size // 2] * 4
        y = self._add("Conv", [x, name], strides=[stride, stride], group=group, pads=pads, kernel_shape=[size, size])
        return self._add("Clip", [y, "zero", "six"]) if relu else y

    def block(self, x: str, wide: int, out: int, expand: int, stride: int) -> str:
        y = self.conv(x, wide, wide * expand, 1) if expand > 1 else x
        y = self.conv(y, wide * expand, wide * expand, 3, stride=stride, group=wide * expand)
        y = self.conv(y, wide * expand, out, 1, relu=False)
        return self._add("Add", [x, y]) if stride == 1 and wide == out else y

    def head(self, x: str, wide: int) -> str:
        y = self._add("ReduceMean", [x], axes=[2, 3], keepdims=0)
        values = (self._rng.normal(size=(wide, CLASSES)) / np.sqrt(wide)).astype(np.float32)
        self.weights.append(helper.make_tensor("fc", TensorProto.FLOAT, values.shape, values.ravel()))
        return self._add("Softmax", [self._add("MatMul", [y, "fc"])], axis=1)


def image(path: Path) -> Path:
    """MobileNetV2's layers: `image` of 1 x 3 x 224 x 224 in, 1000 scores out; it describes itself."""
    net = _Net()
    x = net.conv("image", 3, 32, 3, stride=2)
    wide = 32
    for expand, out, repeats, stride in BLOCKS:
        for number in range(repeats):
            x = net.block(x, wide, out, expand, stride if number == 0 else 1)
            wide = out
    net.nodes.append(helper.make_node("Identity", [net.head(net.conv(x, wide, 1280, 1), 1280)], ["scores"]))
    limits = [helper.make_tensor(n, TensorProto.FLOAT, [], [v]) for n, v in (("zero", 0.0), ("six", 6.0))]
    onnxmodels.save(
        path,
        net.nodes,
        [onnxmodels.info("image", "float32", (1, 3, SIZE, SIZE))],
        [onnxmodels.info("scores", "float32", (1, CLASSES))],
        initializer=[*net.weights, *limits],
    )
    part = Input(
        name="image", kind="image", shape=(1, 3, SIZE, SIZE), layout="NCHW", size=(SIZE, SIZE), antialias=False,
        mean=(123.675, 116.28, 103.53), std=(58.395, 57.12, 57.375),
    )  # fmt: skip
    return describe(path, Manifest(name="image", task="classify", inputs=(part,), outputs=(Output(name="scores"),)))


def picture(path: Path) -> Path:
    """A JPEG of 640 x 480 with something on it; made once."""
    if not path.exists():
        rows, columns = np.mgrid[0:480, 0:640]
        cv2.imwrite(str(path), np.stack([rows % 256, columns % 256, rows * columns % 256], axis=-1).astype(np.uint8))
    return path


def pictures(folder: Path, count: int) -> Path:
    """So many copies of the JPEG by other names; made once."""
    folder.mkdir(exist_ok=True)
    content = picture(folder.with_suffix(".jpg")).read_bytes()
    for number in range(count):
        file = folder / f"{number:04}.jpg"
        if not file.exists():
            file.write_bytes(content)
    return folder


def tiny(path: Path) -> Path:
    """A linear classifier: 64 numbers in, 10 scores out."""
    onnxmodels.scores(path)
    features = tuple(Feature(name=f"f{n}") for n in range(64))
    part = Input(name="x", kind="table", shape=("n", 64), features=features)
    return describe(path, Manifest(name="tiny", task="classify", inputs=(part,), outputs=(Output(name="scores"),)))


def describe(path: Path, manifest: Manifest) -> Path:
    """The file, with a manifest in it."""
    model = onnx.load(path)
    helper.set_model_props(model, {ONNX_KEY: msgspec.json.encode(manifest).decode()})
    onnx.save(model, path)
    return path
