"""`POST /predict`: an input of the contract in, the result of the contract out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from edge.data import codec
from edge.data.result import Result, Skipped
from edge.data.sample import EncodedImage, Payload
from edge.errors import SampleError
from edge.http import forms
from edge.http.http_types import Refusal, Request, Response, as_json
from edge.http.pipeline_pool import Asker
from edge.http.scheduling import Runs
from edge.overlay import annotate

FORMS = ("multipart/form-data", "application/x-www-form-urlencoded")


class Predict:
    """The handler."""

    def __init__(self, asker: Asker, runs: Runs) -> None:
        self._asker = asker
        self._runs = runs

    async def __call__(self, request: Request) -> Response:
        data = await request.body()
        content_type = request.header(b"content-type")
        picture = request.query.get("annotate", "0") not in ("", "0", "false")
        return await self._runs.run(lambda: self.answer(data, content_type, picture=picture), len(data), request.gone)

    def answer(self, data: bytes, content_type: str, *, picture: bool) -> Response:
        """Raises SampleError."""
        payloads, many = self._payloads(data, content_type)
        if picture:
            return self._picture(payloads)
        if len(payloads) == 1:
            many = many or self._asker.is_batch(payloads[0])
        outcomes = [o for payload in payloads for o in self._asker.ask_decoded(payload)]
        if len(outcomes) == 1 and not many:
            return one(outcomes[0])
        if not outcomes:
            return as_json({"results": [], "reason": "the model's window is not full yet: send more samples"}, 202)
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
        outcome = self._asker.ask_decoded(payloads[0])[0]
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
    said = [f"row {at}: {o.reason}" for at, o in enumerate(outcomes[:3])]
    more = f"; and {len(outcomes) - 3} more" if len(outcomes) > 3 else ""
    return "; ".join(said) + more
