from __future__ import annotations

import collections
import os
import pickle

import numpy as np
import pytest

from henasy_stream.errors import UserError
from training.data.pickles import load_arrays, load_plain


class Evil:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)


PLAIN = [("uid", 1.5, 2, "#C C picks a cup"), ("uid", 3.0, 4.0, ["one", "two"]), {"a": (None, True)}]


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_plain_data_comes_back(protocol, tmp_path):
    path = tmp_path / "a.pkl"
    path.write_bytes(pickle.dumps(PLAIN, protocol))
    assert load_plain(path) == load_arrays(path) == PLAIN


@pytest.mark.parametrize("load", [load_plain, load_arrays])
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_nothing_in_a_pickle_runs(load, protocol, tmp_path):
    marker, path = tmp_path / "ran", tmp_path / "a.pkl"
    path.write_bytes(pickle.dumps([Evil(marker)], protocol))
    with pytest.raises(UserError, match=r"a\.pkl: names (posix|os|nt)\.mkdir"):
        load(path)
    assert not marker.exists()


@pytest.mark.parametrize("value", [collections.Counter("a"), {1, 2}.__class__, print, collections.OrderedDict(a=1)])
def test_other_types_are_refused_by_name(value, tmp_path):
    path = tmp_path / "a.pkl"
    path.write_bytes(pickle.dumps(value))
    for load in (load_plain, load_arrays):
        with pytest.raises(UserError, match=r"names (collections|builtins)\."):
            load(path)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("dtype", ["f4", "f8", ">f8", "i8", "u1", "?"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_numeric_arrays_come_back(protocol, dtype, order, tmp_path):
    array = np.asarray(np.arange(6).reshape(2, 3), dtype, order=order)
    scalar = array.dtype.type(1)
    path = tmp_path / "a.pkl"
    path.write_bytes(pickle.dumps({"a": array, "s": scalar, "empty": array[:0]}, protocol))
    loaded = load_arrays(path)
    np.testing.assert_array_equal(loaded["a"], array)
    assert loaded["a"].dtype.newbyteorder("=") == array.dtype.newbyteorder("=")
    assert loaded["s"] == scalar
    assert loaded["empty"].shape == (0, 3)
    with pytest.raises(UserError, match="names numpy"):
        load_plain(path)


@pytest.mark.parametrize("core", ["core", "_core"])
def test_arrays_of_either_numpy_are_read(core, tmp_path):
    data = pickle.dumps(np.arange(3.0), 0).replace(b"numpy._core.", f"numpy.{core}.".encode())
    data = data.replace(b"numpy.core.", f"numpy.{core}.".encode())
    (tmp_path / "a.pkl").write_bytes(data)
    assert load_arrays(tmp_path / "a.pkl").tolist() == [0, 1, 2]


def test_arrays_of_objects_are_refused(tmp_path):
    marker, path = tmp_path / "ran", tmp_path / "a.pkl"
    path.write_bytes(pickle.dumps(np.array([1, None], object)))
    with pytest.raises(UserError, match=r"numpy\.dtype"):
        load_arrays(path)
    path.write_bytes(pickle.dumps(np.array([Evil(marker)], object)))
    with pytest.raises(UserError, match="was not opened"):
        load_arrays(path)
    assert not marker.exists()


def test_the_array_type_cannot_be_called(tmp_path):
    path = tmp_path / "a.pkl"
    path.write_bytes(b"cnumpy\nndarray\n((I9\ntR.")
    with pytest.raises(UserError, match=r"a\.pkl: not a pickle of plain data"):
        load_arrays(path)


@pytest.mark.parametrize(
    "data", [b"", b"no pickle", b"\x80\x05", b"(", b"(lp0\n(I1\n", b"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\x7f"]
)
def test_broken_files_are_one_clear_error(data, tmp_path):
    (tmp_path / "a.pkl").write_bytes(data)
    with pytest.raises(UserError, match=r"a\.pkl: not a pickle of plain data"):
        load_plain(tmp_path / "a.pkl")
    with pytest.raises(UserError, match="No such file"):
        load_plain(tmp_path / "absent.pkl")


def test_every_cut_of_a_pickle_is_refused_or_whole(tmp_path):
    data = pickle.dumps({"a": np.arange(4.0), "b": PLAIN}, 2)
    for length in range(0, len(data), 7):
        (tmp_path / "a.pkl").write_bytes(data[:length])
        with pytest.raises(UserError, match=r"a\.pkl"):
            load_arrays(tmp_path / "a.pkl")
