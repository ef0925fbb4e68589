"""Rows of a table: one tensor of all features, or one tensor a column.

A row is a JSON object (feature name to value), a JSON array or a numpy vector in the model's order. A model
whose features have no names takes an object too: its input's name to the array.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from edge.data.array_rows import ArrayRows
from edge.data.numbers import said, shown
from edge.data.sample import EncodedImage, Image, ModelInput, Payload, Sample, Sound, is_object
from edge.data.tensor import EXACT, STRING, Array, Tensors, TensorSpec, numpy_dtype, to_integers
from edge.errors import ModelError, SampleError
from edge.model import scaling, table_columns
from edge.model.manifest import Feature, Manifest
from edge.plugins.columns import Table
from edge.plugins.rows import RowRules
from edge.preprocess import PreprocessorInfo

_WITH_COMMA = re.compile(r"[+-]?[\d.]*,[\d.,]*")
_SINGLE = frozenset({float, int, bool, str, type(None)})
RESERVED = "id"
"""The key of an object that is echoed as `input_id`, unless a feature has that name."""


class TablePreprocessor:
    """Checks every value of a row; what it lets through, the model can take."""

    by_row = True

    def __init__(
        self,
        features: Sequence[Feature],
        specs: Sequence[TensorSpec],
        *,
        columns: bool,
        scales: tuple[Array, Array] | None = None,
    ) -> None:
        """`scales`: what is taken off each value, and what it is divided by then."""
        self._features = tuple(features)
        self._names = tuple(f.name for f in features)
        self._named = all(self._names)
        self._index = {name: i for i, name in enumerate(self._names)}
        self._specs = tuple(specs)
        self._columns = columns
        self._pick = operator.itemgetter(*self._names) if self._named and len(self._names) > 1 else None
        self._numeric = not columns and specs[0].dtype != STRING and all(f.kind == "number" for f in features)
        self._scales = scales
        self._dtype = numpy_dtype(specs[0].dtype)
        flat = specs[0].shape is not None and len(specs[0].shape) == 1
        self._shape = (len(features),) if flat else (1, len(features))
        """Of the tensor of a row, where there is but one."""
        self.rules = RowRules()

    def split(self, payload: Payload) -> Sequence[Payload]:
        if isinstance(payload, list):
            if not payload:
                raise SampleError(f"an empty array; the model takes {self._wanted()}")
            if _SINGLE.issuperset(map(type, payload)):
                return [payload]
            return payload if any(isinstance(row, (list, dict)) for row in payload) else [payload]
        if is_object(payload):
            inner = self._unnamed(payload)
            return [payload] if inner is None else [inner]
        if isinstance(payload, (EncodedImage, Image)):
            raise SampleError(f"a picture, but the model takes {self._wanted()}")
        if isinstance(payload, Sound):
            raise SampleError(
                f"sound, but the model takes {self._wanted()}; --frontend and --window say how it is made of sound"
            )
        if isinstance(payload, np.ndarray):
            return self._split_array(payload)
        return [[payload]]

    def __call__(self, sample: Sample) -> ModelInput:
        row = sample.payload
        values = self._by_name(row) if is_object(row) else self._in_order(row)
        if self._columns:
            return ModelInput(
                {
                    s.name: self._cell(v, f, s).reshape(s.fixed())
                    for v, f, s in zip(values, self._features, self._specs, strict=True)
                }
            )
        spec = self._specs[0]
        vector = self._fast(values) if self._numeric else None
        if vector is None:
            vector = np.concatenate([self._cell(v, f, spec) for v, f in zip(values, self._features, strict=True)])
        return ModelInput({spec.name: self._scaled(vector).reshape(self._shape)})

    def many(self, rows: Sequence[Payload]) -> list[ModelInput] | None:
        """Rows of nothing but finite numbers, converted in one go; None where one may be anything else."""
        spec = self._specs[0]
        if not self._numeric or spec.shape is None or len(spec.shape) != 2:
            return None
        table = [self._plain(row) for row in rows]
        if not all(len(row) == len(self._features) for row in table):
            return None
        block = self._fast(table, ndim=2)
        if block is None:
            return None
        block = self._scaled(block)
        return [ModelInput({spec.name: block[i : i + 1]}) for i in range(len(block))]

    def from_columns(self, columns: Table) -> tuple[Tensors, Array] | None:
        """Numbers all at once, texts a column at a time; None where a tensor has no free place for the rows."""
        if any(not s.free_batch or not (self._columns or len(s.shape or ()) == 2) for s in self._specs):
            return None
        kinds = {c.dtype.kind for c in columns}
        if not kinds.issubset("fiubO"):
            return None
        if self._numeric:
            return None if "O" in kinds and self._dtype.kind == "f" else self._matrix(columns)
        taken = np.ones(len(columns[0]), dtype=bool)
        cells: list[Array] = []
        for column, feature, i in zip(columns, self._features, range(len(columns)), strict=True):
            spec = self._specs[i if self._columns else 0]
            values, ok = (
                table_columns.texts(column, feature)
                if spec.dtype == STRING
                else table_columns.numbers(column, feature, spec)
            )
            cells.append(values)
            taken &= ok
        if self._columns:
            count = int(taken.sum())
            pairs = zip(self._specs, cells, strict=True)
            return {s.name: c[taken].reshape(s.fixed(free=count)) for s, c in pairs}, taken
        return {self._specs[0].name: self._scaled(np.stack([c[taken] for c in cells], axis=1))}, taken

    def _matrix(self, columns: Table) -> tuple[Tensors, Array] | None:
        spec = self._specs[0]
        dtype = numpy_dtype(spec.dtype)
        if dtype.kind != "f":
            pairs = [table_columns.numbers(c, f, spec) for c, f in zip(columns, self._features, strict=True)]
            taken = np.logical_and.reduce([ok for _, ok in pairs])
            return {spec.name: self._scaled(np.stack([values[taken] for values, _ in pairs], axis=1))}, taken
        block = table_columns.block(columns, dtype)
        with np.errstate(over="ignore"):
            narrow = block.astype(dtype, copy=False)
        fine = np.isfinite(narrow)
        if fine.all():
            return {spec.name: self._scaled(narrow)}, np.ones(len(block), dtype=bool)
        fine |= np.isnan(block) & np.array([f.missing for f in self._features])
        taken = fine.all(axis=1)
        return {spec.name: self._scaled(narrow[taken])}, taken

    def _scaled(self, values: Array) -> Array:
        if self._scales is None:
            return values
        mean, std = self._scales
        return np.asarray((values - mean) / std, dtype=values.dtype)

    def _plain(self, row: Payload) -> Sequence[Any] | Array:
        """The values of a row in order; none where it takes more than a look to tell."""
        if type(row) is dict and self._pick is not None:
            extra = len(row) - len(self._names)
            if extra == 0 or (extra == 1 and RESERVED in row and RESERVED not in self._index):
                try:
                    return self._pick(row)  # type: ignore[no-any-return]
                except KeyError:
                    return ()
        return row if isinstance(row, (list, np.ndarray)) else ()

    def _wanted(self) -> str:
        count = len(self._features)
        names = ", ".join(self._names[:6]) + (", ..." if count > 6 else "")
        return f"{count} feature{'s' * (count != 1)}" + (f" ({names})" if self._named else "")

    def _split_array(self, array: Array) -> Sequence[Payload]:
        if array.ndim == 0:
            return [array.reshape(1)]
        if array.ndim == 1:
            return [array]
        if array.ndim == 2:
            if not len(array):
                raise SampleError(f"an array without rows; the model takes {self._wanted()}")
            return ArrayRows(array)
        raise SampleError(f"an array of shape {list(array.shape)}; the model takes rows of {self._wanted()}")

    def _unnamed(self, row: Mapping[str, Any]) -> Any:
        """The array of `{"<input>": [...]}`, which a table without feature names takes."""
        name = self._specs[0].name
        if self._columns or name not in row or name in self._index:
            return None
        return np.ravel(row[name]) if isinstance(row[name], np.ndarray) else row[name]

    def _by_name(self, row: Mapping[str, Any]) -> list[Any]:
        if not self._named:
            raise SampleError(
                f"an object, but the model's features have no names: send an array of {len(self._features)} "
                f'values, or {{"{self._specs[0].name}": [...]}}'
            )
        values: list[Any] = [None] * len(self._names)
        seen = 0
        for key, value in row.items():
            at = self._index.get(key)
            if at is None:
                if key != RESERVED:
                    if not self.rules.ignore_unknown:
                        raise SampleError(self._unknown(key))
                    self.rules.left_out(str(key))
                continue
            values[at] = value
            seen += 1
        if seen < len(self._names):
            self._check_absent(row)
        return values

    def _unknown(self, key: str) -> str:
        import difflib  # for inputs that do not fit

        folded = {name.casefold(): name for name in self._names}
        near = difflib.get_close_matches(str(key).casefold(), folded, n=1)
        meant = f"did you mean {folded[near[0]]!r}? " if near else ""
        if not str(key):
            meant = "a column without a name is an index, or a separator at the end of each line; "
        return f"unknown feature {key!r}; {meant}the model takes {self._wanted()}; --ignore-unknown leaves it out"

    def _check_absent(self, row: Mapping[str, Any]) -> None:
        absent = [f for f in self._features if f.name not in row]
        if not self.rules.absent_missing or len(absent) == len(self._features):
            refused = absent
        else:
            refused = [f for f in absent if not f.missing]
        if not refused:
            return
        more = f" and {len(refused) - 3} more" if len(refused) > 3 else ""
        null = ""
        if any(f.missing for f in refused):
            null = "send null for a value that is missing, or say --absent missing; "
        raise SampleError(
            f"missing feature {', '.join(repr(f.name) for f in refused[:3])}{more}; {null}"
            f"the model takes {self._wanted()}"
        )

    def _in_order(self, row: Any) -> Sequence[Any]:
        values: Any = row
        if isinstance(row, np.ndarray):
            values = row.ravel() if self._numeric or row.dtype.kind == "f" else row.ravel().tolist()
        elif not isinstance(row, list):
            raise SampleError(f"{shown(row)} where a row belongs; the model takes {self._wanted()}")
        if len(values) != len(self._features):
            raise SampleError(f"{len(values)} values; the model takes {self._wanted()}")
        return values  # type: ignore[no-any-return]

    def _fast(self, values: Sequence[Any], ndim: int = 1) -> Array | None:
        """All numbers and all finite: one conversion. None: look at each, for the exact words."""
        try:
            array = np.asarray(values)
        except (ValueError, TypeError, OverflowError):
            return None
        dtype = self._dtype
        if array.dtype.kind not in "fiub" or array.ndim != ndim:
            return None
        if dtype.kind in "iu":
            return to_integers(values, dtype)
        wide = array if array.dtype.kind == "f" else array.astype(np.float64)
        with np.errstate(over="ignore", invalid="ignore"):
            narrow = wide.astype(dtype)
        ok = np.isfinite(narrow).all() if dtype.kind == "f" else np.isfinite(wide).all() and (narrow == wide).all()
        return narrow if ok else None

    def _cell(self, value: Any, feature: Feature, spec: TensorSpec) -> Array:
        name = feature.name or "the value"
        if spec.dtype == STRING:
            return np.array([self._text(value, feature, name)], dtype=object)
        if self.rules.text_numbers and isinstance(value, str):
            value = said(value)
        number = self._number(value, feature, name)
        dtype = numpy_dtype(spec.dtype)
        if dtype.kind in "iu":
            return self._whole(value, name, dtype)
        with np.errstate(over="ignore"):
            cell = np.array([number]).astype(dtype)
        if math.isfinite(number) and not np.isfinite(cell).all():
            raise SampleError(f"feature {name!r} is {shown(value)}, too large for {spec.dtype}")
        return cell

    @staticmethod
    def _whole(value: Any, name: str, dtype: np.dtype[Any]) -> Array:
        cell = to_integers([value], dtype)
        if cell is None:
            rounded = isinstance(value, float) and value.is_integer() and abs(value) >= EXACT
            why = "; beyond 2^53 send it without a point or an exponent" if rounded else ""
            raise SampleError(f"feature {name!r} is {shown(value)}; the model takes a whole number ({dtype}){why}")
        return cell

    @staticmethod
    def _text(value: Any, feature: Feature, name: str) -> str:
        if value is None or (isinstance(value, float) and value != value):
            if feature.missing:
                return ""
            raise SampleError(f"feature {name!r} is missing; the model takes no missing values there")
        if not isinstance(value, str):
            raise SampleError(f"feature {name!r} is {shown(value)}; text belongs there")
        if feature.values and value not in feature.values:
            known = ", ".join(feature.values[:6]) + (", ..." if len(feature.values) > 6 else "")
            raise SampleError(f"feature {name!r} is {shown(value)}, which the model does not know; it knows {known}")
        return value

    @staticmethod
    def _number(value: Any, feature: Feature, name: str) -> float:
        if value is None:
            value = math.nan
        if not isinstance(value, (int, float, np.number, np.bool_)):
            raise SampleError(f"feature {name!r} is {shown(value)}; a number belongs there{_as_text(value)}")
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if number != number and not feature.missing:
            raise SampleError(f"feature {name!r} is missing or NaN; the model takes no missing values there")
        if math.isinf(number):
            raise SampleError(f"feature {name!r} is {shown(value)}; a finite number belongs there")
        return number


def _as_text(value: Any) -> str:
    """The way out where a number came as text."""
    if not isinstance(value, str):
        return ""
    if not isinstance(said(value), str):
        return "; send it without quotes, or say --text-numbers"
    return "; a decimal point, and nothing between thousands" if _WITH_COMMA.fullmatch(value.strip()) else ""


def create(manifest: Manifest, specs: tuple[TensorSpec, ...]) -> TablePreprocessor:
    """For a model with one input of kind "table", or with all inputs of kind "column".

    Raises ModelError where the manifest and the file disagree.
    """
    by_name = {s.name: s for s in specs}
    inputs = [i for i in manifest.inputs if i.kind in ("table", "column")]
    unknown = [i.name for i in inputs if i.name not in by_name]
    if unknown or not inputs:
        raise ModelError(
            f"the manifest names the input {unknown[:1]}, the file has {sorted(by_name)}; re-run edge-convert"
        )
    if inputs[0].kind == "column":
        features = [i.features[0] if i.features else Feature(name=i.name) for i in inputs]
        return TablePreprocessor(features, [by_name[i.name] for i in inputs], columns=True)
    table = inputs[0]
    spec = by_name[table.name]
    if spec.quantization is not None:
        # Rows hold real values; the pipeline turns them into the model's integers.
        spec = msgspec.structs.replace(spec, dtype="float32")
    width = spec.shape[-1] if spec.shape else None
    features = list(table.features)
    if not features and isinstance(width, int):
        features = [Feature(name="") for _ in range(width)]
    if isinstance(width, int) and len(features) != width:
        raise ModelError(
            f"the manifest names {len(features)} features, the input {spec.name!r} takes {width}; re-run edge-convert"
        )
    if not features:
        raise ModelError(
            f"how many features the input {spec.name!r} takes is not said; re-run edge-convert with --sample"
        )
    scales = bool(table.mean or table.std)
    if scales and not spec.dtype.startswith("float"):
        raise ModelError(f"input {spec.name!r} takes {spec.dtype}, which cannot be scaled: leave mean and std out")
    scaled = scaling.of(table, len(features)) if scales else None
    return TablePreprocessor(features, [spec], columns=False, scales=scaled)


PREPROCESSOR = PreprocessorInfo(edge_api=1, create=create, takes=("rows", "readings"))
