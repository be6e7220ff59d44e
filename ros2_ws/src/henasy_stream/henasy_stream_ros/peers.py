"""Who is at the other end of a topic, and why nothing comes from there.

Free of ROS: `Peer` is what a graph query says of a publisher or a subscription.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from henasy_stream.runtime.options import suggestion


@dataclass(frozen=True, kw_only=True)
class Peer:
    """One publisher or subscription of another node.  `type` is such as sensor_msgs/msg/Image."""

    node: str
    type: str
    reliable: bool
    latched: bool = False


def silence(
    topic: str, wanted_type: str, publishers: Sequence[Peer], *, seconds: float, reliable: bool, others: Sequence[str]
) -> str:
    """Why no image comes, one line that names every publisher and says what to do.

    Args:
        topic: full name.
        wanted_type: of the subscription.
        publishers: of the topic.
        seconds: since the last message.
        reliable: the subscription asks for reliable.
        others: topics that carry images, for a hint.
    """
    start = f"no image on {topic} for {seconds:.0f} s"
    if not publishers:
        close = suggestion(topic, others)
        listed = f"; images are published on {', '.join(sorted(others)[:8])}" if others and not close else close
        return f"{start}: nobody publishes it{listed or '; no topic carries images: is the camera node running?'}"
    problem = mismatch(wanted_type, publishers, reliable=reliable)
    if problem:
        return f"{start}: {problem}"
    names = ", ".join(sorted({peer.node for peer in publishers}))
    return (
        f"{start}, though {names} publishes it: is the camera delivering? Large messages that get lost: "
        "raise net.core.rmem_max (docs/ros2.md)"
    )


def mismatch(wanted_type: str, publishers: Sequence[Peer], *, reliable: bool) -> str:
    """What keeps publishers and the image subscription apart, naming them; empty for nothing."""
    for peer in publishers:
        if peer.type != wanted_type:
            hint = "set the parameter transport to compressed" if peer.type.endswith("CompressedImage") else ""
            hint = hint or ("set the parameter transport to raw" if peer.type == "sensor_msgs/msg/Image" else "")
            return f"{peer.node} publishes {peer.type}, {wanted_type} is wanted; {hint or 'choose another topic'}"
    deaf = sorted({peer.node for peer in publishers if reliable and not peer.reliable})
    if deaf:
        return (
            f"incompatible QoS: {', '.join(deaf)} publishes best effort, reliable is asked for; "
            "set the parameter reliability to best_effort"
        )
    return ""


def refused(topic: str, subscribers: Sequence[Peer], *, latched: bool) -> str:
    """Which subscriptions our publisher cannot serve; empty for none.  Ours are reliable, so durability is left."""
    names = sorted({peer.node for peer in subscribers if peer.latched and not latched})
    if not names:
        return ""
    return f"incompatible QoS: {', '.join(names)} asks {topic} for transient local, which is volatile"
