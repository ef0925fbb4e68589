"""Is it safe to open a .pt2 file? `torch.export.load` takes more liberties than its name says.

Measured with torch 2.13: sample inputs and old-style weights that `weights_only=True` refuses are unpickled all the
same, entries marked `use_pickle` and custom objects always are, the shape expressions go through `eval` (sympy), the
target of a node is looked up from `torch` by any dotted path, and names and guards become Python source. So the
archive is read here first, with nothing of it executed, and what plain `torch.export.save` of a model of tensors
never writes is refused.
"""

from __future__ import annotations

import ast
import io
import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from converter.errors import UnrecognisedError, UnsafeError
from converter.sources import pickles

_TARGET = re.compile(
    r"torch\.ops\.(aten|prims|prim|higher_order|torchvision|quantized_decomposed|profiler|_c10d_functional)"
    r"(\.[a-zA-Z][a-zA-Z0-9_]*|\._[a-zA-Z0-9][a-zA-Z0-9_]*|\.__[a-z]+__){1,3}"
    r"|_operator\.[a-z_]+|math\.[a-z0-9_]+|torch\.sym_[a-z]+|torch\._sym_[a-z]+"
)
_NAME = re.compile(r"[A-Za-z0-9_.]*")
_OPERATORS = re.compile(r"__(and|or|xor|lshift|rshift|iand|ior|ixor|ilshift|irshift)__")
# What sympy and torch print for the size of a dimension.
_CALLS = frozenset((
    "Symbol", "Integer", "Float", "Rational", "Add", "Mul", "Pow", "Min", "Max", "Mod", "floor", "ceiling", "Abs",
    "FloorDiv", "CleanDiv", "ModularIndexing", "PythonMod", "CeilDiv", "IntTrueDiv", "FloatTrueDiv", "Where", "Eq",
    "Ne", "Lt", "Le", "Gt", "Ge", "And", "Or", "Not", "TruncToInt", "ToFloat", "RoundToInt", "Identity",
    "LeftShift", "RightShift", "PowByNatural", "FloatPow", "Piecewise",
))  # fmt: skip
_NODES = (
    ast.Expression, ast.Call, ast.Name, ast.Constant, ast.BinOp, ast.UnaryOp, ast.Compare, ast.BoolOp, ast.keyword,
    ast.operator, ast.unaryop, ast.cmpop, ast.boolop, ast.expr_context, ast.Tuple,
)  # fmt: skip
_SAFE_GLOBAL = re.compile(
    r"(collections\.OrderedDict|torch\._utils\._rebuild_(tensor|tensor_v2|parameter)|torch\.(\w+Storage|Size|device|"
    r"float16|float32|float64|bfloat16|u?int8|int16|int32|int64|bool)|torch\.storage\.\w+Storage|"
    r"torch\.nn\.parameter\.Parameter|torch\._tensor\._rebuild_from_type_v2)"
)
# The form before zip: a magic number, the version, the machine, the object, the keys of its storages.
OLD_PICKLES = 5
_MAX_JSON = 512 * 2**20


def require_safe(path: Path) -> None:
    """Raises UnsafeError where opening the archive would run code from it, UnrecognisedError where it is damaged."""
    try:
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                leaf = info.filename.rpartition("/")[2]
                if leaf.startswith(("custom_obj_", "opaque_obj_")):
                    raise _unsafe(path, f"a pickled object ({leaf})")
                if leaf.endswith(".so") or "/aotinductor/" in f"/{info.filename}":
                    raise _unsafe(path, f"compiled code ({leaf})")
                if leaf.endswith((".pt", ".pth", ".pkl")):
                    _check_pickles(path, leaf, archive.read(info))
                elif leaf.endswith(".json") and info.file_size <= _MAX_JSON:
                    _check_json(path, json.loads(archive.read(info)))
    except (zipfile.BadZipFile, OSError, ValueError, RecursionError, NotImplementedError) as exc:
        raise UnrecognisedError(f"{path.name}: a .pt2 archive that is damaged ({exc}); save it again") from exc


def _unsafe(path: Path, what: str) -> UnsafeError:
    return UnsafeError(
        f"{path.name} holds {what}, which torch.export.load would run; --trust-pickle opens it all the same "
        "(torch.export.save of a model of plain tensors writes nothing of the kind)"
    )


def _check_pickles(path: Path, leaf: str, data: bytes) -> None:
    if not data:
        return
    strange = [g for g in globals_of(data, f"{path.name}, {leaf}") if not is_plain(g)]
    if strange:
        raise _unsafe(path, f"a pickle ({leaf}) that imports {', '.join(strange[:6])}")


