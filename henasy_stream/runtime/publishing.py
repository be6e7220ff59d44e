"""What `--publish` names: ZeroMQ sockets, ROS 2 topics, or several at once."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from henasy_stream.errors import UserError
from henasy_stream.ros import topics
from henasy_stream.runtime.options import LiveOptions
from henasy_stream.sinks.dds_address import is_dds, parse_address
from henasy_stream.sinks.messages import TOPICS

if TYPE_CHECKING:
    from henasy_stream.preprocess import Rotation
    from henasy_stream.sinks.dds import DdsPictures, DdsSink
    from henasy_stream.sinks.dds_node import DdsNode
    from henasy_stream.sinks.zmq import ZmqSink
    from henasy_stream.types import ModelSpec

_PAUSE_S = 0.01


@dataclass(frozen=True, kw_only=True)
class Publishers:
    """All that is published to.  `ros` are the nodes behind some of the sinks, which take pictures as well."""

    sinks: tuple[ZmqSink | DdsSink, ...] = ()
    ros: tuple[DdsNode, ...] = ()

    def pictures(self, spec: ModelSpec, rotate: Rotation) -> Iterator[DdsPictures]:
        """Outputs of masks and annotated frames for those who listen in ROS.

        Args:
            spec: of the model.
            rotate: degrees clockwise that set the frame upright.
        """
        if not self.ros:
            return
        from henasy_stream.runtime.pictures import drawn
        from henasy_stream.sinks.dds import DdsPictures

        yield from (DdsPictures(node, partial(drawn, spec=spec, rotate=rotate)) for node in self.ros)

    def wait_subscribers(self, count: int, timeout_s: float) -> bool:
        """Waits until `count` subscribers are there, of all addresses together; False when the time is over.

        From then on they miss no message but by being slow.
        """
        deadline = time.monotonic() + timeout_s
        while sum(sink.subscribers for sink in self.sinks) < count:
            if time.monotonic() > deadline:
                return False
            time.sleep(_PAUSE_S)
        return all(sink.wait_subscribers(0, timeout_s) for sink in self.sinks)


def check_publish(options: LiveOptions) -> None:
    """Raises UserError for options about publishing that make no sense together."""
    zmq = [address for address in options.publish_addresses if not is_dds(address)]
    ros = [parse_address(address, os.environ) for address in options.publish_addresses if is_dds(address)]
    for i, address in enumerate(ros):
        if any(address.domain == other.domain for other in ros[:i]):
            raise UserError(f"--publish {address.text}: domain {address.domain} has one already; give one address each")
    for name in ("publish_remote", "publish_masks", "publish_frames", "wait_subscriber"):
        if not getattr(options, name):
            continue
        option = f"--{name.replace('_', '-')}"
        if not options.publish_addresses:
            raise UserError(f"{option}: nothing is published; add --publish zmq://127.0.0.1:5560")
        if name in ("publish_masks", "publish_frames") and not zmq:
            raise UserError(f"{option}: ROS 2 gets masks and pictures when someone listens there; leave it out")


def publish_lines(options: LiveOptions, *, entities: bool) -> Iterator[str]:
    """A line for each address: which topics, and for ROS 2 who can see them.

    Args:
        options: of the command line.
        entities: tracks will be published.
    """
    for text in options.publish_addresses:
        if is_dds(text):
            address = parse_address(text, os.environ)
            home = topics.TRACKS.full_name(address.namespace).removesuffix("tracks")
            reach = "and its network" if options.publish_remote else "only"
            yield f"ROS 2 domain {address.domain}: {home}…, for this machine {reach}"
        else:
            wanted = {"tracks": entities, "masks": options.publish_masks, "frame": options.publish_frames}
            names = [topic.rpartition("/")[2] for topic in TOPICS]
            yield f"{text}: {', '.join(name for name in names if wanted.get(name, True))}"


def open_publishers(options: LiveOptions, stack: ExitStack, on_problem: Callable[[str], None]) -> Publishers:
    """Opens all that `--publish` names.

    Args:
        options: of the command line.
        stack: closes them.
        on_problem: takes a line for the user about what cannot be sent.

    Raises:
        UserError: an address makes no sense, is taken, or needs a package that is not there.
    """
    sinks: list[ZmqSink | DdsSink] = []
    nodes: list[DdsNode] = []
    for text in options.publish_addresses:
        if is_dds(text):
            from henasy_stream.sinks.dds import DdsSink
            from henasy_stream.sinks.dds_node import DdsNode

            node = DdsNode(parse_address(text, os.environ), allow_remote=options.publish_remote)
            sink: ZmqSink | DdsSink = DdsSink(node, on_problem=on_problem)
            nodes.append(node)
        else:
            from henasy_stream.sinks.zmq import ZmqSink

            sink = ZmqSink(text, allow_remote=options.publish_remote)
        stack.callback(sink.close)
        sinks.append(sink)
    return Publishers(sinks=tuple(sinks), ros=tuple(nodes))
