"""The bytes of our messages, against those of the rosbags package, in both directions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings

from henasy_stream.ros import cdr
from henasy_stream.ros.interfaces import names
from tests.ros.definitions import any_message, as_rosbags, typestore, values_of


@settings(max_examples=150, deadline=None)
@given(any_message)
def test_our_bytes_are_those_of_rosbags(message):
    name, values = message
    data = cdr.encode(name, values)
    assert data == bytes(typestore().serialize_cdr(as_rosbags(name, values), name))


@settings(max_examples=150, deadline=None)
@given(any_message)
def test_rosbags_reads_what_we_wrote(message):
    name, values = message
    data = cdr.encode(name, values)
    again = typestore().serialize_cdr(typestore().deserialize_cdr(data, name), name)
    assert bytes(again) == data


@pytest.mark.parametrize("name", names())
def test_every_type(name):
    @settings(max_examples=5, deadline=None)
    @given(values_of(name))
    def check(values):
        assert cdr.encode(name, values) == bytes(typestore().serialize_cdr(as_rosbags(name, values), name))

    check()


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview, list, lambda data: np.frombuffer(data, np.uint8)])
def test_the_data_of_an_image_may_be_of_any_kind(kind):
    data = bytes(range(6))
    header = {"stamp": {"sec": 1, "nanosec": 2}, "frame_id": "camera"}
    values = {"header": header, "height": 2, "width": 3, "encoding": "mono8", "is_bigendian": 0, "step": 3}
    values["data"] = kind(data)
    read = typestore().deserialize_cdr(cdr.encode("sensor_msgs/msg/Image", values), "sensor_msgs/msg/Image")
    assert read.data.tobytes() == data
    assert (read.header.stamp.nanosec, read.header.frame_id, read.step) == (2, "camera", 3)


@pytest.mark.parametrize("text", ["tea\0pot", "\ud800teapot"])
def test_a_text_that_no_reader_could_read_is_cleaned(text):
    read = typestore().deserialize_cdr(
        cdr.encode("henasy_msgs/msg/Hypothesis", {"text": text, "score": 0.5}), "henasy_msgs/msg/Hypothesis"
    )
    assert read.text in ("teapot", "?teapot")


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("builtin_interfaces/msg/Time", {"sec": 2**31, "nanosec": 0}),
        ("builtin_interfaces/msg/Time", {"sec": 0, "nanosec": -1}),
        ("builtin_interfaces/msg/Time", {"sec": "1", "nanosec": 0}),
        ("builtin_interfaces/msg/Time", {"sec": None, "nanosec": 0}),
        ("henasy_msgs/msg/Hypothesis", {"text": 5, "score": 0.5}),
        ("henasy_msgs/msg/Hypothesis", {"text": "cup", "score": 1e300}),
        ("vision_msgs/msg/VisionClass", {"class_id": 65536, "class_name": "cup"}),
    ],
)
def test_a_value_that_does_not_fit_is_named_with_its_message(name, values):
    with pytest.raises(ValueError, match=name):
        cdr.encode(name, values)


def test_an_array_has_its_length():
    pose = {"position": dict.fromkeys("xyz", 0.0), "orientation": dict.fromkeys("xyzw", 0.0)}
    values = {"pose": pose, "covariance": [0.0] * 35}
    with pytest.raises(ValueError, match="covariance has 35 elements, not 36"):
        cdr.encode("geometry_msgs/msg/PoseWithCovariance", values)


def test_a_field_that_is_left_out_is_named():
    with pytest.raises(KeyError, match="nanosec"):
        cdr.encode("builtin_interfaces/msg/Time", {"sec": 1})
