"""What TensorRT 10 takes, by the public table of its ONNX parser (onnx-tensorrt, docs/operators.md of 10.1-GA).

The parser that `make proof` runs is a newer one.  JetPack 6 has TensorRT 10.3, which was not run here: so the graphs
keep to operators that 10.1 has, in the versions that it knows.
"""

from __future__ import annotations

from collections.abc import Iterable

LATEST_OPSET = 20
LATEST_IR = 10
"""Of the ONNX 1.16 that TensorRT 10.3 is built with."""

_ARITHMETIC = ("Add", "Cast", "Clip", "Div", "Exp", "Log", "Max", "Min", "Mul", "Neg", "Pow", "Sqrt", "Sub")
_LOGIC = ("Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Not", "Where")
_SHAPES = (
    "Concat",
    "Expand",
    "Flatten",
    "Pad",
    "Reshape",
    "Shape",
    "Slice",
    "Split",
    "Squeeze",
    "Transpose",
    "Unsqueeze",
)
_PICKING = ("ArgMax", "Constant", "Gather", "GatherElements", "GatherND", "Identity", "Range", "Trilu")
_SUMS = ("Conv", "Einsum", "Gemm", "MatMul", "ReduceL2", "ReduceMax", "ReduceMean", "ReduceSum", "Resize")
_LAYERS = ("Gelu", "InstanceNormalization", "LayerNormalization", "Relu", "Sigmoid", "Softmax", "Tanh")
OPERATORS = frozenset((*_ARITHMETIC, *_LOGIC, *_SHAPES, *_PICKING, *_SUMS, *_LAYERS))
"""Those of the table that our graphs use, and their plain kin; scatters and quantisation are left out on purpose."""


def refused(operators: Iterable[str], opset: int, ir: int) -> list[str]:
    """What TensorRT 10 would not take; empty when it takes all."""
    found = [f"operator {name}" for name in sorted(set(operators) - OPERATORS)]
    found += [f"opset {opset}, it knows {LATEST_OPSET}"] if opset > LATEST_OPSET else []
    return found + ([f"IR version {ir}, it knows {LATEST_IR}"] if ir > LATEST_IR else [])
