from __future__ import annotations

import hashlib
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from henasy_stream.errors import UserError
from training.data.records import Skips
from training.data.tables import Row, checksum, read_json, read_table


def write(path, text, encoding="utf-8"):
    path.write_bytes(text.encode(encoding))
    return path


def rows(path, *columns, separator=",", skips=None):
    return list(read_table(path, columns, separator=separator, skips=skips))


def test_columns_are_found_by_name_in_any_order(tmp_path):
    path = write(tmp_path / "t.csv", '\ufeffb,extra,a\n1,,"x, y"\n\n2,,z\n')
    assert [(row.number, row.text("a"), row.integer("b")) for row in rows(path, "a", "b")] == [
        (2, "x, y", 1),
        (4, "z", 2),
    ]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a\tb\n1\t2\n", "columns are separated by tabs, expected commas"),
        ("a;b\n1;2\n", "columns are separated by semicolons, expected commas"),
        ("a,c\n1,2\n", "no column b; the header is 'a, c'"),
        ("", "no column a, b; the header is an empty file"),
        ("a,b\n1,2\n3\n", "row 3: 1 cells where the header has 2"),
        ("a,b\n1,2\n3,4,5\n", "row 3: 3 cells where the header has 2"),
    ],
)
def test_another_table_is_one_clear_error(text, reason, tmp_path):
    with pytest.raises(UserError, match=reason) as error:
        rows(write(tmp_path / "t.csv", text), "a", "b")
    assert str(tmp_path / "t.csv") in str(error.value)


def test_rows_of_another_length_can_be_counted_instead(tmp_path):
    skips = Skips(source="t.csv")
    path = write(tmp_path / "t.csv", "a,b\n1,2\n3\n4,5\n6\n")
    assert [row.text("a") for row in rows(path, "a", "b", skips=skips)] == ["1", "4"]
    assert skips.lines() == ["t.csv: 2 × wrong number of cells (first: row 3: 1 cells where the header has 2)"]


def test_files_that_are_no_tables(tmp_path):
    with pytest.raises(UserError, match="No such file"):
        rows(tmp_path / "absent.csv", "a")
    with pytest.raises(UserError, match="not UTF-8"):
        rows(write(tmp_path / "t.csv", "a\nträne\n", "latin1"), "a")
    with pytest.raises(UserError, match="row 2"):
        rows(write(tmp_path / "t.csv", "a\n" + "x" * 200_000 + "\n"), "a")


@pytest.mark.parametrize(
    ("cell", "accessor", "reason"),
    [
        ("abc", "number_or_nan", "'abc' is not a number"),
        ("1.5", "integer", "'1.5' is not a whole number"),
        ("-1", "integer", r"-1 is not in the taxonomy \(0\)"),
        ("__import__('os').system('true')", "integers", "is not a list of whole numbers"),
        ("[1, __import__('os').getpid()]", "integers", "is not a list of whole numbers"),
        ("[1, 'x']", "integers", "is not a list of whole numbers"),
        ("[True]", "integers", "is not a list of whole numbers"),
        ("7", "integers", "is not a list of whole numbers"),
        ("[" * 5000, "integers", "is not a list of whole numbers"),
        ("[" + "1," * 60_000 + "]", "integers", "is not a list of whole numbers"),
        ("['a', 1]", "texts", "is not a list of strings"),
        ("open('x')", "texts", "is not a list of strings"),
    ],
)
def test_a_bad_cell_is_named_by_file_row_and_column(cell, accessor, reason, tmp_path):
    path = write(tmp_path / "t.csv", f'a\n"{cell}"\n')
    with pytest.raises(UserError, match=reason) as error:
        getattr(rows(path, "a")[0], accessor)("a")
    assert str(error.value).startswith(f"{path}, row 2, column a: ")
    assert "\n" not in str(error.value)


def test_classes_stay_below_the_taxonomys_size(tmp_path):
    row = rows(write(tmp_path / "t.csv", 'a,b\n4,"[0, 4]"\n'), "a", "b")[0]
    assert (row.integer("a", below=5), row.integers("b", below=5)) == (4, (0, 4))
    for read, column in ((row.integer, "a"), (row.integers, "b")):
        with pytest.raises(UserError, match=r"4 is not in the taxonomy \(0\.\.3\)"):
            read(column, below=4)


def test_empty_and_nan_are_no_numbers_but_no_errors(tmp_path):
    row = rows(write(tmp_path / "t.csv", "a,b\n,nan\n"), "a", "b")[0]
    assert math.isnan(row.number_or_nan("a"))
    assert math.isnan(row.number_or_nan("b"))


@given(st.lists(st.integers(0, 10**6), max_size=20))
def test_lists_of_numbers_come_back(values):
    row = Row(Path("t.csv"), 2, {"a": 0}, [str(values)])
    assert row.integers("a") == tuple(values)


def test_json_and_checksums(tmp_path):
    assert read_json(write(tmp_path / "a.json", '{"a": [1]}')) == {"a": [1]}
    with pytest.raises(UserError, match="not JSON"):
        read_json(write(tmp_path / "b.json", '{"a": '))
    with pytest.raises(UserError, match="not JSON"):
        read_json(write(tmp_path / "c.json", "[" * 100_000))
    with pytest.raises(UserError, match="No such file"):
        read_json(tmp_path / "absent.json")
    assert checksum(write(tmp_path / "x", "x" * 3_000_000)) == hashlib.sha256(b"x" * 3_000_000).hexdigest()
