"""A DDS participant with the writers of a ROS 2 node, through Eclipse Cyclone DDS's Python package.

ROS 2 sees topics as it sees those of its own nodes; the participant itself is none, so `ros2 node list` has no entry.
"""

from __future__ import annotations

import os
import platform
import threading
from functools import cache
from typing import TYPE_CHECKING, Any

from henasy_stream.errors import UserError
from henasy_stream.ros import cdr
from henasy_stream.ros.fields import Fields
from henasy_stream.ros.interfaces import Field, fields
from henasy_stream.ros.topics import TOPICS, Topic
from henasy_stream.ros.type_hash import type_hash
from henasy_stream.sinks.dds_address import DdsAddress

if TYPE_CHECKING:
    from cyclonedds.core import Qos
    from cyclonedds.domain import DomainParticipant

_DOMAIN = """\
<CycloneDDS><Domain Id="any">
  {general}<Internal><WriterLingerDuration>250 ms</WriterLingerDuration></Internal>
</Domain></CycloneDDS>"""
# How long closing may wait, for each writer, for readers that have not confirmed its last messages (`final`).

LOOPBACK = _DOMAIN.format(
    general='<General><Interfaces><NetworkInterface address="127.0.0.1" multicast="true"/></Interfaces></General>'
)
"""Configuration of Cyclone DDS that keeps a domain on this machine: what it sends with is bound to loopback."""

_POLICIES = {2: "durability", 4: "deadline", 8: "liveliness", 11: "reliability"}
"""Of DDS's numbers for what a reader may ask for, those that ROS's readers do."""


class DdsNode:
    """Writers for all topics of a node.  No call waits for a reader.  May be used from several threads.

    Args:
        address: domain and namespace.
        allow_remote: be part of the domain on the network, as CYCLONEDDS_URI says if it is set; else on loopback only.

    Raises:
        UserError: there is no Cyclone DDS for Python, or it cannot join the domain.
    """

    def __init__(self, address: DdsAddress, *, allow_remote: bool = False) -> None:
        _need_cyclone(address.text)
        from cyclonedds.core import DDSException
        from cyclonedds.domain import Domain, DomainParticipant

        self.not_sent = 0
        self._address = address
        self._remote = allow_remote
        self._lock = threading.Lock()
        try:
            domain = Domain(address.domain, _network() if allow_remote else LOOPBACK)
            participant = DomainParticipant(address.domain)
            self._writers: dict[Topic, Any] = {topic: _open(participant, topic, address.namespace) for topic in TOPICS}
        except DDSException as error:
            raise UserError(
                f"publish {address.text}: DDS cannot join domain {address.domain} ({error.msg}); "
                "check CYCLONEDDS_URI, or name another domain, such as ros2://?domain=7"
            ) from error
        self._kept_alive: tuple[object, ...] = (domain, participant)

    def listeners(self, topic: Topic) -> int:
        """How many readers of other participants are matched with the topic."""
        writer = self._writers.get(topic)
        return 0 if writer is None else len(writer.get_matched_subscriptions())

    def refused(self, topic: Topic) -> str | None:
        """The policy for which a reader and the topic did not come together; None: that never happened."""
        writer = self._writers.get(topic)
        status = None if writer is None else writer.get_offered_incompatible_qos_status()
        return _POLICIES.get(status.last_policy_id, "QoS") if status is not None and status.total_count else None

    def reach(self) -> str:
        """Who can see the topics, and what to do where that is not enough."""
        where = f"domain {self._address.domain} is seen"
        if self._remote:
            return f"{where} on the network; is ROS_DOMAIN_ID the same there? (docs/dds.md, 'Who sees it')"
        return (
            f"{where} on this machine only, and there ROS with Cyclone DDS needs a setting: "
            "--publish-remote, or docs/dds.md, 'Who sees it'"
        )

    def publish(self, topic: Topic, values: Fields) -> None:
        """Writes a message; counts it in `not_sent` when DDS has no room for it.

        Raises:
            ValueError: a value does not fit its field.
        """
        from cyclonedds.core import DDSException

        data = cdr.encode(topic.type, values)
        writer = self._writers.get(topic)
        if writer is None:
            return
        try:
            writer.write(_sample(writer.data_type, data))
        except DDSException:
            with self._lock:
                self.not_sent += 1

    def close(self) -> None:
        """Leaves the domain; calling it again does nothing.  Messages on their way get a quarter of a second."""
        # Cyclone DDS's objects free what they stand for when nothing refers to them.
        self._writers = {}
        self._kept_alive = ()


