"""Parameters: one list from which declarations, checks, the YAML file and the documentation come."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import pytest
import yaml
from henasy_stream_ros.parameters import BY_NAME, PARAMETERS, Settings, change, check_together, checked, settings, table
from hypothesis import given
from hypothesis import settings as effort
from hypothesis import strategies as st

from henasy_stream.errors import UserError

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "ros2_ws" / "src" / "henasy_stream" / "config" / "params.yaml"
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=20),
    st.binary(max_size=5),
    st.lists(st.one_of(st.text(max_size=20), st.integers()), max_size=5),
    st.just("q" * 10_000),
    st.just(["q" * 10_000]),
)


def test_settings_have_a_field_for_each():
    assert [field.name for field in dataclasses.fields(Settings)] == [p.name for p in PARAMETERS]


def test_defaults_fit():
    found = settings({})
    assert {p.name: getattr(found, p.name) for p in PARAMETERS} == {p.name: p.default for p in PARAMETERS}


@pytest.mark.parametrize("parameter", PARAMETERS, ids=lambda p: p.name)
def test_each_is_described(parameter):
    assert parameter.text.rstrip().endswith(".")
    assert len(parameter.text) < 300
    assert (parameter.low is None) == (parameter.high is None)
    if parameter.kind in ("double", "integer"):
        assert parameter.choices or parameter.low is not None, "a number has a range"


def test_an_integer_is_taken_for_a_double():
    found = settings({"presence": 1, "lost_s": 3, "max_rate": 0})
    assert (found.presence, found.lost_s, found.max_rate) == (1.0, 3.0, 0.0)
    assert all(isinstance(value, float) for value in (found.presence, found.lost_s, found.max_rate))


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("presence", "high", "presence: 'high' does not fit, give a number"),
        ("presence", 1.5, "presence: 1.5 does not fit, give 0 to 1"),
        ("presence", math.nan, "presence: nan does not fit"),
        ("presence", True, "presence: True does not fit"),
        ("rotate", 45, "rotate: 45 does not fit, choose one of 0, 90, 180, 270"),
        ("rotate", 90.0, "rotate: 90.0 does not fit, give an integer"),
        ("debug_image_quality", 0, "give 1 to 100"),
        ("transport", "theora", "choose one of 'raw', 'compressed'"),
        ("rectify", 1, "rectify: 1 does not fit, give true or false"),
        ("weights", 5, "weights: 5 does not fit, give a text"),
        ("queries", 5, "queries: 5 does not fit, give texts"),
        ("queries", [1], "give texts"),
        ("queries", ["q" * 10_000], "queries: query 'qqqq"),
        ("queries", [str(i) for i in range(33)], "queries: 33 queries; at most 32"),
    ],
)
def test_what_does_not_fit_is_told_in_one_line(name, value, says):
    with pytest.raises(UserError) as told:
        settings({name: value})
    assert says in str(told.value)
    assert "\n" not in str(told.value)
    assert len(str(told.value)) < 300


@effort(max_examples=400, deadline=None)
@given(parameter=st.sampled_from(PARAMETERS), value=VALUES)
def test_any_value_fits_or_is_refused(parameter, value):
    try:
        found = checked(parameter, value)
    except UserError as error:
        told = str(error)
    else:
        told = ""
    if told:
        assert told.startswith(parameter.name)
        return
    kind: dict[str, type] = {"string": str, "double": float, "integer": int, "bool": bool, "string_array": tuple}
    assert type(found) is kind[parameter.kind]
    if parameter.low is not None and parameter.high is not None:
        assert parameter.low <= found <= parameter.high


def test_queries_are_tidied():
    assert settings({"queries": ["  cup ", "cup", "", "my   blue cup"]}).queries == ("cup", "my blue cup")
    assert settings({"queries": [""]}).queries == ()


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"verbs_file": "everyday", "nouns_file": "everyday", "phrases_file": "p.txt"}, "leave one of them out"),
        ({"verbs_file": "everyday"}, "verbs_file and nouns_file"),
        ({"source": "camera:0", "rectify": True}, "rectify: needs the CameraInfo"),
        ({"image_topic": ""}, "image_topic: names no topic"),
    ],
)
def test_what_contradicts_itself_is_told(values, says):
    with pytest.raises(UserError, match=says):
        check_together(settings(values))


def test_what_fits_together():
    check_together(settings({}))
    check_together(settings({"source": "world", "image_topic": ""}))
    check_together(settings({"verbs_file": "everyday", "nouns_file": "everyday"}))


@pytest.mark.parametrize("parameter", [p for p in PARAMETERS if p.name != "autostart"], ids=lambda p: p.name)
def test_only_dynamic_ones_change_while_the_node_is_configured(parameter):
    current = settings({})
    other: Any = {
        "string": "other",
        "double": parameter.high,
        "integer": parameter.low or 0,
        "bool": not parameter.default,
        "string_array": ["cup"],
    }[parameter.kind]
    if parameter.choices:
        other = next(choice for choice in parameter.choices if choice != parameter.default)
    assert getattr(change(current, parameter.name, other, configured=False), parameter.name) == checked(
        parameter, other
    )
    if parameter.dynamic:
        assert getattr(change(current, parameter.name, other, configured=True), parameter.name) == checked(
            parameter, other
        )
    else:
        with pytest.raises(UserError, match=f"{parameter.name}: is read when the node is configured"):
            change(current, parameter.name, other, configured=True)
        assert change(current, parameter.name, getattr(current, parameter.name), configured=True) == current


def test_the_yaml_file_holds_each_with_its_default_and_a_comment():
    text = CONFIG.read_text(encoding="utf-8")
    values = yaml.safe_load(text)["/**"]["ros__parameters"]
    assert list(values) != []
    assert set(values) == set(BY_NAME)
    assert settings(values) == settings({})
    lines = text.splitlines()
    for number, line in enumerate(lines):
        name = line.strip().partition(":")[0]
        if name in BY_NAME and line.startswith("    "):
            above = lines[number - 1].strip()
            assert above.startswith("#") or above.partition(":")[0] in BY_NAME, f"{name} has no comment"


def test_the_table_of_the_documentation_is_in_step():
    documentation = (ROOT / "docs" / "ros2.md").read_text(encoding="utf-8")
    assert table() in documentation, "run: PYTHONPATH=ros2_ws/src/henasy_stream python -m henasy_stream_ros.parameters"
