"""The node's ends: the image topic or the camera, the detector's boxes, and whoever is there.  Needs rclpy."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from vision_msgs.msg import Detection2DArray

from henasy_stream.ros.topics import TOPICS
from henasy_stream.runtime.outputs import Output
from henasy_stream.sinks.publisher import Sink
from henasy_stream.sources import open_source
from henasy_stream.sources.base import Source
from henasy_stream.sources.uri import redact
from henasy_stream_ros.announce import Unrectified
from henasy_stream_ros.detections import DetectionFeed
from henasy_stream_ros.parameters import Settings
from henasy_stream_ros.peers import mismatch, refused, silence
from henasy_stream_ros.ports import RosPorts, peer
from henasy_stream_ros.rectify import Rectifier
from henasy_stream_ros.runner import Ends, Runner
from henasy_stream_ros.topic_source import RosClock, TopicSource

_IMAGES = ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage")


def sensor_qos(depth: int, *, reliable: bool = False) -> QoSProfile:
    """Keep the last few, volatile."""
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=depth,
        reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
        durability=DurabilityPolicy.VOLATILE,
    )


class Connections:
    """Subscriptions, made when the node is configured and listened to while it is active.

    Args:
        node: that subscribes.
        ports: whose subscribers are looked after.
    """

    def __init__(self, node: Any, ports: RosPorts) -> None:
        self.rectifier: Rectifier | None = None
        self._node = node
        self._ports = ports
        self._settings: Settings | None = None
        self._subscriptions: list[Any] = []
        self._topic = ""
        self._source: TopicSource | None = None
        self._camera: RosClock | None = None
        self._feed: DetectionFeed | None = None
        self._told = ""

    @property
    def described(self) -> str:
        """The image topic or the source, for people."""
        if self._settings is not None and self._settings.source:
            return redact(self._settings.source)
        return self._topic

    @property
    def values(self) -> Mapping[str, str]:
        """What diagnostics say of what comes in."""
        source, feed = self._source, self._feed
        found = {}
        if source is not None:
            found["images (1/s)"] = f"{source.rate.per_second():.1f}"
            found["images refused"] = str(source.refused)
            found["last image (s ago)"] = f"{source.silent_s:.1f}"
        if feed is not None:
            found["sets of boxes in"] = str(feed.received)
            found["sets of boxes malformed"] = str(feed.malformed)
        return found

    def open(self, settings: Settings) -> None:
        """Subscribes, so that discovery is over when the node becomes active."""
        self.close()
        self._settings = settings
        node, reliable = self._node, settings.reliability == "reliable"
        if not settings.source:
            compressed = settings.transport == "compressed"
            topic = settings.image_topic
            if compressed and not topic.endswith("/compressed"):
                topic += "/compressed"
            kind = CompressedImage if compressed else Image
            qos = sensor_qos(1, reliable=reliable)
            image = node.create_subscription(kind, topic, self._on_image, qos)
            self._subscriptions.append(image)
            self._topic = image.topic_name
            if settings.rectify:
                base = self._topic.removesuffix("/compressed").rpartition("/")[0]
                self.rectifier = Rectifier(f"{base}/camera_info")
                info = node.create_subscription(CameraInfo, f"{base}/camera_info", self.rectifier.learn, sensor_qos(1))
                self._subscriptions.append(info)
        if settings.detections_topic:
            boxes = node.create_subscription(
                Detection2DArray, settings.detections_topic, self._on_boxes, sensor_qos(10)
            )
            self._subscriptions.append(boxes)

    def start(self, runner: Runner, sinks: Sequence[Sink], outputs: Mapping[str, Output]) -> None:
        """Opens the source and starts the worker on it.

        Raises:
            UserError: the camera or the file cannot be opened.
        """
        settings, rectifier = self._settings, self.rectifier
        assert settings is not None, "not configured"
        feed = DetectionFeed(settings.detections_topic) if settings.detections_topic else None
        topic: TopicSource | None = None
        camera: RosClock | None = None
        source: Source
        if settings.source:
            source = camera = RosClock(open_source(settings.source), settings.frame_id)
            camera.max_rate = settings.max_rate
        else:
            simulated = bool(self._node.get_parameter("use_sim_time").value)
            source = topic = TopicSource(
                self._topic,
                compressed=settings.transport == "compressed",
                clock="media" if simulated else "unix",
                rectifier=rectifier,
            )
            topic.max_rate = settings.max_rate
        ends = Ends(
            source=source,
            sinks=sinks,
            outputs=outputs,
            feed=feed,
            wrap=(lambda output: output) if rectifier is None else (lambda output: Unrectified(output, rectifier)),
        )
        try:
            runner.activate(ends)
        except BaseException:
            source.close()
            raise
        self._feed, self._source, self._camera, self._told = feed, topic, camera, ""

    def stop(self) -> None:
        """Closes the source; images that come are not looked at."""
        source, self._source = self._source, None
        camera, self._camera = self._camera, None
        self._feed = None
        for closing in (source, camera):
            if closing is not None:
                closing.close()

    def close(self) -> None:
        """Gives the subscriptions up."""
        self.rectifier = None
        while self._subscriptions:
            subscription = self._subscriptions.pop()
            # Humble's executor dies of a subscription that goes while it spins (ros2/rclpy 1150): there it stays, and
            # is not listened to.
            if os.environ.get("ROS_DISTRO") != "humble":
                self._node.destroy_subscription(subscription)

    def apply(self, settings: Settings) -> None:
        """What may change while the node is active."""
        if self._settings is not None:
            self._settings = settings
        for source in (self._source, self._camera):
            if source is not None:
                source.max_rate = settings.max_rate

    def jumped(self, reason: str) -> None:
        """The clock went back."""
        if self._source is not None:
            self._source.jumped(reason)

    def look(self) -> tuple[str, ...]:
        """What is wrong with whom we are connected to; also tells the source when nothing comes."""
        problems = [
            refused(self._ports.name(topic), self._peers(self._ports.name(topic), ours=True), latched=topic.latched)
            for topic in TOPICS
        ]
        source, settings = self._source, self._settings
        if source is not None and settings is not None:
            publishers = self._peers(self._topic)
            kind = _IMAGES[settings.transport == "compressed"]
            reliable = settings.reliability == "reliable"
            problems.append(mismatch(kind, publishers, reliable=reliable))
            if source.silent_s > settings.silence_s:
                reason = silence(
                    self._topic,
                    kind,
                    publishers,
                    seconds=settings.silence_s,
                    reliable=reliable,
                    others=self._image_topics(),
                )
                source.silent(reason)
                if reason != self._told:
                    self._node.get_logger().warning(reason)
                self._told = reason
            else:
                self._told = ""
        return tuple(problem for problem in problems if problem)

    def _peers(self, topic: str, *, ours: bool = False) -> list[Any]:
        node = self._node
        infos = node.get_subscriptions_info_by_topic(topic) if ours else node.get_publishers_info_by_topic(topic)
        return [peer(info) for info in infos]

    def _image_topics(self) -> list[str]:
        own = {self._ports.name(topic) for topic in TOPICS} | {self._topic}
        return [
            name
            for name, types in self._node.get_topic_names_and_types()
            if name not in own and set(types) & set(_IMAGES) and self._node.count_publishers(name)
        ]

    def _on_image(self, message: Any) -> None:
        if self._source is not None:
            self._source.put(message, self._node.get_clock().now().nanoseconds)

    def _on_boxes(self, message: Any) -> None:
        if self._feed is not None:
            self._feed.put(message)
