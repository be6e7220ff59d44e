"""Results to topics: what is published, when, and what is not made because nobody listens.

Free of ROS: `Ports` is what publishes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Protocol

from henasy_stream.annotate import annotate
from henasy_stream.ros import fields, images
from henasy_stream.ros.fields import Fields
from henasy_stream.ros.topics import CAPTION, DEBUG_IMAGE, DETECTIONS, MASKS, TRACKS, Topic
from henasy_stream.runtime.outputs import Output
from henasy_stream.sinks import messages
from henasy_stream.types import Perception
from henasy_stream_ros.rates import Rate
from henasy_stream_ros.rectify import Rectifier


class Ports(Protocol):
    """What carries fields to topics."""

    def publish(self, topic: Topic, content: Fields) -> None:
        """Publishes; does nothing while the node is not active."""
        ...

    def listeners(self, topic: Topic) -> int:
        """Subscriptions of others to a topic."""
        ...


class MessageSink:
    """A sink of messages: tracks, detections and captions, to whoever listens.

    Args:
        ports: where to.
    """

    not_sent = 0

    def __init__(self, ports: Ports) -> None:
        self.rate = Rate()
        self._ports = ports

    def send(self, batch: Sequence[messages.Message]) -> None:
        """Publishes what of the batch is a result."""
        for message in batch:
            if isinstance(message, messages.Tracks):
                self.rate.add()
                self._publish(TRACKS, fields.tracks_fields, message)
                self._publish(DETECTIONS, fields.detections_fields, message)
            elif isinstance(message, messages.Caption):
                self._publish(CAPTION, fields.caption_fields, message)

    def close(self) -> None:
        """Nothing to free."""

    def _publish(self, topic: Topic, make: Callable[..., Fields], message: messages.Message) -> None:
        if self._ports.listeners(topic):
            self._ports.publish(topic, make(message))


class MaskOutput:
    """Masks in the pixels that were sent, once a hop, while somebody listens.

    Args:
        ports: where to.
        rectifier: of the source, if it has one.
    """

    def __init__(self, ports: Ports, rectifier: Rectifier | None = None) -> None:
        self._ports = ports
        self._rectifier = rectifier

    def write(self, perception: Perception) -> None:
        """Publishes the masks of a fresh perception."""
        if not perception.fresh or not self._ports.listeners(MASKS):
            return
        content = images.mask_image_fields(perception)
        if self._rectifier is not None:
            index = images.index_in_frame(perception.masks, perception.frame)
            content["data"] = self._rectifier.index_back(index).tobytes()
        self._ports.publish(MASKS, content)

    def close(self) -> None:
        """Nothing to free."""


class DebugOutput:
    """The annotated picture as JPEG, while somebody listens, and no more often than `rate`.

    Attributes:
        rate: pictures a second.
        quality: of the JPEG, 1 to 100.
    """

    def __init__(
        self, ports: Ports, *, rate: float, quality: int, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self.rate = rate
        self.quality = quality
        self._ports = ports
        self._monotonic = monotonic
        self._due = 0.0

    def write(self, perception: Perception) -> None:
        """Draws and publishes, if it is time."""
        now = self._monotonic()
        if now < self._due or not self._ports.listeners(DEBUG_IMAGE):
            return
        self._due = now + 1 / self.rate
        frame = perception.frame
        picture = annotate(frame, perception)
        content = images.picture_fields(picture, perception.stamp_ns, frame.frame_id, self.quality)
        self._ports.publish(DEBUG_IMAGE, content)

    def close(self) -> None:
        """Nothing to free."""


class Unrectified:
    """Hands perceptions on with boxes in the pixels that were sent.

    Args:
        output: that gets them.
        rectifier: that made the pictures.
    """

    def __init__(self, output: Output, rectifier: Rectifier) -> None:
        self._output = output
        self._rectifier = rectifier

    def write(self, perception: Perception) -> None:
        """Takes what one step made of a rectified frame."""
        self._output.write(self._rectifier.back(perception))

    def close(self) -> None:
        """Closes the output."""
        self._output.close()
