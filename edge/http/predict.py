"""`POST /predict`: an input of the contract in, the result of the contract out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from starlette.requests import Request
from starlette.routing import BaseRoute

from edge.data import codec
from edge.data.result import Result, Skipped
from edge.data.sample import EncodedImage, Payload
from edge.errors import SampleError
from edge.http import forms, schemas, sequences
from edge.http.http_types import Gone, Refusal, Response, as_json
from edge.http.pipeline_pool import PipelinePool
from edge.http.routes import body_of, describes, post, request_gone
from edge.http.scheduling import Admission
from edge.overlay import annotate

NOT_FULL = (
    "the model's window is not full yet: send more samples, in one request or as a sequence (?sequence_id=ID, "
    "sequence_start=1 with the first)"
)
FORMS = ("multipart/form-data", "application/x-www-form-urlencoded")


class Predict:
    """The hot route, and the endpoint of the framework for what has a query."""

    def __init__(self, pool: PipelinePool, admission: Admission) -> None:
        self._pool = pool
        self._admission = admission

    def routes(self) -> list[BaseRoute]:
        """Its one."""
        return [post("/predict", self.predict)]

    @describes(
        body=schemas.PREDICT,
        answer=schemas.PREDICTED,
        query={
            "model": "which one, where the device serves several",
            "annotate": "1: answer the picture, with what the model sees drawn on it",
            "sequence_id": "for a model that remembers: whose memory; a request without has one of its own",
            "sequence_start": "1: the sequence begins",
            "sequence_end": "1: the sequence ends with this request",
        },
    )
    async def predict(self, request: Request) -> Response:
        """Predict from a row, a picture or an array."""
        body, headers = await body_of(request)
        picture = request.query_params.get("annotate", "0") not in ("", "0", "false")
        sequence = sequences.of(request.query_params)
        work = partial(self.answer, body, _kind(headers), picture=picture, sequence=sequence)
        return await self._admission.run(work, len(body), request_gone(request))

    def at_once(self, body: bytes, headers: Mapping[bytes, bytes]) -> Response | None:
        """As `HotHandler`'s."""
        return self._admission.at_once(partial(self.answer, body, _kind(headers)), len(body))

    async def later(self, body: bytes, headers: Mapping[bytes, bytes], gone: Gone) -> Response:
        """As `HotHandler`'s."""
        return await self._admission.run(partial(self.answer, body, _kind(headers)), len(body), gone)

    def answer(
        self, data: bytes, content_type: str, *, picture: bool = False, sequence: sequences.Sequence | None = None
    ) -> Response:
        """Raises SampleError."""
        payloads, many = self._payloads(data, content_type)
        if picture:
            return self._picture(payloads)
        if len(payloads) == 1:
            many = many or self._pool.is_batch(payloads[0])
        outcomes = self._pool.ask_decoded(payloads, sequence)
        if len(outcomes) == 1 and not many:
            return one(outcomes[0])
        if not outcomes:
            return as_json({"results": [], "reason": NOT_FULL}, 202)
        if all(isinstance(o, Skipped) for o in outcomes):
            raise SampleError(_reasons(outcomes))
        return as_json(outcomes)

    @staticmethod
    def _payloads(data: bytes, content_type: str) -> tuple[list[Payload], bool]:
        if content_type.partition(";")[0].strip().lower() not in FORMS or says_what_it_is(data):
            return [codec.decode(data)], False
        payloads = forms.read(data, content_type)
        if not payloads:
            raise Refusal(400, "a form without a file or a field: send a picture, .npy bytes or JSON")
        return payloads, len(payloads) > 1

    def _picture(self, payloads: Sequence[Payload]) -> Response:
        if len(payloads) != 1 or not isinstance(payloads[0], EncodedImage):
            raise Refusal(400, "?annotate=1 is for one picture: send a JPEG, PNG, BMP or WebP file")
        outcome = self._pool.ask_decoded(payloads)[0]
        if isinstance(outcome, Skipped):
            raise SampleError(outcome.reason)
        return Response(annotate.draw(payloads[0], outcome), kind=b"image/jpeg")


def says_what_it_is(data: bytes) -> bool:
    """`curl -d '[1, 2]'` and `curl --data-binary @picture.jpg` call what they send a form."""
    return data[:64].lstrip()[:1] in (b"{", b"[") or codec.is_image(data) or codec.is_npy(data)


def one(outcome: Result | Skipped) -> Response:
    """A result, or the reason why there is none."""
    if isinstance(outcome, Skipped):
        raise SampleError(outcome.reason)
    return as_json(outcome)


def _reasons(outcomes: Sequence[Any]) -> str:
    reasons = [f"row {at}: {o.reason}" for at, o in enumerate(outcomes[:3])]
    more = f"; and {len(outcomes) - 3} more" if len(outcomes) > 3 else ""
    return "; ".join(reasons) + more


def _kind(headers: Mapping[bytes, bytes]) -> str:
    return headers.get(b"content-type", b"").decode("latin-1")
