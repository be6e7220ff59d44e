"""The node's publishers.  Needs rclpy."""

from __future__ import annotations

from typing import Any

from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy

from henasy_stream.ros.fields import Fields
from henasy_stream.ros.topics import DIAGNOSTICS, TOPICS, Topic
from henasy_stream_ros.fill import fill, message_class
from henasy_stream_ros.peers import Peer


def qos(topic: Topic) -> QoSProfile:
    """Reliable, keep last, latched where the topic is."""
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=topic.depth,
        reliability=ReliabilityPolicy.RELIABLE,
        durability=DurabilityPolicy.TRANSIENT_LOCAL if topic.latched else DurabilityPolicy.VOLATILE,
    )


class RosPorts:
    """Carries fields to topics; made once in the life of a node.  All but diagnostics is silent unless active.

    Args:
        node: a LifecycleNode.
    """

    def __init__(self, node: Any) -> None:
        self._classes = {topic: message_class(topic.type) for topic in TOPICS}
        self._publishers = {
            topic: (node.create_publisher if topic == DIAGNOSTICS else node.create_lifecycle_publisher)(
                self._classes[topic], topic.name, qos(topic)
            )
            for topic in TOPICS
        }

    def publish(self, topic: Topic, content: Fields) -> None:
        """See `Ports.publish`."""
        self._publishers[topic].publish(fill(self._classes[topic](), content))

    def listeners(self, topic: Topic) -> int:
        """See `Ports.listeners`."""
        return int(self._publishers[topic].get_subscription_count())

    def name(self, topic: Topic) -> str:
        """The full name of a topic, remapped as the node was told."""
        return str(self._publishers[topic].topic_name)


def peer(info: Any) -> Peer:
    """A publisher or subscription of rclpy's graph queries."""
    namespace = info.node_namespace.rstrip("/")
    return Peer(
        node=f"{namespace}/{info.node_name}",
        type=info.topic_type,
        reliable=info.qos_profile.reliability == ReliabilityPolicy.RELIABLE,
        latched=info.qos_profile.durability == DurabilityPolicy.TRANSIENT_LOCAL,
    )
