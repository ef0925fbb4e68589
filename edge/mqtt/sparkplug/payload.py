"""A Sparkplug B payload: bytes to values and back.

The messages of protobuf are made here at the first use, from names and numbers of their fields (Eclipse Sparkplug 3.0,
section 6.4), in a pool of their own: other libraries in the process may have messages of the same names. Data sets,
templates and arrays are left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, TypeAlias

import msgspec

from edge.errors import Needing, SampleError

Value: TypeAlias = bool | int | float | str | None
PACKAGE = "edge.sparkplug"
INT8, INT64, UINT64, DOUBLE, BOOLEAN, STRING, DATETIME, TEXT, UUID = 1, 4, 8, 10, 11, 12, 13, 14, 15
_SIGNED = {1: 8, 2: 16, 3: 32, 4: 64}
"""Bits of data types whose values are written as unsigned numbers, in two's complement."""
_FIELDS = {
    1: "int_value", 2: "int_value", 3: "int_value", 4: "long_value", 5: "int_value", 6: "int_value", 7: "int_value",
    8: "long_value", 9: "float_value", 10: "double_value", 11: "boolean_value", 12: "string_value", 13: "long_value",
    14: "string_value", 15: "string_value",
}  # fmt: skip
"""Where a value of a data type is."""


class Metric(msgspec.Struct, frozen=True):
    """`datatype` 0: not said. `timestamp` in milliseconds since 1970. `known`: its value is of a kind that is read
    here."""

    name: str = ""
    value: Value = None
    datatype: int = 0
    alias: int | None = None
    timestamp: int = 0
    historical: bool = False
    known: bool = True


class Payload(msgspec.Struct, frozen=True):
    """`seq` is None in a death and in a command. `timestamp` in milliseconds since 1970."""

    timestamp: int
    metrics: Sequence[Metric]
    seq: int | None = None


def encode(payload: Payload) -> bytes:
    """Every metric needs a data type."""
    message = _class()(timestamp=payload.timestamp)
    if payload.seq is not None:
        message.seq = payload.seq
    for metric in payload.metrics:
        into = message.metrics.add(name=metric.name, datatype=metric.datatype, timestamp=metric.timestamp)
        if metric.historical:
            into.is_historical = True
        if metric.value is None:
            into.is_null = True
        elif metric.datatype in _SIGNED and isinstance(metric.value, int):
            field = _FIELDS[metric.datatype]
            setattr(into, field, metric.value & ((1 << (64 if field == "long_value" else 32)) - 1))
        else:
            setattr(into, _FIELDS[metric.datatype], metric.value)
    data: bytes = message.SerializeToString()
    return data


def decode(data: bytes) -> Payload:
    """Raises SampleError for bytes that are none."""
    from google.protobuf.message import DecodeError

    message = _class()()
    try:
        message.ParseFromString(data)
    except DecodeError as exc:
        raise SampleError(f"no payload of Sparkplug B: {exc}") from exc
    return Payload(
        message.timestamp,
        [_metric(metric) for metric in message.metrics],
        message.seq if message.HasField("seq") else None,
    )


def value_of(raw: Value, datatype: int) -> Value:
    """A number as it was written, by its data type: that may be known from a birth alone."""
    bits = _SIGNED.get(datatype)
    if bits is None or not isinstance(raw, int) or isinstance(raw, bool):
        return raw
    raw &= (1 << bits) - 1
    return raw - (1 << bits) if raw >> (bits - 1) else raw


def check() -> None:
    """Raises ConfigError where protobuf is not installed."""
    _class()


def _metric(metric: Any) -> Metric:
    field = metric.WhichOneof("value")
    known = field in _FIELDS.values() or metric.is_null
    raw: Value = getattr(metric, field) if known and field is not None and not metric.is_null else None
    if any(isinstance(text, bytes) for text in (metric.name, raw)):  # as protobuf gives what is no UTF-8
        raise SampleError("no payload of Sparkplug B: a name or a text is no UTF-8")
    return Metric(
        metric.name,
        value_of(raw, metric.datatype),
        metric.datatype,
        metric.alias if metric.HasField("alias") else None,
        metric.timestamp,
        metric.is_historical,
        known,
    )


@cache
def _class() -> Any:
    """The class of a payload."""
    with Needing("Sparkplug", "protobuf", "sparkplug"):
        from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
    kinds = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="sparkplug.proto", package=PACKAGE, syntax="proto2")
    metric = file.message_type.add(name="Metric")
    metric.oneof_decl.add(name="value")
    for number, name, kind in (
        (1, "name", kinds.TYPE_STRING), (2, "alias", kinds.TYPE_UINT64), (3, "timestamp", kinds.TYPE_UINT64),
        (4, "datatype", kinds.TYPE_UINT32), (5, "is_historical", kinds.TYPE_BOOL), (6, "is_transient", kinds.TYPE_BOOL),
        (7, "is_null", kinds.TYPE_BOOL), (10, "int_value", kinds.TYPE_UINT32), (11, "long_value", kinds.TYPE_UINT64),
        (12, "float_value", kinds.TYPE_FLOAT), (13, "double_value", kinds.TYPE_DOUBLE),
        (14, "boolean_value", kinds.TYPE_BOOL), (15, "string_value", kinds.TYPE_STRING),
        (16, "bytes_value", kinds.TYPE_BYTES), (17, "dataset_value", kinds.TYPE_BYTES),
        (18, "template_value", kinds.TYPE_BYTES), (19, "extension_value", kinds.TYPE_BYTES),
    ):  # fmt: skip
        field = metric.field.add(name=name, number=number, type=kind, label=kinds.LABEL_OPTIONAL)
        if number >= 10:
            field.oneof_index = 0
    payload = file.message_type.add(name="Payload")
    optional = kinds.LABEL_OPTIONAL
    payload.field.add(name="timestamp", number=1, type=kinds.TYPE_UINT64, label=optional)
    payload.field.add(
        name="metrics", number=2, type=kinds.TYPE_MESSAGE, label=kinds.LABEL_REPEATED, type_name=f".{PACKAGE}.Metric"
    )
    payload.field.add(name="seq", number=3, type=kinds.TYPE_UINT64, label=optional)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{PACKAGE}.Payload"))
