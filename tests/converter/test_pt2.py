"""A .pt2 archive is judged before PyTorch opens it; no PyTorch is needed for that."""

from __future__ import annotations

import json
import pickle
import zipfile
from pathlib import Path
from typing import Any

import pytest

from converter.errors import UnrecognisedError, UnsafeError
from converter.exporters.torch import pt2


class Payload:
    """Its pickle writes a file when it is opened."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return exec, (f"open({str(self.mark)!r}, 'w')",)


def archive(path: Path, *, model: Any = None, **entries: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("m/archive_format", "pt2")
        file.writestr("m/models/model.json", json.dumps(model or {}))
        for name, data in entries.items():
            file.writestr(f"m/{name.replace('__', '/').replace('_dot_', '.')}", data)
    return path


def node(target: str) -> dict[str, Any]:
    return {"graph_module": {"graph": {"nodes": [{"target": target, "inputs": []}]}}}


@pytest.mark.parametrize(
    "target",
    ["torch.ops.aten.linear.default", "torch.ops.aten.__and__.Tensor", "torch.ops.aten._softmax.default",
     "_operator.add", "torch.sym_max", "math.floor", "torch.ops.higher_order.cond"],
)  # fmt: skip
def test_operators_of_tensors_are_let_through(target: str, tmp_path: Path) -> None:
    pt2.require_safe(archive(tmp_path / "m.pt2", model=node(target)))


@pytest.mark.parametrize(
    "target",
    ["torch.serialization.os.system", "torch.hub.load", "torch.ops.load_library", "torch.ops.aten.__class__",
     "_operator.attrgetter.__call__", "torch.load", "math.__loader__.load_module"],
)  # fmt: skip
def test_a_call_of_anything_else_is_refused(target: str, tmp_path: Path) -> None:
    with pytest.raises(UnsafeError, match="no operator of tensors"):
        pt2.require_safe(archive(tmp_path / "m.pt2", model=node(target)))


@pytest.mark.parametrize("text", ["Symbol('s77', integer=True)", "s77*4 + 1", "Max(1, FloorDiv(s0, 2))", "4"])
def test_sizes_are_let_through(text: str, tmp_path: Path) -> None:
    pt2.require_safe(archive(tmp_path / "m.pt2", model={"sizes": [{"as_expr": {"expr_str": text}}]}))


@pytest.mark.parametrize(
    "text",
    ["__import__('os').system('true')", "open('x', 'w')", "(lambda: 1)()", "s0.__class__", "Symbol('a b', eval('1'))",
     "[x for x in (1,)]"],
)  # fmt: skip
def test_an_expression_that_could_call_is_refused(text: str, tmp_path: Path) -> None:
    with pytest.raises(UnsafeError, match="no size"):
        pt2.require_safe(archive(tmp_path / "m.pt2", model={"sizes": [{"as_expr": {"expr_str": text}}]}))


def test_a_pickle_inside_is_listed_and_not_run(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    path = archive(tmp_path / "m.pt2", data__sample_inputs__model_dot_pt=pickle.dumps(Payload(mark)) * 5)

    with pytest.raises(UnsafeError, match=r"imports builtins\.exec"):
        pt2.require_safe(path)
    assert not mark.exists()


@pytest.mark.parametrize("name", ["data__constants__custom_obj_0", "data__constants__opaque_obj_0"])
def test_pickled_objects_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(UnsafeError, match="pickled object"):
        pt2.require_safe(archive(tmp_path / "m.pt2", **{name: b"x"}))


def test_weights_marked_as_pickled_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsafeError, match="pickled weights"):
        pt2.require_safe(archive(tmp_path / "m.pt2", model={"config": {"w": {"use_pickle": True}}}))


def test_guards_of_sizes_and_structures_are_let_through(tmp_path: Path) -> None:
    spec = '[1, {"type": "builtins.dict", "context": "[\\"ids\\"]", "children_spec": [{"type": null}]}]'
    guards = ["L['tokens'].size()[1] <= 16", "Max(1, L['a']['b'].size()[0]) == 4*L['c'].stride()[0]"]

    pt2.require_safe(archive(tmp_path / "m.pt2", model={"guards_code": guards, "in_spec": spec}))


@pytest.mark.parametrize(
    "model",
    [
        {"guards_code": ["open('x', 'w')"]},
        {"guards_code": ["L['x'].size().__class__ == 1"]},
        {"guards_code": ["L['x\") or 1'].size()[0] == 1"]},
        {"inputs": [{"as_tensor": {"name": "x=open('x', 'w')"}}]},
        {"forward_arg_names": ["x) or open('x', 'w'"]},
        {"in_spec": '[1, {"type": "builtins.dict", "context": "[\\"a\') or 1\\"]"}]'},
    ],
)
def test_what_would_become_source_is_refused(model: Any, tmp_path: Path) -> None:
    with pytest.raises(UnsafeError, match="trust-pickle"):
        pt2.require_safe(archive(tmp_path / "m.pt2", model=model))


def test_a_truncated_archive_is_told(tmp_path: Path) -> None:
    path = archive(tmp_path / "m.pt2", model=node("_operator.add"))
    path.write_bytes(path.read_bytes()[:-30])

    with pytest.raises(UnrecognisedError, match="damaged"):
        pt2.require_safe(path)
