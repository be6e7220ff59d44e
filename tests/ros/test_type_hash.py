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
    "geometry_msgs/msg/Point": "6963084842a9b04494d6b2941d11444708d892da2f4b09843b9c43f42a7f6881",
    "geometry_msgs/msg/Quaternion": "8a765f66778c8ff7c8ab94afcc590a2ed5325a1d9a076ffff38fbce36f458684",
    "geometry_msgs/msg/Pose": "d501954e9476cea2996984e812054b68026ae0bfae789d9a10b23daf35cc90fa",
    "geometry_msgs/msg/PoseWithCovariance": "9a7c0fd234b7f45c6098745ecccd773ca1085670e64107135397aee31c02e1bb",
    "diagnostic_msgs/msg/KeyValue": "d68081eaa540288c5440753baecef0c4e16e81a5f78ad68902ded5100413bb42",
    "diagnostic_msgs/msg/DiagnosticStatus": "b0e3e692ea2d54a8af2f4ef1930e81556a2db55216b771f8a7d2724ed47bf0e4",
    "diagnostic_msgs/msg/DiagnosticArray": "5a8a36efb05fb25070fa0fb3810290c0e6cd4862b54a8fb975a1ee8dc55a333e",
    "sensor_msgs/msg/Image": "d31d41a9a4c4bc8eae9be757b0beed306564f7526c88ea6a4588fb9582527d47",
    "sensor_msgs/msg/CompressedImage": "15640771531571185e2efc8a100baf923961a4d15d5569652e6cb6691e8e371a",
    "vision_msgs/msg/Point2D": "eab0e83f44ab4de92ceaf76dd7d0e7638f2bdd1d16ffbe16c7a136c48e407247",
    "vision_msgs/msg/Pose2D": "b0b5d1d7b4c20dd4fcde3ed1d4b289a919290572007d67a97043814db25d3648",
    "vision_msgs/msg/BoundingBox2D": "008eacbb0cf8f26e83795547bed013eec3675485ef386ec056d80eaaf1c1ce2f",
    "vision_msgs/msg/ObjectHypothesis": "51da43cec11c01957a64d1e05a24acd18aae7745ec30b74348ad5f6d634f7f90",
    "vision_msgs/msg/ObjectHypothesisWithPose": "41c12344c0396c48b81df12467c192d99b2a0eb1463c5c37194e4223251c80bc",
    "vision_msgs/msg/Detection2D": "0d12b69df5c593b3455b7346fac8205437a7d4bcb09b9e0e0b2dde787ded38ea",
    "vision_msgs/msg/Detection2DArray": "214274120007f4a683866481336b70310268cfa107aebe9d594a6acf75bda968",
    "vision_msgs/msg/VisionClass": "1e4a11f0fed50b5623cb8ff26ca0e37952a48a9c074d16f804b44e9164c2037a",
    "vision_msgs/msg/LabelInfo": "3d37df4015cdf660cc851c51897f2acd957e1ca6205ba0a99aebffb9406b0783",
    "vision_msgs/msg/VisionInfo": "95d3116a17484ad91c9a2686e1d54890bbfc3ff6c6a2de137738c4950d45d284",
    "henasy_msgs/msg/StreamInfo": "2219bd05918957fb8a7a01f526dfde383c3e0009db74f025dc750d4721ae7ec9",
    "henasy_msgs/msg/Hypothesis": "6d5cb76a8d0057667847361af87b1fe09704c7fa8287e3b1a74f248ecb548845",
    "henasy_msgs/msg/EntityTrack": "99f4a48b4bd5720ee49d2a315e0d8b8a0ef4c363819b99088ea88aff5f4c70f0",
    "henasy_msgs/msg/SceneRelation": "64c090fff65971792065b652eb60aec7fc7ef800c80c403714e188d5b7086a3e",
    "henasy_msgs/msg/QueryAnswer": "38b74b11be50a08b0f9f284ddd855df4918da70b741fb2790fca4100d8d1a599",
    "henasy_msgs/msg/EntityTrackArray": "2d89fd83900f8c25c191aed13940ceca11e0537b262baae2be7d084f7f652d1e",
    "henasy_msgs/msg/ActionCaption": "372c6420d96faa8b6d93e9c895b3c37d8fb01e190dd047cda1e34ef00b4bf8f1",
}
"""What Jazzy's own generator (rosidl_generator_type_description) makes of the interface files.

Those of henasy_msgs change when a message does: robots that were built with the old one then no longer understand us.
"""


@pytest.mark.parametrize(("name", "digits"), JAZZY.items())
def test_hashes_of_jazzy(name, digits):
    assert type_hash(name) == f"RIHS01_{digits}"


def test_all_are_compared():
    assert set(JAZZY) == set(names())


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
