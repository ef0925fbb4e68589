"""Tiny .tflite files, made by LiteRT's own schema: y = x + 2, or one custom operator."""

from __future__ import annotations

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

ADD = schema.BuiltinOperator.ADD
CUSTOM = schema.BuiltinOperator.CUSTOM


def build(
    operator: int = ADD,
    *,
    custom: str = "",
    listed: str = "",
    version: int = 3,
    shape: tuple[int, ...] = (1, 4),
    constant: float | tuple[float, ...] = 2.0,
) -> bytes:
    """One operator on x, batch free, and a constant; `listed` is the name of one more in the file's list. `version` is
    that of the schema."""
    graph, numbers = schema.SubGraphT(), np.atleast_1d(np.asarray(constant, np.float32))
    free = (-1, *shape[1:])
    graph.tensors = [_tensor("x", 0, shape, free), _tensor("c", 1, numbers.shape), _tensor("y", 0, shape, free)]
    graph.inputs, graph.outputs = [0], [2]
    step = schema.OperatorT()
    step.opcodeIndex, step.inputs, step.outputs = 0, [0, 1], [2]
    if operator == ADD:
        step.builtinOptionsType, step.builtinOptions = schema.BuiltinOptions.AddOptions, schema.AddOptionsT()
    graph.operators = [step]
    code = _code(operator)
    code.customCode = custom or None
    codes = [code, *([_code(getattr(schema.BuiltinOperator, listed))] if listed else [])]
    held = schema.BufferT()
    held.data = np.frombuffer(numbers.tobytes(), np.uint8)
    model = schema.ModelT()
    model.version, model.description = version, "tiny"
    model.operatorCodes, model.subgraphs, model.buffers = codes, [graph], [schema.BufferT(), held]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _code(operator: int) -> schema.OperatorCodeT:
    code = schema.OperatorCodeT()
    code.builtinCode, code.deprecatedBuiltinCode, code.version = operator, min(operator, 127), 1
    return code


def _tensor(name: str, buffer: int, shape: tuple[int, ...], signature: tuple[int, ...] = ()) -> schema.TensorT:
    tensor = schema.TensorT()
    tensor.name, tensor.buffer, tensor.shape, tensor.type = name, buffer, list(shape), schema.TensorType.FLOAT32
    if signature:
        tensor.shapeSignature = list(signature)
    return tensor


def running_sum() -> bytes:
    """x [1, 1] in, the sum of all x so far out: it is held in a variable of the model's own."""
    names = ("CALL_ONCE", "VAR_HANDLE", "READ_VARIABLE", "ADD", "ASSIGN_VARIABLE")
    codes = [_code(getattr(schema.BuiltinOperator, name)) for name in names]
    once, handle, add = schema.CallOnceOptionsT(), schema.VarHandleOptionsT(), schema.AddOptionsT()
    once.initSubgraphIndex, handle.container, handle.sharedName = 1, "", "sum"

    def step(name: str, inputs: list[int], outputs: list[int], options: object = None) -> schema.OperatorT:
        made = schema.OperatorT()
        made.opcodeIndex, made.inputs, made.outputs = names.index(name), inputs, outputs
        if options is not None:
            made.builtinOptions = options
            made.builtinOptionsType = getattr(schema.BuiltinOptions, type(options).__name__.removesuffix("T"))
        return made

    variable = _tensor("v", 0, ())
    variable.type = schema.TensorType.RESOURCE
    main, first = schema.SubGraphT(), schema.SubGraphT()
    main.tensors = [_tensor("x", 0, (1, 1)), variable, _tensor("held", 0, (1, 1)), _tensor("y", 0, (1, 1))]
    main.inputs, main.outputs = [0], [3]
    main.operators = [
        step("CALL_ONCE", [], [], once), step("VAR_HANDLE", [], [1], handle), step("READ_VARIABLE", [1], [2]),
        step("ADD", [0, 2], [3], add), step("ASSIGN_VARIABLE", [1, 3], []),
    ]  # fmt: skip
    first.tensors, first.inputs, first.outputs = [variable, _tensor("zero", 1, (1, 1))], [], []
    first.operators = [step("VAR_HANDLE", [], [0], handle), step("ASSIGN_VARIABLE", [0, 1], [])]
    zero = schema.BufferT()
    zero.data = np.zeros(4, np.uint8)
    model = schema.ModelT()
    model.version, model.operatorCodes, model.subgraphs = 3, codes, [main, first]
    model.buffers = [schema.BufferT(), zero]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def signed(inputs: dict[str, str], outputs: dict[str, str]) -> bytes:
    """Two inputs of one value, of which y is the sum; tensors by name, with what the signature calls them."""
    graph = schema.SubGraphT()
    graph.tensors = [_tensor(name, 0, (1, 1)) for name in (*inputs, *outputs)]
    graph.inputs, graph.outputs = [0, 1], [2]
    step = schema.OperatorT()
    step.opcodeIndex, step.inputs, step.outputs = 0, [0, 1], [2]
    step.builtinOptionsType, step.builtinOptions = schema.BuiltinOptions.AddOptions, schema.AddOptionsT()
    graph.operators = [step]
    signature = schema.SignatureDefT()
    signature.signatureKey, signature.subgraphIndex = "serving_default", 0
    signature.inputs = [_named(key, i) for i, key in enumerate(inputs.values())]
    signature.outputs = [_named(key, 2 + i) for i, key in enumerate(outputs.values())]
    return _finished(graph, [ADD], signature)


def quantising_first(scale: float, zero_point: int, side: int = 32) -> bytes:
    """A picture in float32 that the first operator turns into int8, and the second back into float32."""
    shape = (1, side, side, 3)
    graph = schema.SubGraphT()
    graph.tensors = [_tensor("x", 0, shape), _tensor("q", 0, shape), _tensor("y", 0, shape)]
    quantization = schema.QuantizationParametersT()
    quantization.scale, quantization.zeroPoint = [scale], [zero_point]
    graph.tensors[1].type, graph.tensors[1].quantization = schema.TensorType.INT8, quantization
    graph.inputs, graph.outputs = [0], [2]
    graph.operators = []
    for code, (given, made) in enumerate(((0, 1), (1, 2))):
        step = schema.OperatorT()
        step.opcodeIndex, step.inputs, step.outputs = code, [given], [made]
        graph.operators.append(step)
    return _finished(graph, [schema.BuiltinOperator.QUANTIZE, schema.BuiltinOperator.DEQUANTIZE])


def _named(key: str, tensor: int) -> schema.TensorMapT:
    found = schema.TensorMapT()
    found.name, found.tensorIndex = key, tensor
    return found


def _finished(graph: schema.SubGraphT, operators: list[int], signature: schema.SignatureDefT | None = None) -> bytes:
    model = schema.ModelT()
    model.version, model.description = 3, "tiny"
    model.operatorCodes = []
    for operator in operators:
        code = schema.OperatorCodeT()
        code.builtinCode, code.deprecatedBuiltinCode, code.version = operator, min(operator, 127), 1
        model.operatorCodes.append(code)
    model.subgraphs, model.buffers = [graph], [schema.BufferT()]
    model.signatureDefs = [signature] if signature is not None else None
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())
