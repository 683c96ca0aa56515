"""Graph and Value: write a graph of ONNX operators as if it were tensor code.

    graph = Graph("doubled")
    x = graph.input("x", "float32", ["batch", 4])
    data = graph.finish({"y": (2.0 * x, "float32", ["batch", 4])}, {})

Numbers and tensors become constants of the graph.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from seqae.extras import extra
from seqae.version import __version__

# Reductions take their axes as an input from here on; onnxruntime reads it since 1.14 (2023).
OPSET = 18
IR_VERSION = 8  # of the same release of ONNX, 1.13


@dataclass(frozen=True)
class Value:
    """The result of a node, with the arithmetic of tensors."""

    graph: Graph
    name: str

    def __add__(self, other: Any) -> Value:
        return self.graph.call("Add", self, other)

    def __radd__(self, other: Any) -> Value:
        return self.graph.call("Add", other, self)

    def __sub__(self, other: Any) -> Value:
        return self.graph.call("Sub", self, other)

    def __rsub__(self, other: Any) -> Value:
        return self.graph.call("Sub", other, self)

    def __mul__(self, other: Any) -> Value:
        return self.graph.call("Mul", self, other)

    def __rmul__(self, other: Any) -> Value:
        return self.graph.call("Mul", other, self)

    def __truediv__(self, other: Any) -> Value:
        return self.graph.call("Div", self, other)

    def __mod__(self, other: Any) -> Value:
        return self.graph.call("Mod", self, other)

    def __matmul__(self, other: Any) -> Value:
        return self.graph.call("MatMul", self, other)

    def __neg__(self) -> Value:
        return self.graph.call("Neg", self)

    def cast(self, dtype: str) -> Value:
        """Convert to a type, by its name in NumPy."""
        return self.graph.call("Cast", self, to=_element_type(dtype))

    def reshape(self, *shape: int) -> Value:
        """Reshape; 0 keeps a size and -1 takes what is left."""
        return self.graph.call("Reshape", self, list(shape))

    def permute(self, *order: int) -> Value:
        """Put the axes into another order."""
        return self.graph.call("Transpose", self, perm=list(order))

    def unsqueeze(self, *axes: int) -> Value:
        """Insert axes of size 1."""
        return self.graph.call("Unsqueeze", self, list(axes))

    def squeeze(self, *axes: int) -> Value:
        """Drop axes of size 1."""
        return self.graph.call("Squeeze", self, list(axes))

    def sum(self, *axes: int, keepdim: bool = False) -> Value:
        """Sum over axes."""
        return self.graph.call("ReduceSum", self, list(axes), keepdims=int(keepdim))

    def mean(self, *axes: int, keepdim: bool = False) -> Value:
        """Average over axes."""
        return self.graph.call("ReduceMean", self, list(axes), keepdims=int(keepdim))

    def max(self, *axes: int) -> Value:
        """Take the maximum over axes, or over all without one."""
        return self.graph.call("ReduceMax", self, list(axes) if axes else None, keepdims=0)

    def part(self, axis: int, start: int | Value, end: int | Value) -> Value:
        """Take the slice from `start` to `end` of an axis."""
        bounds = (_as_list(self.graph, bound) for bound in (start, end))
        return self.graph.call("Slice", self, *bounds, [axis])

    def split(self, count: int, axis: int = -1) -> list[Value]:
        """Cut into equal parts."""
        return self.graph.call_many("Split", count, self, None, axis=axis, num_outputs=count)

    def size(self, axis: int) -> Value:
        """Return the size of an axis, a scalar int64."""
        return self.graph.call("Gather", self.graph.call("Shape", self), axis)


class Graph:
    """A graph under construction.

    Args:
        name: of the graph.
    """

    def __init__(self, name: str) -> None:
        with extra("onnx"):
            from onnx import helper

        self._helper = helper
        self.name = name
        self._inputs: list[Any] = []
        self._nodes: list[Any] = []
        self._constants: dict[bytes, tuple[str, NDArray[Any]]] = {}

    def input(self, name: str, dtype: str, shape: Sequence[int | str]) -> Value:
        """Declare an input.

        Args:
            name: of the input.
            dtype: its type, by its name in NumPy.
            shape: its sizes; a name for one that varies.
        """
        info = self._helper.make_tensor_value_info(name, _element_type(dtype), list(shape))
        self._inputs.append(info)
        return Value(self, name)

    def constant(self, value: Any) -> Value:
        """Store a constant, once even if it is asked for again.

        Args:
            value: a tensor of any float type, which becomes float32, or of int64 or bool; a number;
                or a list of whole numbers.
        """
        array = _to_array(value)
        head = f"{array.dtype}{array.shape}".encode()
        key = hashlib.sha256(head + array.tobytes()).digest()
        if key not in self._constants:
            self._constants[key] = f"constant_{len(self._constants)}", array
        return Value(self, self._constants[key][0])

    def call(self, operator: str, *operands: Any, **attributes: Any) -> Value:
        """Add a node with one result; `call_many` describes the arguments."""
        return self.call_many(operator, 1, *operands, **attributes)[0]

    def call_many(
        self, operator: str, outputs: int, *operands: Any, **attributes: Any
    ) -> list[Value]:
        """Add a node.

        Args:
            operator: its name in ONNX.
            outputs: how many results it has.
            operands: values, or what `constant` takes; None leaves out an optional one.
            attributes: of the operator.
        """
        names = ["" if operand is None else self._name(operand) for operand in operands]
        while names and not names[-1]:
            names.pop()
        own = [f"{operator}_{len(self._nodes)}"]
        own += [f"{own[0]}_{index}" for index in range(1, outputs)]
        self._nodes.append(self._helper.make_node(operator, names, own, own[0], **attributes))
        return [Value(self, name) for name in own]

    def cat(self, values: Sequence[Any], axis: int) -> Value:
        """Join values along an axis."""
        return self.call("Concat", *values, axis=axis)

    def range(self, start: int | Value, end: int | Value) -> Value:
        """Count from `start` up to before `end`, int64."""
        return self.call("Range", start, end, 1)

    def finish(
        self,
        outputs: Mapping[str, tuple[Value, str, Sequence[int | str]]],
        metadata: Mapping[str, str],
    ) -> bytes:
        """Check the graph and serialise it.

        Args:
            outputs: the value, the type and the shape of each output, by name.
            metadata: text by key.

        Raises:
            ValueError: if it is too large for a file of its own.
        """
        with extra("onnx"):
            from onnx import checker, numpy_helper

        helper = self._helper
        nodes = list(self._nodes)
        infos = []
        for name, (value, dtype, shape) in outputs.items():
            nodes.append(helper.make_node("Identity", [value.name], [name], f"output_{name}"))
            infos.append(helper.make_tensor_value_info(name, _element_type(dtype), list(shape)))
        needed = set(outputs)
        kept = []
        for node in reversed(nodes):  # what no output depends on is left out
            if needed.intersection(node.output):
                needed.update(node.input)
                kept.append(node)
        constants = [
            numpy_helper.from_array(array, name)
            for name, array in self._constants.values()
            if name in needed
        ]
        num_bytes = sum(len(constant.raw_data) for constant in constants)
        if num_bytes > MAX_BYTES:
            raise ValueError(
                f"`model` must have at most {MAX_BYTES / 2**30:.1f} GiB of weights in its "
                f"{self.name} for a file of ONNX, but it has {num_bytes / 2**30:.1f} GiB instead. "
                f"Share the bundle itself: `seqae push`."
            )
        inputs = self._inputs  # also those that this model does not read: the same for every model
        graph = helper.make_graph(kept[::-1], self.name, inputs, infos, constants)
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
            producer_name="seqae",
            producer_version=__version__,
        )
        helper.set_model_props(model, dict(metadata))
        checker.check_model(model, full_check=True)
        return cast("bytes", model.SerializeToString(deterministic=True))

    def _name(self, operand: Any) -> str:
        return operand.name if isinstance(operand, Value) else self.constant(operand).name


MAX_BYTES = 2**31 - 2**24  # of a message of protobuf, less what is not weights

Writer = TypeVar("Writer")


def writer_of(writers: Mapping[Any, Writer], part: object, key: str) -> Writer:
    """Choose what writes a part of a model.

    Args:
        writers: by the class of the part, of which a subclass may compute something else.
        part: to write.
        key: what kind of part it is, for the message.

    Raises:
        ValueError: if nothing writes it.
    """
    if type(part) not in writers:
        known = ", ".join(cls.__name__ for cls in writers)
        raise ValueError(
            f"`{key}` must be one of {known} to be written as ONNX, but it is "
            f"{type(part).__name__} instead. Share the bundle itself: `seqae push`."
        )
    return writers[type(part)]


def _as_list(graph: Graph, bound: int | Value) -> Any:
    return bound.reshape(1) if isinstance(bound, Value) else [bound]


def _to_array(value: Any) -> NDArray[Any]:
    if isinstance(value, Tensor):
        value = value.detach().cpu()
        value = (value.float() if value.is_floating_point() else value).numpy()
    array = np.asarray(value)
    if array.dtype == np.float64:
        array = array.astype(np.float32)
    if isinstance(value, list) and not value:
        array = array.astype(np.int64)
    return np.ascontiguousarray(array) if array.ndim else array


def _element_type(dtype: str) -> int:
    with extra("onnx"):
        from onnx import helper

    found: int = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    return found
