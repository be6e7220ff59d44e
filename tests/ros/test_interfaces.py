"""The definitions in the wheel, in `ros2_ws` and in ROS are one and the same, and say what their fields mean."""

from __future__ import annotations

import re
from typing import Any

import pytest
from rosbags.interfaces import Nodetype
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from henasy_stream.ros import fields as ours
from henasy_stream.ros import topics
from henasy_stream.ros.interfaces import Field, fields, names, parse, parts
from tests.ros.definitions import MESSAGES, SERVICES, typestore

HERE = {path.stem: path for path in (*MESSAGES.glob("*.msg"), *SERVICES.glob("*.srv"))}
DISTRIBUTIONS = (Stores.ROS2_HUMBLE, Stores.ROS2_JAZZY, Stores.ROS2_KILTED)


def of_rosbags(store: Any, name: str) -> list[tuple[str, str, int | None]]:
    """Name, type and size of each field, as rosbags reads the definition."""
    return [(field, *_described(description)) for field, description in store.fielddefs[name][1]]


def _described(description: Any) -> tuple[str, int | None]:
    kind, rest = description
    if kind == Nodetype.NAME:
        return rest, None
    if kind == Nodetype.BASE:
        assert not rest[1], "our messages have no bounded strings"
        return rest[0].replace("octet", "byte"), None
    return _described(rest[0])[0], rest[1] or 0


def as_tuples(found: tuple[Field, ...]) -> list[tuple[str, str, int | None]]:
    return [(f.name, f.type, f.size) for f in found]


@pytest.mark.parametrize("name", names())
def test_every_definition_is_that_of_its_file(name):
    assert as_tuples(fields(name)) == of_rosbags(typestore(), name)


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
@pytest.mark.parametrize("name", [name for name in names() if name.split("/")[0] not in ("henasy_msgs", "vision_msgs")])
def test_every_definition_is_the_same_in_each_distribution(name, distribution):
    assert as_tuples(fields(name)) == of_rosbags(get_typestore(distribution), name)


def test_every_message_of_ours_is_known():
    assert {f"henasy_msgs/msg/{path.stem}" for path in MESSAGES.glob("*.msg")} == {
        name for name in names() if name.startswith("henasy_msgs/")
    }
    assert {topic.type for topic in topics.TOPICS} <= set(names())
    assert all(set(parts(name)) <= set(names()) for name in names())


@pytest.mark.parametrize(
    ("message", "prefix", "values"),
    [
        ("StreamInfo", "CLOCK_", ours.CLOCKS),
        ("StreamInfo", "STAMP_", ours.STAMP_SOURCES),
        ("EntityTrack", "STATE_", ours.TRACK_STATES),
        ("QueryAnswer", "KIND_", ours.QUERY_KINDS),
        ("EntityTrack", "NO_", {"mask": ours.NO_MASK, "label_index": ours.NO_LABEL_INDEX}),
    ],
)
def test_constants_are_those_that_we_send(message, prefix, values):
    constants = {name: value for name, _, value in typestore().fielddefs[f"henasy_msgs/msg/{message}"][0]}
    assert {name: value for name, value in constants.items() if name.startswith(prefix)} == {
        prefix + key.upper(): value for key, value in values.items()
    }


@pytest.mark.parametrize("path", HERE.values(), ids=lambda path: path.name)
def test_every_field_is_explained(path):
    """By the comment above it, which a pair of one type may share, or behind it."""
    above = ""
    for line in path.read_text(encoding="utf-8").splitlines():
        kind = line.split(" ")[0]
        if line and line != "---" and not line.startswith("#"):
            assert above in ("#", kind) or "  # " in line, f"{path.name}: {line} has no comment"
        above = kind


@pytest.mark.parametrize("path", list(SERVICES.glob("*.srv")), ids=lambda path: path.name)
def test_services_are_two_definitions(path):
    request, response = path.read_text(encoding="utf-8").split("---\n")
    for part in (request, response):
        found = get_types_from_msg(part, "a/msg/Part")["a/msg/Part"][1]
        assert found
    assert [name for name, _ in found][:2] == ["success", "message"]


def test_the_build_lists_every_interface_and_depends_on_what_they_hold():
    package = MESSAGES.parent
    listed = re.findall(r'"((?:msg|srv)/\w+\.\w+)"', (package / "CMakeLists.txt").read_text(encoding="utf-8"))
    assert sorted(listed) == sorted(str(path.relative_to(package)) for path in HERE.values())
    used = {part.split("/")[0] for name in names() if name.startswith("henasy_msgs/") for part in parts(name)}
    depends = re.findall(r"<depend>(\w+)</depend>", (package / "package.xml").read_text(encoding="utf-8"))
    assert set(depends) == used - {"henasy_msgs", "geometry_msgs"}


class TestParse:
    def test_reads_what_ros_writes(self):
        found = tuple(parse("Hypothesis[] a\nfloat32[4] b; std_msgs/Header c", package="henasy_msgs"))
        assert as_tuples(found) == [
            ("a", "henasy_msgs/msg/Hypothesis", 0),
            ("b", "float32", 4),
            ("c", "std_msgs/msg/Header", None),
        ]

    @pytest.mark.parametrize(
        "text", ["int32", "int32 A", "int32 x=5", "string<=5 x", "int32[<=5] x", "int32[ x", "# hm"]
    )
    def test_refuses_what_it_does_not_know(self, text):
        with pytest.raises(ValueError, match="not a field of a ROS message"):
            tuple(parse(text, package="henasy_msgs"))


@pytest.mark.parametrize(
    ("namespace", "expected"),
    [
        ("/", "/henasy_stream/tracks"),
        ("/robot1", "/robot1/henasy_stream/tracks"),
        ("/a/b", "/a/b/henasy_stream/tracks"),
    ],
)
def test_names_of_topics(namespace, expected):
    assert topics.TRACKS.full_name(namespace) == expected
    assert topics.DIAGNOSTICS.full_name(namespace) == "/diagnostics"
