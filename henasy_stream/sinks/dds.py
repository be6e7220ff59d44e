"""Publishes to ROS 2 over DDS, without ROS: messages, masks and the annotated picture."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence

from henasy_stream.ros import fields, topics
from henasy_stream.ros.images import mask_image_fields, picture_fields
from henasy_stream.ros.topics import Topic
from henasy_stream.sinks.dds_node import DdsNode
from henasy_stream.sinks.dds_watch import DdsWatch
from henasy_stream.sinks.messages import Caption, Message, Meta, Status, Tracks
from henasy_stream.types import Perception, UInt8Array

_log = logging.getLogger(__name__)

DEBUG_IMAGE_PERIOD_S = 0.1
"""Least time between two annotated pictures."""
_PAUSE_S = 0.01


class DdsSink:
    """Sends messages to a node's topics, as far as someone listens there.

    Args:
        node: whose topics; closed with this sink.
        on_problem: takes a line for the user: once when a message cannot be told in ROS's types, and what `DdsWatch`
            finds; logs when None.
    """

    def __init__(self, node: DdsNode, *, on_problem: Callable[[str], None] | None = None) -> None:
        self._node = node
        self._on_problem = on_problem or _log.error
        self._watch = DdsWatch(node, self._on_problem)
        self._refused = 0
        self._told: tuple[str, str] | None = None

    @property
    def not_sent(self) -> int:
        """Messages that DDS or ROS's types had no room for."""
        return self._node.not_sent + self._refused

    @property
    def subscribers(self) -> int:
        """Readers of the topic that most are subscribed to."""
        return max(self._node.listeners(topic) for topic in topics.TOPICS)

    def send(self, batch: Sequence[Message]) -> None:
        """Publishes the messages."""
        for message in batch:
            self._attempt(message)

    def wait_subscribers(self, count: int, timeout_s: float) -> bool:
        """Waits until `count` subscribers are there; False when the time is over."""
        deadline = time.monotonic() + timeout_s
        while self.subscribers < count:
            if time.monotonic() > deadline:
                return False
            time.sleep(_PAUSE_S)
        return True

    def close(self) -> None:
        """Leaves the domain."""
        self._node.close()

    def _attempt(self, message: Message) -> None:
        try:
            self._send(message)
        except ValueError as error:
            self._refused += 1
            if self._refused == 1:
                self._on_problem(f"publish ros2: {error}; such messages are left out and counted as not sent")

    def _send(self, message: Message) -> None:
        match message:
            case Tracks():
                self._publish(topics.TRACKS, lambda: fields.tracks_fields(message))
                self._publish(topics.DETECTIONS, lambda: fields.detections_fields(message))
            case Caption():
                self._publish(topics.CAPTION, lambda: fields.caption_fields(message))
            case Status():
                self._watch.look()
                name = f"{topics.NODE}: stream"
                self._publish(topics.DIAGNOSTICS, lambda: fields.diagnostics_fields(message, name))
            case Meta():
                self._tell_model(message)

    def _publish(self, topic: Topic, make: Callable[[], fields.Fields]) -> None:
        if self._node.listeners(topic):
            self._node.publish(topic, make())

    def _tell_model(self, meta: Meta) -> None:
        """Once a model, for readers now and later."""
        model = (meta.model_id, meta.vocabulary_hash)
        if model == self._told:
            return
        self._told = model
        header = fields.header_fields(meta.published_ns, "")
        self._node.publish(topics.LABEL_INFO, fields.label_info_fields(meta.vocabulary.nouns, header))
        self._node.publish(topics.VISION_INFO, fields.vision_info_fields(*model, header))


class DdsPictures:
    """An output that sends masks and annotated frames to a node's topics, and makes none that nobody listens to.

    Args:
        node: whose topics; whoever made it closes it.
        draw: makes the annotated frame (H, W, 3) RGB.
        monotonic_s: the clock that the rate of pictures goes by.
    """

    def __init__(
        self,
        node: DdsNode,
        draw: Callable[[Perception], UInt8Array],
        *,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._node = node
        self._draw = draw
        self._monotonic_s = monotonic_s
        self._due_s = 0.0

    def write(self, perception: Perception) -> None:
        """Publishes the masks of a new result, and the frame if one is due.

        Raises:
            ValueError: the stamp is one that ROS cannot hold.
        """
        if perception.fresh and perception.masks is not None and self._node.listeners(topics.MASKS):
            self._node.publish(topics.MASKS, mask_image_fields(perception))
        now = self._monotonic_s()
        if now >= self._due_s and self._node.listeners(topics.DEBUG_IMAGE):
            self._due_s = now + DEBUG_IMAGE_PERIOD_S
            frame = perception.frame
            fields_of_picture = picture_fields(self._draw(perception), frame.stamp_ns, frame.frame_id)
            self._node.publish(topics.DEBUG_IMAGE, fields_of_picture)

    def close(self) -> None:
        """Nothing to finish."""
