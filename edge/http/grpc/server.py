"""The gRPC server: in the event loop of HTTP, with its queue, its limits, its token and its certificate."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NoReturn, Protocol

from edge.errors import ConfigError, SampleError, needs

try:
    import grpc
    from google.protobuf import json_format
    from google.protobuf.message import DecodeError
except ImportError as exc:
    raise needs("--grpc", exc.name or "grpcio", "grpc") from None

from edge.http.auth import Auth, Certificate, Unauthorized
from edge.http.catalog import Catalog
from edge.http.grpc.connections import Connections
from edge.http.grpc.infer import GrpcInference, parameters
from edge.http.grpc.messages import SERVICE, Messages
from edge.http.grpc.reading import Context, Reading, address
from edge.http.http_types import Refusal
from edge.http.in_use import InUse
from edge.http.openinference.metadata import Models
from edge.http.openinference.routes import Infer
from edge.http.openinference.statistics import InferenceStatistics
from edge.http.options import Limits
from edge.http.reader import BodyBudget
from edge.http.scheduling import Admission

log = logging.getLogger("edge.http")

BESIDE_MOST = 65_536
"""Bytes of a message that are not its tensors."""
CODES = {
    400: grpc.StatusCode.INVALID_ARGUMENT, 401: grpc.StatusCode.UNAUTHENTICATED, 404: grpc.StatusCode.NOT_FOUND,
    413: grpc.StatusCode.RESOURCE_EXHAUSTED, 429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    501: grpc.StatusCode.UNIMPLEMENTED, 503: grpc.StatusCode.UNAVAILABLE,
}  # fmt: skip


WINDOW = 262_144
"""Bytes of a call that may be under way to the server."""
GUESSES_MOST = 64
"""Calls with a wrong token that are held back at once: they take places of others. More are refused without a wait."""


class Served(Protocol):
    """What answers for one model, over HTTP too."""

    models: Models
    statistics: InferenceStatistics
    infer: Infer
    admission: Admission


@dataclass(frozen=True, slots=True)
class GrpcOptions:
    """`most` connections, and calls that wait for a message; `budget` is of the bodies of HTTP, too."""

    host: str
    port: int
    most: int
    limits: Limits
    budget: BodyBudget
    certificate: Certificate | None = None


class Answering(InUse):
    """The models of now, by name."""

    def __init__(self, messages: Messages, every: Sequence[Served]) -> None:
        super().__init__()
        self.every = {one.models.name: one for one in every}
        self.inferences = {
            name: GrpcInference(messages, one.infer.inference, (name, one.models.version))
            for name, one in self.every.items()
        }


class GrpcServer:
    """The event loop's own. `start` and `stop` once each."""

    def __init__(self, every: Sequence[Served], catalog: Catalog, auth: Auth) -> None:
        self._messages = Messages()
        self._infer_request = self._messages["ModelInferRequest"]
        self._now = Answering(self._messages, every)
        self._catalog = catalog
        self._auth = auth
        self._server: Any = None
        self._reading: Any = None
        self._connections: Connections | None = None
        self._wrong_token_s = 0.0
        self._guesses = 0
        """Calls that are held back."""
        self._queued: Counter[str] = Counter()
        """Requests that wait for a model or are with it, by address."""

    async def start(self, options: GrpcOptions) -> int:
        """Listens; returns the port. Raises ConfigError."""
        limits = options.limits
        self._wrong_token_s = limits.wrong_token_s
        self._reading = Reading(options.most, limits, options.budget)
        self._connections = connections = Connections(options.most, limits.sweep_s)
        self._server = grpc.aio.server(
            options=[
                ("grpc.max_receive_message_length", options.budget.most + BESIDE_MOST),
                ("grpc.max_send_message_length", -1),
                ("grpc.max_metadata_size", BESIDE_MOST),
                ("grpc.http2.bdp_probe", 0),  # it pings beside each call, for a tenth of its time
                ("grpc.http2.lookahead_bytes", WINDOW),
                ("grpc.max_allowed_incoming_connections", connections.taken),
                ("grpc.max_concurrent_streams", options.most),
                ("grpc.server_handshake_timeout_ms", int(limits.call_begin_s * 1000)),
                ("grpc.max_connection_idle_ms", int(limits.call_idle_s * 1000)),
                ("grpc.so_reuseport", 0),  # else two servers could share a port, and each get some of the requests
            ],
        )
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, self._handlers()),))
        host = f"[{options.host}]" if ":" in options.host else options.host
        address = f"{host}:{options.port}"
        try:
            if options.certificate is None:
                port = self._server.add_insecure_port(address)
            else:
                port = self._server.add_secure_port(address, _credentials(options.certificate))
        except RuntimeError as exc:
            raise ConfigError(f"--grpc {address}: {exc}; say another port or address") from exc
        await self._server.start()
        connections.start(port)
        return int(port)

    async def stop(self, grace_s: float) -> None:
        """Calls that were begun may end within `grace_s`."""
        if self._connections is not None:
            self._connections.stop()
        if self._server is not None:
            self._reading.stop()
            await self._server.stop(grace_s)

    def use(self, every: Sequence[Served]) -> Answering:
        """The next calls, and the next requests of streams, are answered with other models; those that answered until
        now, to be retired."""
        before, self._now = self._now, Answering(self._messages, every)
        return before

    # --- the service ----------------------------------------------------------------------------------

    def _handlers(self) -> Mapping[str, Any]:
        catalog = self._catalog
        plain: Mapping[str, Callable[[Any], Any]] = {
            "ServerLive": lambda _: {"live": True},
            "ServerReady": lambda _: {"ready": True},
            "ServerMetadata": lambda _: next(iter(self._now.every.values())).models.server(),
            "ModelReady": lambda r: {"ready": self._of(r.name, r.version) is not None},
            "ModelMetadata": lambda r: self._of(r.name, r.version).models.metadata(),
            "ModelConfig": lambda r: {"config": self._of(r.name, r.version).models.configuration()},
            "ModelStatistics": lambda r: self._model_stats(r) if r.name else catalog.statistics(),
            "RepositoryIndex": lambda _: {"models": catalog.repository()},
            "RepositoryModelLoad": self._load,
            "RepositoryModelUnload": self._unload,
        }
        handlers = {name: self._handler(name, self._plain(name, told)) for name, told in plain.items()}
        handlers["ModelInfer"] = grpc.stream_unary_rpc_method_handler(self._model_infer)
        handlers["ModelStreamInfer"] = grpc.stream_stream_rpc_method_handler(
            self._stream_infer,
            response_serializer=self._messages["ModelStreamInferResponse"].SerializeToString,
        )
        return handlers

    def _handler(self, name: str, answer: Callable[[object, Context], Awaitable[Any]]) -> Any:
        """As one that takes a stream, which is the same on the wire: it begins before a message came, and reads that
        itself. And without gRPC's own decoding: it calls bytes that are no message a fault of the server's."""
        return grpc.stream_unary_rpc_method_handler(
            answer, response_serializer=self._messages[f"{name}Response"].SerializeToString
        )

    def _plain(self, name: str, told: Callable[[Any], Any]) -> Callable[[object, Context], Awaitable[Any]]:
        request, response = (self._messages[f"{name}{kind}"] for kind in ("Request", "Response"))

        async def answer(_: object, context: Context) -> Any:
            try:
                data = b""
                if name == "ServerReady":
                    self._check_token(context)
                elif name != "ServerLive":
                    data = await self._message(context)
                return json_format.ParseDict(told(parsed(request, data)), response(), ignore_unknown_fields=True)
            except Exception as exc:  # noqa: BLE001 - `_status` says which is a bug
                await self._end(exc, context)

        return answer

    def _load(self, request: Any) -> Mapping[str, Any]:
        self._of(request.model_name).models.load(request.model_name, changed=bool(request.parameters))
        return {}

    def _unload(self, request: Any) -> Mapping[str, Any]:
        self._of(request.model_name).models.unload(request.model_name)
        return {}

    def _of(self, name: str, version: str = "") -> Served:
        """The model that a request names. Raises Refusal: 404, 503."""
        found = self._now.every.get(name)
        if found is None:
            raise self._catalog.unknown(name)
        found.models.check(name, version or None)
        return found

    def _model_stats(self, request: Any) -> Mapping[str, Any]:
        model = self._of(request.name, request.version)
        return {"model_stats": [model.statistics.statistics(model.models.name, model.models.version)]}

    async def _message(self, context: Context) -> bytes:
        """That of a call that has one. Raises Refusal."""
        self._check_token(context)
        data: bytes | None = await self._reading.next(context, stream=False)
        if data is None:
            raise Refusal(400, "the call ended without a message")
        return data

    async def _model_infer(self, _: object, context: Context) -> bytes:
        data = b""
        try:
            data = await self._message(context)
            with self._reading.held(len(data), context):
                model, work = self._known(data) or self._read(parsed(self._infer_request, data), data)
                return await self._answer(context, model, work, len(data))
        except Exception as exc:  # noqa: BLE001 - `_status` says which is a bug
            data = b""  # as `_end` says
            await self._end(exc, context)

    def _known(self, data: bytes) -> tuple[Served, Callable[[], bytes]] | None:
        for name, inference in self._now.inferences.items():
            if (work := inference.again(data)) is not None:
                return self._now.every[name], work
        return None

    def _read(self, request: Any, data: bytes) -> tuple[Served, Callable[[], bytes]]:
        """Of which model it is, and what answers it. Raises Refusal."""
        model = self._of(request.model_name, request.model_version)
        return model, partial(self._now.inferences[request.model_name].answer, request, data)

    async def _answer(self, context: Context, model: Served, work: Callable[[], bytes], size: int) -> bytes:
        """To be called as soon as the model was found: another one may take over when something else runs."""
        ended = self._now.ask()
        try:
            response = model.admission.at_once(work, size)
            return response if response is not None else await self._queue(address(context), model, work, size)
        except SampleError:
            model.statistics.failed()
            raise
        finally:
            ended()

    async def _queue(self, whose: str, model: Served, work: Callable[[], bytes], size: int) -> bytes:
        """The first request of an address has a place where others have filled the queue."""
        self._queued[whose] += 1
        try:
            return await model.admission.run(work, size, admitted=self._queued[whose] == 1)
        finally:
            self._queued[whose] -= 1
            if not self._queued[whose]:
                del self._queued[whose]

    async def _stream_infer(self, _: object, context: Context) -> AsyncIterator[Any]:
        """In the order asked. One that fails is told in its answer, and the stream goes on."""
        response, infer_response = (self._messages[n] for n in ("ModelStreamInferResponse", "ModelInferResponse"))

        while (data := await self._next(context)) is not None:
            request = self._infer_request()
            try:
                with self._reading.held(len(data), context):
                    request = parsed(self._infer_request, data)
                    answer = await self._answer(context, *self._read(request, data), len(data))
                yield response(infer_response=infer_response.FromString(answer))
            except SampleError as exc:
                yield response(error_message=str(exc), infer_response=infer_response(id=request.id))
            else:
                if parameters(request.parameters).get("triton_enable_empty_final_response") is True:
                    last = infer_response(id=request.id, model_name=request.model_name)
                    last.parameters["triton_final_response"].bool_param = True
                    yield response(infer_response=last)

    async def _next(self, context: Context) -> bytes | None:
        """The next message of a stream; None at its end."""
        try:
            self._check_token(context)
            data: bytes | None = await self._reading.next(context, stream=True)
        except Refusal as exc:
            await self._end(exc, context)
        return data

    # --- refusals -------------------------------------------------------------------------------------

    def _check_token(self, context: Context) -> None:
        if self._auth.token.text is not None:
            self._auth.check_bearer(_bearer(context))

    async def _end(self, exc: Exception, context: Context) -> NoReturn:
        """Ends the call with the status of what was raised. That keeps the frames that it came through, and is kept by
        what gRPC raises in turn: megabytes of messages, until they are collected. So it is let go of them here."""
        status = _status(exc)
        exc.__traceback__ = exc.__cause__ = exc.__context__ = None
        if isinstance(exc, Unauthorized) and exc.guessed and self._guesses < GUESSES_MOST:
            self._guesses += 1
            try:
                await asyncio.sleep(self._wrong_token_s)
            finally:
                self._guesses -= 1
        await context.abort(*status)


