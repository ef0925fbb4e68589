"""TFLite Metadata for a .tflite file, written by the field numbers of `metadata_schema.fbs` (TFLite Support)."""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema


@dataclass(frozen=True)
class Word:
    """A number of four bytes."""

    value: int


@dataclass(frozen=True)
class Table:
    """Values by slot: text, a table, a list of tables or of floats, an int (one byte), a `Word`, a float."""

    slots: dict[int, Any]

    def write(self, builder: flatbuffers.Builder) -> int:
        ready = {slot: self._child(builder, value) for slot, value in self.slots.items()}
        builder.StartObject(max(ready) + 1)
        for slot, (kind, value) in ready.items():
            if kind == "offset":
                builder.PrependUOffsetTRelativeSlot(slot, value, 0)
            elif kind == "byte":
                builder.PrependUint8Slot(slot, value, 0)
            elif kind == "word":
                builder.PrependUint32Slot(slot, value, 0)
            else:
                builder.PrependFloat32Slot(slot, value, 0.0)
        return int(builder.EndObject())

    @staticmethod
    def _child(builder: flatbuffers.Builder, value: Any) -> tuple[str, Any]:
        if isinstance(value, str):
            return "offset", builder.CreateString(value)
        if isinstance(value, Table):
            return "offset", value.write(builder)
        if isinstance(value, list) and isinstance(value[0], Table):
            offsets = [v.write(builder) for v in value]
            builder.StartVector(4, len(offsets), 4)
            for offset in reversed(offsets):
                builder.PrependUOffsetTRelative(offset)
            return "offset", builder.EndVector()
        if isinstance(value, list):
            return "offset", builder.CreateNumpyVector(np.array(value, np.float32))
        if isinstance(value, Word):
            return "word", value.value
        return ("byte" if isinstance(value, int) else "float"), value


def attach(
    model: bytes,
    *,
    mean: list[float],
    std: list[float],
    labels: list[str],
    threshold: float,
    display: list[str] | None = None,
) -> bytes:
    """What TensorFlow's metadata writer does for an image classifier: a buffer in the model, a zip behind it."""
    normalization = Table({0: 1, 1: Table({0: mean, 1: std})})
    scores = Table({0: 3, 1: Table({0: threshold})})
    picture = Table({0: 2, 1: Table({0: 1})})
    given = Table({0: "image", 3: picture, 4: [normalization]})
    files = [Table({0: "the labels.txt", 2: 2})]
    if display is not None:
        files.append(Table({0: "labels-en.txt", 2: 2, 3: "en"}))
    told = Table({0: "probability", 4: [scores], 6: files})
    whole = Table({0: "Cats", 1: "finds cats", 3: [Table({2: [given], 3: [told]})], 5: "MIT"})
    file = io.BytesIO(_with(model, whole))
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr("the labels.txt", "\n".join(labels))
        if display is not None:
            archive.writestr("labels-en.txt", "\n".join(display))
    return file.getvalue()


def of_sound(model: bytes, rate: int) -> bytes:
    """What the metadata writer does for a classifier of sound."""
    given = Table({0: "audio", 3: Table({0: 4, 1: Table({0: Word(rate), 1: Word(1)})})})
    return _with(model, Table({0: "Sound", 3: [Table({2: [given]})]}))


def _with(model: bytes, whole: Table) -> bytes:
    builder = flatbuffers.Builder(1024)
    builder.Finish(whole.write(builder), b"M001")

    tree = schema.ModelT.InitFromObj(schema.Model.GetRootAs(bytearray(model), 0))
    buffer, entry = schema.BufferT(), schema.MetadataT()
    buffer.data = np.frombuffer(bytes(builder.Output()), np.uint8)
    tree.buffers.append(buffer)
    entry.name, entry.buffer = "TFLITE_METADATA", len(tree.buffers) - 1
    tree.metadata = [entry]
    packed = flatbuffers.Builder(1024)
    packed.Finish(tree.Pack(packed), b"TFL3")
    return bytes(packed.Output())
