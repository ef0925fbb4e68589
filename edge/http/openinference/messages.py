"""The JSON of a request and of a response, by the Open Inference Protocol v2."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import UNSET, UnsetType


class InputTensor(msgspec.Struct, frozen=True):
    """A tensor of a request: `data`, or `binary_data_size` bytes behind the JSON."""

    name: str
    shape: list[int]
    datatype: str
    parameters: dict[str, Any] | None = None
    data: msgspec.Raw = msgspec.field(default_factory=msgspec.Raw)


class RequestedOutput(msgspec.Struct, frozen=True):
    """An output that is asked for, and how."""

    name: str
    parameters: dict[str, Any] | None = None


class InferRequest(msgspec.Struct, frozen=True):
    """The JSON of a request."""

    inputs: list[InputTensor]
    id: str | None = None
    parameters: dict[str, Any] | None = None
    outputs: list[RequestedOutput] | None = None


class OutputTensor(msgspec.Struct, frozen=True):
    """A tensor of a response."""

    name: str
    datatype: str
    shape: list[int]
    parameters: dict[str, Any] | UnsetType = UNSET
    data: list[Any] | UnsetType = UNSET


class InferResponse(msgspec.Struct, frozen=True):
    """The JSON of a response."""

    model_name: str
    model_version: str
    outputs: list[OutputTensor]
    id: str | UnsetType = UNSET
