"""What a file is that is no model, told with the way out."""

from __future__ import annotations

import pytest

from edge.data import codec, magic
from edge.errors import SampleError

HEADER = b'{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'


@pytest.mark.parametrize(
    ("begin", "suffix", "says"),
    [
        (b"{L\0\0\0", ".ubj", "a model of XGBoost (run edge-convert on it)"),
        (b"GGUF\x03\0\0\0", ".gguf", "this is a language model for llama.cpp"),
        (len(HEADER).to_bytes(8, "little") + HEADER, ".safetensors", "load them into the model they belong to"),
        (b"7767517\n3 3\n", ".param", "a model of ncnn; take the .onnx file"),
        (b"RKNN\0\0\0\0", ".rknn", "take the .onnx file that it was made from"),
        (b"\x1f\x8b\x08\0", ".gz", "a gzip archive; unpack it"),
        (b"\xfd7zXZ\0\0", ".xz", "an xz archive; unpack it"),
        (b"ptrt\0\0\x7f\x7f", ".ENGINE", "an engine of TensorRT, for one kind of GPU; take the .onnx"),
        (b"\x0a\x1a\x0a\x05input", ".pb", "save the model as a SavedModel folder and run edge-convert on that"),
        (b'<?xml version="1.0"?>', ".xml", "perhaps a model of OpenVINO"),
        (b"<!DOCTYPE html>", ".onnx", "this is text or a web page"),
        (b"\x89PNG\r\n\x1a\n", ".pb", "this is a PNG picture"),
        (b"\1\2\3\4", ".bin", r"not a model file (it begins with 01 02 03 04)"),
        (bytes(20) + b"{", "", "not a model file"),
    ],
)
def test_a_file_that_is_no_model_is_named_with_the_way_out(begin, suffix, says):
    assert says in magic.description(begin, suffix)


@pytest.mark.parametrize(
    ("begin", "says"),
    [
        (b"PAR1\x15\x04", "a Parquet file, which edge-score reads; edge-run reads .csv and .jsonl"),
        (b"PK\x03\x04\x14\0", "a workbook of Excel; save its rows as .csv"),
        (b"\0\0\0\x20ftypisom", "a video's name has to end in .mp4 or .mov"),
        (b"RIFF\0\0\0\0AVI LIST", "its name has to end in .avi"),
        (b"\x80\x05\x95", "a Python pickle, which is never opened; save its rows as .csv or .npy"),
    ],
)
def test_an_input_of_a_kind_that_no_model_is_fed_with_is_named_with_the_way_out(begin, says):
    with pytest.raises(SampleError) as told:
        codec.decode(begin + bytes(80))
    assert says in str(told.value)
    assert "JSON" not in str(told.value)
