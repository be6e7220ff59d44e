"""Why no image comes, in words that name the publisher."""

from __future__ import annotations

import pytest
from henasy_stream_ros.peers import Peer, mismatch, refused, silence

RAW, JPEG = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"
GOOD = Peer(node="/camera", type=RAW, reliable=False)


def told(publishers: list[Peer], others: list[str], *, reliable: bool = False) -> str:
    return silence("/image", RAW, publishers, seconds=5.0, reliable=reliable, others=others)


@pytest.mark.parametrize(
    ("publishers", "others", "reliable", "says"),
    [
        ([], [], False, "no image on /image for 5 s: nobody publishes it; no topic carries images"),
        ([], ["/camera/color"], False, "images are published on /camera/color"),
        ([], ["/images"], False, "did you mean /images?"),
        ([GOOD], [], False, "though /camera publishes it: is the camera delivering?"),
        ([GOOD], [], True, "incompatible QoS: /camera publishes best effort, reliable is asked for"),
        ([Peer(node="/cam", type=JPEG, reliable=True)], [], False, "set the parameter transport to compressed"),
        ([Peer(node="/cam", type="std_msgs/msg/String", reliable=True)], [], False, "choose another topic"),
    ],
)
def test_silence(publishers, others, reliable, says):
    assert says in told(publishers, others, reliable=reliable)
    assert "\n" not in told(publishers, others, reliable=reliable)


def test_all_publishers_are_named():
    both = [Peer(node=name, type=RAW, reliable=True) for name in ("/b", "/a")]
    assert "/a, /b publishes" in told(both, [])


def test_a_mismatch_is_none_when_they_hear_each_other():
    assert mismatch(RAW, [GOOD], reliable=False) == ""
    assert mismatch(RAW, [Peer(node="/camera", type=RAW, reliable=True)], reliable=True) == ""
    assert mismatch(RAW, [], reliable=True) == ""
    assert "transport to raw" in mismatch(JPEG, [GOOD], reliable=False)


def test_a_subscriber_that_we_cannot_serve_is_named():
    late = Peer(node="/viewer", type="x", reliable=True, latched=True)
    assert "/viewer asks /node/tracks for transient local" in refused("/node/tracks", [late], latched=False)
    assert refused("/node/tracks", [late], latched=True) == ""
    assert refused("/node/tracks", [GOOD], latched=False) == ""