def _network() -> str:
    """The user's own configuration, or the package's defaults, which are those of ROS."""
    return ",".join(filter(None, (_DOMAIN.format(general=""), os.environ.get("CYCLONEDDS_URI"))))


def _open(participant: DomainParticipant, topic: Topic, namespace: str) -> Any:
    from cyclonedds.pub import DataWriter
    from cyclonedds.topic import Topic as DdsTopic

    dds_topic: Any = DdsTopic(participant, "rt" + topic.full_name(namespace), _topic_type(topic.type))
    return DataWriter(participant, dds_topic, qos=_qos(topic))


def _qos(topic: Topic) -> Qos:
    from cyclonedds.core import Policy, Qos

    return Qos(
        # How long a write may wait for readers that lag behind: not at all.
        Policy.Reliability.Reliable(0),
        Policy.History.KeepLast(topic.depth),
        Policy.Durability.TransientLocal if topic.latched else Policy.Durability.Volatile,
        # As ROS's writers: the end of a node sends no message about it.
        Policy.WriterDataLifecycle(autodispose=False),
        # Where ROS looks for the hash of the type, since Iron.
        Policy.Userdata(f"typehash={type_hash(topic.type)};".encode()),
        Policy.DataRepresentation(use_cdrv0_representation=True),
    )


def _sample(kind: Any, data: bytes) -> Any:
    sample = kind.__new__(kind)
    sample.data = data
    return sample


def _encoded(sample: Any, **_: object) -> bytes:
    return sample.data


@cache
def _topic_type(name: str) -> type:
    """A type whose samples are bytes already, in place of the package's own encoder, see `ros.cdr`."""
    kind: Any = _idl(name)
    kind.serialize = _encoded
    return kind


@cache
def _part_type(name: str) -> type:
    return _idl(name)


def _idl(name: str) -> type:
    """The type of Cyclone DDS by which a topic is known: `std_msgs::msg::dds_::Header_` for std_msgs/msg/Header."""
    from cyclonedds.idl import make_idl_struct

    package, _, message = name.partition("/msg/")
    members = {field.name: _member(field) for field in fields(name)}
    return make_idl_struct(message, f"{package}::msg::dds_::{message}_", members)


def _member(field: Field) -> Any:
    import cyclonedds.idl.types

    types: Any = cyclonedds.idl.types
    primitives = {"bool": bool, "string": str}
    if field.is_message:
        kind = _part_type(field.type)
    else:
        kind = primitives.get(field.type) or getattr(types, field.type)
    if field.size is None:
        return kind
    return types.array[kind, field.size] if field.size else types.sequence[kind]


def _need_cyclone(address: str) -> None:
    try:
        import cyclonedds.domain  # noqa: F401
    except Exception as error:  # the package raises its own kinds when its library cannot be loaded
        if platform.machine() in ("aarch64", "arm64") and platform.system() == "Linux":
            remedy = (
                "it has no wheel for this machine: build it (docs/dds.md, 'On aarch64'), or run the node in ROS: "
                "ros2 launch henasy_stream node.launch.py"
            )
        else:
            remedy = "pip install 'henasy-stream[ros2]' (Python 3.10 to 3.13)"
        raise UserError(f"publish {address}: needs the package cyclonedds ({error}); {remedy}") from error
