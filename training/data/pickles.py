"""Pickles that others publish, read without running anything that is in them.

A pickle is a program.  Here it can build lists, tuples, dictionaries, strings and numbers, and, where asked for,
numeric NumPy arrays; whatever else it names is refused by name.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from henasy_stream.errors import UserError

_BROKEN = (
    pickle.UnpicklingError, EOFError, ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError,
    MemoryError, RecursionError, NotImplementedError, ImportError,
)  # fmt: skip


class _RefusedError(Exception):
    pass


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        raise _RefusedError(f"{module}.{name}")


_ARRAY_TYPE = object()
"""Stands for the array type in a pickle: it can be named there, but not called."""


def _empty_array(kind: object, shape: object, code: object) -> npt.NDArray[Any]:
    """What NumPy starts an array with before its state fills it; any other use is refused."""
    if kind is not _ARRAY_TYPE or shape != (0,):
        raise _RefusedError("numpy._reconstruct of something other than an array")
    return np.ndarray((0,), np.int8)


def _dtype(code: object, *_: object) -> np.dtype[Any]:
    """Numeric types only: an object array could hold anything."""
    if not isinstance(code, str) or np.dtype(code).kind not in "biuf":
        raise _RefusedError(f"numpy.dtype({code!r})")
    return np.dtype(code, False, True)  # a copy, whose byte order the pickle then sets


def _scalar(dtype: np.dtype[Any], data: bytes) -> Any:
    return np.frombuffer(data, dtype, 1)[0]


def _from_buffer(buffer: Any, dtype: np.dtype[Any], shape: tuple[int, ...], order: str) -> npt.NDArray[Any]:
    return np.frombuffer(buffer, dtype).reshape(shape, order="F" if order == "F" else "C")


def _latin1(text: str, encoding: str) -> bytes:
    """How Python 3 writes bytes into the pickle protocols of Python 2."""
    if encoding != "latin1":
        raise _RefusedError(f"_codecs.encode to {encoding}")
    return text.encode("latin1")


def _no_bytes() -> bytes:
    """How those protocols write bytes of length 0."""
    return b""


_ARRAY_NAMES: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): _ARRAY_TYPE,
    ("numpy", "dtype"): _dtype,
    ("_codecs", "encode"): _latin1,
    ("__builtin__", "bytes"): _no_bytes,
    **{
        (f"numpy.{core}.{module}", name): function
        for core in ("core", "_core")  # the one of NumPy 1, the other of NumPy 2
        for module, name, function in (
            ("multiarray", "_reconstruct", _empty_array),
            ("multiarray", "scalar", _scalar),
            ("numeric", "_frombuffer", _from_buffer),
        )
    },
}


class _ArrayUnpickler(_PlainUnpickler):
    def find_class(self, module: str, name: str) -> Any:
        allowed = _ARRAY_NAMES.get((module, name))
        return super().find_class(module, name) if allowed is None else allowed


def load_plain(path: Path) -> Any:
    """A pickle of lists, tuples, dictionaries, strings, numbers and nothing else; UserError otherwise."""
    return _load(path, _PlainUnpickler)


def load_arrays(path: Path) -> Any:
    """As `load_plain`, with numeric NumPy arrays and scalars allowed as well."""
    return _load(path, _ArrayUnpickler)


def _load(path: Path, unpickler: Callable[[io.BytesIO], pickle.Unpickler]) -> Any:
    try:
        data = io.BytesIO(path.read_bytes())
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}") from None
    try:
        return unpickler(data).load()
    except _RefusedError as error:
        raise UserError(f"{path}: names {error}, which no annotation file needs; it was not opened") from None
    except _BROKEN as error:
        raise UserError(f"{path}: not a pickle of plain data ({error or type(error).__name__})") from None
