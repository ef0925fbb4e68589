"""Tiny .tflite files, made by LiteRT's own schema: y = x + 2, or one custom operator."""

from __future__ import annotations

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

ADD = schema.BuiltinOperator.ADD
CUSTOM = schema.BuiltinOperator.CUSTOM


def build(operator: int = ADD, *, custom: str = "", version: int = 3) -> bytes:
    """One operator on x [1, 4], batch free, and the constant 2. `version` is that of the schema."""
    graph = schema.SubGraphT()
    graph.tensors = [_tensor("x", 0, (1, 4), (-1, 4)), _tensor("c", 1, (1,)), _tensor("y", 0, (1, 4), (-1, 4))]
    graph.inputs, graph.outputs = [0], [2]
    step = schema.OperatorT()
    step.opcodeIndex, step.inputs, step.outputs = 0, [0, 1], [2]
    if operator == ADD:
        step.builtinOptionsType, step.builtinOptions = schema.BuiltinOptions.AddOptions, schema.AddOptionsT()
    graph.operators = [step]
    code = schema.OperatorCodeT()
    code.builtinCode, code.deprecatedBuiltinCode, code.version = operator, min(operator, 127), 1
    code.customCode = custom or None
    constant = schema.BufferT()
    constant.data = np.frombuffer(np.array([2.0], np.float32).tobytes(), np.uint8)
    model = schema.ModelT()
    model.version, model.description = version, "tiny"
    model.operatorCodes, model.subgraphs, model.buffers = [code], [graph], [schema.BufferT(), constant]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _tensor(name: str, buffer: int, shape: tuple[int, ...], signature: tuple[int, ...] = ()) -> schema.TensorT:
    tensor = schema.TensorT()
    tensor.name, tensor.buffer, tensor.shape, tensor.type = name, buffer, list(shape), schema.TensorType.FLOAT32
    if signature:
        tensor.shapeSignature = list(signature)
    return tensor
