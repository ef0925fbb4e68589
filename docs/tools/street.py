"""A street to look at, drawn, and a detector that finds the people of it: `python docs/tools/street.py` puts them into
the folder that one is in, for what the pages of docs/ have people type.

Both are made up: pictures and models of somebody else's do not belong into the repository.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper
from PIL import Image, ImageDraw

WIDTH, HEIGHT = 960, 540
DOOR = (590, 150, 740, 430)
PEOPLE = (
    (150, 250, 96, "#35506b", "#27333f"),
    (640, 262, 88, "#8c3b3b", "#3a3f4a"),
    (835, 300, 80, "#48704f", "#4b4238"),
)
"""Left, top, width, coat and trousers of each."""
ZONE = ((575, 430), (755, 430), (800, 525), (545, 525))
LINE = ((60, 440), (520, 440))
PERSON = 1


def picture() -> Image.Image:
    """RGB, `WIDTH` x `HEIGHT`."""
    large = Image.new("RGB", (WIDTH * 2, HEIGHT * 2), "#c9d3dc")
    pen = ImageDraw.Draw(large)

    def box(left: float, top: float, right: float, bottom: float, colour: str, radius: float = 0) -> None:
        pen.rounded_rectangle((left * 2, top * 2, right * 2, bottom * 2), radius * 2, fill=colour)

    box(0, 0, WIDTH, 430, "#b8a590")
    for row in range(11):
        for column in range(-1, 16):
            left = column * 66 + row % 2 * 33
            box(left, row * 40 + 2, left + 62, row * 40 + 37, "#ad9a85" if (row * 7 + column * 3) % 5 else "#a39079")
    for left in (90, 330):
        box(left - 8, 52, left + 158, 208, "#efe9df", 3)
        box(left, 60, left + 150, 200, "#5f7f93")
        box(left + 72, 60, left + 78, 200, "#efe9df")
        box(left, 127, left + 150, 133, "#efe9df")
    left, top, right, bottom = DOOR
    box(left - 14, top - 14, right + 14, bottom, "#efe9df", 3)
    box(left, top, right, bottom, "#2f4b45")
    box(left + 24, top + 24, right - 24, top + 120, "#6f8f9f", 3)
    box(right - 30, top + 160, right - 18, top + 184, "#d8c070", 5)
    box(0, 430, WIDTH, HEIGHT, "#8d9197")
    for line in range(8):
        box(line * 130 - 20, 432, line * 130 - 17, HEIGHT, "#82868c")
    box(0, 515, WIDTH, HEIGHT, "#5e6269")
    for person in PEOPLE:
        _person(pen, *person)
    return large.resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS)


def _person(pen: ImageDraw.ImageDraw, left: int, top: int, width: int, coat: str, trousers: str) -> None:
    def shape(x: float, y: float, across: float, down: float, colour: str, radius: float) -> None:
        at = [
            2 * (left + x * width),
            2 * (top + y * width),
            2 * (left + (x + across) * width),
            2 * (top + (y + down) * width),
        ]
        pen.rounded_rectangle(at, radius * width * 2, fill=colour)

    shape(0.1, 2.26, 0.8, 0.1, "#767a80", 0.05)
    shape(0.26, 1.35, 0.22, 0.95, trousers, 0.08)
    shape(0.53, 1.35, 0.22, 0.95, trousers, 0.08)
    shape(0.05, 0.62, 0.2, 0.8, coat, 0.1)
    shape(0.75, 0.62, 0.2, 0.8, coat, 0.1)
    shape(0.2, 0.55, 0.6, 1.0, coat, 0.16)
    shape(0.31, 0.05, 0.38, 0.46, "#d9b48f", 0.19)
    shape(0.29, 0.0, 0.42, 0.2, "#4a3b30", 0.16)


def write(folder: Path) -> None:
    """`street.jpg`, `street.onnx` and `street.txt`."""
    picture().save(folder / "street.jpg", quality=92)
    (folder / "street.txt").write_text("background\nperson\n")
    edges = [(left / WIDTH, top / HEIGHT, (left + width) / WIDTH, (top + width * 2.36) / HEIGHT)
             for left, top, width, _, _ in PEOPLE]  # fmt: skip
    outputs = {
        "boxes": np.array([edges], np.float32),
        "classes": np.full((1, len(edges)), PERSON, np.float32),
        "scores": np.array([[0.94, 0.91, 0.83]], np.float32),
        "count": np.array([len(edges)], np.float32),
    }
    nodes = [
        helper.make_node("ReduceMean", ["image"], ["mean"], axes=[0, 1, 2, 3], keepdims=0),
        helper.make_node("Sub", ["mean", "mean"], ["zero"]),
        *(helper.make_node("Add", [f"{name}_seen", "zero"], [name]) for name in outputs),
    ]
    shapes = [helper.make_tensor_value_info(name, TensorProto.FLOAT, value.shape) for name, value in outputs.items()]
    seen = [onnx.numpy_helper.from_array(value, f"{name}_seen") for name, value in outputs.items()]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, (1, 320, 320, 3))
    graph = helper.make_graph(nodes, "street", [image], shapes, seen)
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), folder / "street.onnx"
    )


if __name__ == "__main__":
    write(Path())
