"""From the bytes of a request's JSON to what it says, and no byte looked at that need not be.

Large arrays are cut out before: `tensors.from_json` reads them. And bodies come again: one client writes its requests
the same way each time, only their numbers change. To read the JSON around a few numbers, and to look for what it says
wrongly or twice, costs more than to run a tiny model. Once a body was read and accepted, one with the very same bytes
before and behind its array means the same, and the array alone is read. What is not exactly that is read as any other.
"""

from __future__ import annotations

import codecs
import contextlib
import re
import secrets
from collections.abc import Sequence

import msgspec

from edge.data import codec
from edge.data.tensor import Array, TensorSpec
from edge.http.openinference import tensors
from edge.http.openinference.messages import InferRequest

_decoder = msgspec.json.Decoder(InferRequest)
_DATA = re.compile(rb'"data"\s*:\s*\[')
_MARK = b"%d" % secrets.randbelow(10**15)
"""Stands for an array that was cut out; nobody else knows the number."""
_ERRORS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def decode(text: bytes) -> InferRequest:
    """The JSON of a request. Raises msgspec.DecodeError, UnicodeDecodeError, RecursionError, and SampleError where a
    name comes twice.

    To find the end of a large array msgspec looks at every byte of it, and so does the search for names that come
    twice. So the first flat array of numbers is cut out before, which is right where its place turns out to be the
    `data` of one input: `tensors.from_json` reads it.
    """
    text = text.removeprefix(codecs.BOM_UTF8)
    match = _DATA.search(text) if len(text) > tensors.LARGE else None
    if match is not None:
        begin = match.end() - 1
        end = text.find(b"]", begin) + 1
        if end - begin > tensors.LARGE and all(text.find(odd, begin + 1, end) < 0 for odd in (b"[", b'"')):
            with contextlib.suppress(*_ERRORS):
                request = _once(b"".join((text[:begin], _MARK, text[end:])), text)
                if [bytes(tensor.data) for tensor in request.inputs].count(_MARK) == 1:
                    return _with_data(request, memoryview(text)[begin:end])
    return _once(text, text)


def _once(text: bytes, whole: bytes) -> InferRequest:
    """The decoder takes the last of two values of one name without a word. `whole`: with the array, for the message:
    the mark is nobody's number."""
    request = _decoder.decode(text)
    if text.count(b'"inputs"') > 1 or text.count(b'"data"') > len(request.inputs):
        codec.refuse_twice(whole)
    return request


def _with_data(request: InferRequest, data: memoryview) -> InferRequest:
    """With `data` in the place of the mark."""
    inputs = [
        msgspec.structs.replace(tensor, data=msgspec.Raw(data)) if bytes(tensor.data) == _MARK else tensor
        for tensor in request.inputs
    ]
    return msgspec.structs.replace(request, inputs=inputs)


class KnownBody:
    """A body that was read, of one input whose numbers stand in one flat array."""

    __slots__ = ("_before", "_behind", "_count", "_dims", "_dtype", "_least")

    def __init__(self, before: bytes, behind: bytes, dtype: str, dims: Sequence[int], count: int) -> None:
        """What stands before and behind the array, and what that is for the model."""
        self._before = before
        self._behind = behind
        self._least = len(before) + len(behind)
        self._dtype = dtype
        self._dims = dims
        self._count = count

    def array(self, body: bytes) -> Array | None:
        """The input of such a body; None where it is another."""
        if len(body) <= self._least or not (body.startswith(self._before) and body.endswith(self._behind)):
            return None
        numbers = memoryview(body)[len(self._before) : len(body) - len(self._behind)]
        return tensors.packed(numbers, self._dtype, self._dims, self._count)


def learn(body: bytes, request: InferRequest, spec: TensorSpec, array: Array) -> KnownBody | None:
    """From a small body that was accepted, of one input; None where one like it has to be read anew."""
    (tensor,) = request.inputs
    data = bytes(tensor.data)
    if len(body) > tensors.LARGE or tensors.packed(data, spec.dtype, tensor.shape, array.size) is None:
        return None
    before, _, behind = body.partition(data)
    # The same bytes may stand elsewhere first: as the shape, in a text.
    with contextlib.suppress(*_ERRORS):
        marked = _decoder.decode(b"".join((before, _MARK, behind)))
        if [bytes(found.data) for found in marked.inputs] == [_MARK]:
            return KnownBody(before, behind, spec.dtype, tensor.shape, array.size)
    return None
