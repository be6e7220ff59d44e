"""The topics of a node: names, types and quality of service, the same with and without a ROS installation."""

from __future__ import annotations

from dataclasses import dataclass

NODE = "henasy_stream"
"""Name of the node; `~` in a topic's name is its namespace and this."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Topic:
    """One topic.

    Every writer is reliable, so that it serves readers that ask for reliable and those that ask for best effort.
    `depth` is that of its history (keep last).  `latched` is transient local: who comes late gets the last message.
    """

    name: str
    type: str
    depth: int = 10
    latched: bool = False

    def full_name(self, namespace: str = "/", node: str = NODE) -> str:
        """The absolute name, for a node of a namespace such as `/robot1`."""
        if not self.name.startswith("~/"):
            return self.name
        return f"{namespace.rstrip('/')}/{node}{self.name[1:]}"


TRACKS = Topic(name="~/tracks", type="henasy_msgs/msg/EntityTrackArray")
CAPTION = Topic(name="~/caption", type="henasy_msgs/msg/ActionCaption")
DETECTIONS = Topic(name="~/detections", type="vision_msgs/msg/Detection2DArray")
MASKS = Topic(name="~/masks", type="sensor_msgs/msg/Image", depth=5)
DEBUG_IMAGE = Topic(name="~/debug_image/compressed", type="sensor_msgs/msg/CompressedImage", depth=5)
LABEL_INFO = Topic(name="~/label_info", type="vision_msgs/msg/LabelInfo", depth=1, latched=True)
VISION_INFO = Topic(name="~/vision_info", type="vision_msgs/msg/VisionInfo", depth=1, latched=True)
DIAGNOSTICS = Topic(name="/diagnostics", type="diagnostic_msgs/msg/DiagnosticArray")

TOPICS = (TRACKS, CAPTION, DETECTIONS, MASKS, DEBUG_IMAGE, LABEL_INFO, VISION_INFO, DIAGNOSTICS)