def parsed(kind: Any, data: bytes) -> Any:
    """A message. Raises Refusal."""
    try:
        return kind.FromString(data)
    except DecodeError as exc:
        raise Refusal(400, f"{len(data)} bytes that are no {kind.DESCRIPTOR.name}: {exc}") from exc


def _bearer(context: Context) -> bytes:
    """What stands in the metadata `authorization`."""
    for name, value in context.invocation_metadata() or ():
        if name == "authorization":
            return value.encode() if isinstance(value, str) else bytes(value)
    return b""


def _status(exc: Exception) -> tuple[grpc.StatusCode, str]:
    if isinstance(exc, Refusal):
        return CODES.get(exc.status, grpc.StatusCode.INVALID_ARGUMENT), str(exc)
    if isinstance(exc, SampleError):
        return grpc.StatusCode.INVALID_ARGUMENT, str(exc)
    log.error("call failed", exc_info=exc)
    return grpc.StatusCode.INTERNAL, f"a bug of edge-run's: {type(exc).__name__}; its log says more"


def _credentials(certificate: Certificate) -> Any:
    """Of which gRPC asks again at each connection, from a thread of its own."""
    shown = certificate.pem

    def newer() -> Any:
        nonlocal shown
        if certificate.pem is shown:
            return None
        shown = certificate.pem
        return grpc.ssl_server_certificate_configuration([shown])

    first = grpc.ssl_server_certificate_configuration([shown])
    return grpc.dynamic_ssl_server_credentials(first, newer)
