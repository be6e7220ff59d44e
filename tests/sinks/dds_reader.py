"""A DDS participant of its own: reads the topics of a node and prints what it sees, one JSON object a line.

    python -m tests.sinks.dds_reader DOMAIN NAMESPACE SECONDS [TOPIC[!] …]

With "!" it asks the topic for old messages (transient local), which most do not offer.  First the lines about writers,
as discovery tells them; then a line for each message, decoded by Cyclone DDS.  It knows types and names by the table of
the package, and nothing of its encoder.
"""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from typing import Any

from cyclonedds.builtin import BuiltinDataReader, BuiltinTopicDcpsPublication
from cyclonedds.core import Policy, Qos
from cyclonedds.domain import Domain, DomainParticipant
from cyclonedds.sub import DataReader
from cyclonedds.topic import Topic as DdsTopic

from henasy_stream.ros.topics import DEBUG_IMAGE, TOPICS, Topic
from henasy_stream.sinks.dds_node import LOOPBACK, _part_type


def qos(topic: Topic, old: bool) -> Qos:
    """What ROS subscriptions ask for: best effort as for sensors for one of the images, reliable for all else."""
    return Qos(
        Policy.Reliability.BestEffort if topic is DEBUG_IMAGE else Policy.Reliability.Reliable(100_000_000),
        Policy.History.KeepLast(50),
        Policy.Durability.TransientLocal if topic.latched or old else Policy.Durability.Volatile,
    )


def show(**line: Any) -> None:
    print(json.dumps(line), flush=True)


def writer_line(sample: Any) -> dict[str, Any]:
    about = sample.qos
    return {
        "writer": sample.topic_name,
        "type": sample.type_name,
        "user_data": about[Policy.Userdata].data.decode(),
        "reliable": isinstance(about[Policy.Reliability], Policy.Reliability.Reliable),
        "transient_local": about[Policy.Durability] == Policy.Durability.TransientLocal,
    }


def main(domain: int, namespace: str, seconds: float, names: list[str]) -> None:
    """Reads for some seconds, or until it is told to end."""
    kept = Domain(domain, LOOPBACK)
    participant = DomainParticipant(domain)
    writers = BuiltinDataReader(participant, BuiltinTopicDcpsPublication)
    wanted = [topic for topic in TOPICS if not names or {topic.name, topic.name + "!"} & set(names)]
    readers: dict[str, Any] = {
        topic.name: DataReader(
            participant,
            DdsTopic(participant, "rt" + topic.full_name(namespace), _part_type(topic.type)),
            qos=qos(topic, old=topic.name + "!" in names),
        )
        for topic in wanted
    }
    show(ready=True)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for sample in writers.take(50):
            if (sample.topic_name or "").startswith("rt/"):  # None when a writer goes
                show(**writer_line(sample))
        for name, reader in readers.items():
            valid = (sample for sample in reader.take(50) if sample.sample_info.valid_data)
            for sample in valid:
                show(topic=name, values=dataclasses.asdict(sample))
        time.sleep(0.01)
    del kept


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], float(sys.argv[3]), sys.argv[4:])