def globals_of(data: bytes, name: str) -> tuple[str, ...]:
    """What the pickles in a file of `torch.save` would import: zip archives and the older, bare form."""
    if not data.startswith(b"PK"):
        return pickles.globals_in(data, name, count=OLD_PICKLES)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        inner = [n for n in archive.namelist() if n.endswith(".pkl")]
        names = [g for n in inner for g in pickles.globals_in(archive.read(n), f"{name}, {n}")]
    return tuple(dict.fromkeys(names))


def is_plain(name: str) -> bool:
    """True for what the pickle of plain tensors imports."""
    return _SAFE_GLOBAL.fullmatch(name) is not None


def _check_json(path: Path, content: Any) -> None:
    for key, value in _leaves(content):
        if key == "use_pickle" and value:
            raise _unsafe(path, "pickled weights")
        if not isinstance(value, str):
            continue
        if key == "expr_str" and not is_size(value):
            raise _unsafe(path, f"an expression that is no size ({value[:60]!r})")
        if key == "guards_code" and not is_guard(value):
            raise _unsafe(path, f"a guard that is no comparison of sizes ({value[:60]!r})")
        if key == "target" and value.startswith(("torch", "_operator", "math")) and not _is_operator(value):
            raise _unsafe(path, f"a call of {value[:60]}, which is no operator of tensors")
        if key in ("name", "as_name", "forward_arg_names") and not _NAME.fullmatch(value):
            raise _unsafe(path, f"a name that is none ({value[:60]!r})")
        if key in ("in_spec", "out_spec") and not _is_structure(value):
            raise _unsafe(path, f"a structure with odd names ({value[:60]!r})")


def _is_operator(target: str) -> bool:
    if not _TARGET.fullmatch(target):
        return False
    return all(_OPERATORS.fullmatch(p) for p in target.split(".") if p.startswith("__"))


def _is_structure(text: str) -> bool:
    """True for a tree of containers in JSON (in which there is JSON again) whose every text is a plain name."""
    if _NAME.fullmatch(text):
        return True
    try:
        content = json.loads(text)
    except ValueError:
        return False
    if isinstance(content, str):
        return _NAME.fullmatch(content) is not None
    return all(_is_structure(v) for _, v in _leaves(content) if isinstance(v, str))


def _leaves(content: Any) -> Iterator[tuple[str, Any]]:
    """Every value in nested JSON that is no container, with the key it stands under, also in a list."""
    stack = [("", content)]
    while stack:
        key, value = stack.pop()
        if isinstance(value, list):
            stack.extend((key, inner) for inner in value)
        elif isinstance(value, dict):
            stack.extend(value.items())
        else:
            yield key, value


def is_guard(text: str) -> bool:
    """True for a comparison of sizes, such as `L['tokens'].size()[1] <= 16`."""

    def size_of_input(node: ast.AST) -> bool:
        """An input by its keys: L['tokens']['ids']."""
        while isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant):
            if not (isinstance(node.slice.value, int) or _NAME.fullmatch(str(node.slice.value))):
                return False
            node = node.value
        return isinstance(node, ast.Name) and node.id == "L"

    class Sizes(ast.NodeTransformer):
        """`L[...].size()[1]`, which names no code, becomes a symbol: what is left has to be arithmetic."""

        def visit_Subscript(self, node: ast.Subscript) -> ast.AST:
            call = node.value
            plain = isinstance(call, ast.Call) and not call.args and not call.keywords
            attribute = call.func if isinstance(call, ast.Call) else None
            if (
                plain
                and isinstance(attribute, ast.Attribute)
                and attribute.attr in ("size", "stride")
                and size_of_input(attribute.value)
                and isinstance(node.slice, ast.Constant)
                and isinstance(node.slice.value, int)
            ):
                return ast.copy_location(ast.Name("size", ast.Load()), node)
            return node

    try:
        tree = Sizes().visit(ast.parse(text.strip(), mode="eval"))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return _is_arithmetic(tree)


def is_size(text: str) -> bool:
    """True for arithmetic on symbols and numbers: nothing that evaluating could make a call of anything else."""
    try:
        tree = ast.parse(text.strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return _is_arithmetic(tree)


def _is_arithmetic(tree: ast.AST) -> bool:
    for node in ast.walk(tree):
        if not isinstance(node, _NODES):
            return False
        if isinstance(node, ast.Call) and not (isinstance(node.func, ast.Name) and node.func.id in _CALLS):
            return False
        if isinstance(node, ast.Name) and node.id.startswith("__"):
            return False
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and not node.value.isidentifier():
            return False
    return True
