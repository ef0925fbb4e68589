"""The messages of `inference.proto`, as classes of protobuf's own, made when the server starts.

They stand in a pool of their own: other libraries in the process may have messages of the same names.
"""

from __future__ import annotations

from importlib import resources
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

PACKAGE = "inference"
SERVICE = f"{PACKAGE}.GRPCInferenceService"


class Messages:
    """Classes by name, and the service's methods."""

    def __init__(self) -> None:
        data = (resources.files("edge.http.grpc") / "inference.binpb").read_bytes()
        self._pool = descriptor_pool.DescriptorPool()
        for file in descriptor_pb2.FileDescriptorSet.FromString(data).file:
            self._pool.Add(file)

    def __getitem__(self, name: str) -> Any:
        """The class of a message."""
        return message_factory.GetMessageClass(self._pool.FindMessageTypeByName(f"{PACKAGE}.{name}"))
