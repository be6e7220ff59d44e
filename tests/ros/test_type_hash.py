"""Type hashes against those of ROS's own tools."""

from __future__ import annotations

import re

import pytest

from henasy_stream.ros import interfaces
from henasy_stream.ros.interfaces import names
from henasy_stream.ros.type_hash import type_hash
from tests.ros.definitions import typestore

JAZZY = {
    "builtin_interfaces/msg/Time": "b106235e25a4c5ed35098aa0a61a3ee9c9b18d197f398b0e4206cea9acf9c197",
    "std_msgs/msg/Header": "f49fb3ae2cf070f793645ff749683ac6b06203e41c891e17701b1cb597ce6a01",
    "sensor_msgs/msg/Image": "d31d41a9a4c4bc8eae9be757b0beed306564f7526c88ea6a4588fb9582527d47",
    "sensor_msgs/msg/CompressedImage": "15640771531571185e2efc8a100baf923961a4d15d5569652e6cb6691e8e371a",
}
"""What `ros2 topic info -v` prints in Jazzy."""


@pytest.mark.parametrize(("name", "digits"), JAZZY.items())
def test_hashes_of_jazzy(name, digits):
    assert type_hash(name) == f"RIHS01_{digits}"


def test_the_best_known_one(monkeypatch):
    """std_msgs/String, which we do not publish."""
    monkeypatch.setitem(interfaces._DEFINITIONS, "std_msgs/msg/String", "string data")
    assert type_hash("std_msgs/msg/String") == (
        "RIHS01_df668c740482bbd48fb39d76a70dfd4bd59db1288021743503259e948f6b1a18"
    )


@pytest.mark.parametrize("name", names())
def test_hashes_of_another_implementation(name):
    assert type_hash(name) == typestore().hash_rihs01(name)


def test_every_type_has_its_own():
    hashes = {type_hash(name) for name in names()}
    assert len(hashes) == len(names())
    assert all(re.fullmatch(r"RIHS01_[0-9a-f]{64}", found) for found in hashes)
