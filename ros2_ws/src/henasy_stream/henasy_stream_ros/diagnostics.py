"""What the node says of itself on /diagnostics, as fields of diagnostic_msgs.

Free of ROS.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from henasy_stream.ros.fields import ERROR, LEVELS, OK, WARN, Fields
from henasy_stream.sinks.builder import NodeStatus
from henasy_stream_ros.jetson import HOT_C


@dataclass(frozen=True, kw_only=True)
class Health:
    """All that a round of diagnostics is made of.

    lifecycle: state of the node.  status: of the run, None while none is.  values: further ones by name.  problems:
    what is wrong beside the stream (a parameter, QoS), each in one line.  machine: see `jetson.machine`.  topic: that
    images come from.
    """

    lifecycle: str
    topic: str
    status: NodeStatus | None = None
    values: Mapping[str, str] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    machine: Mapping[str, str] = field(default_factory=dict)


def diagnostics(health: Health, node: str) -> list[Fields]:
    """The DiagnosticStatus of the stream, of connections, and of the machine where it says something.

    Args:
        health: of the node.
        node: its full name, `/robot1/henasy_stream`.
    """
    name = node.lstrip("/")
    statuses = [_stream(health, name), _connections(health, name)]
    if health.machine:
        statuses.append(_machine(health, name))
    return statuses


def _stream(health: Health, name: str) -> Fields:
    status = health.status
    if status is None:
        level, text, values = OK, health.lifecycle, {}
    else:
        level = LEVELS[status.state]
        text = f"{status.state}: {status.reason}" if status.reason else status.state
        values = {
            "frames in": str(status.frames_in),
            "frames used": str(status.frames_used),
            "frames dropped": str(status.frames_dropped),
            "frames failed": str(status.frames_failed),
        }
        for stage, percentiles in status.latency_ms.items():
            values[f"{stage} p50 (ms)"] = f"{percentiles.p50:.1f}"
            values[f"{stage} p95 (ms)"] = f"{percentiles.p95:.1f}"
            values[f"{stage} p99 (ms)"] = f"{percentiles.p99:.1f}"
    return _status(f"{name}: stream", level, text, {"lifecycle": health.lifecycle, **values, **health.values}, health)


def _connections(health: Health, name: str) -> Fields:
    text = "; ".join(health.problems)
    values = {f"problem {number}": problem for number, problem in enumerate(health.problems, 1)}
    return _status(f"{name}: connections", ERROR if text else OK, text or "nothing is wrong", values, health)


def _machine(health: Health, name: str) -> Fields:
    temperature = float(health.machine.get("temperature (C)", "0"))
    hot = temperature >= HOT_C
    text = f"{temperature:.0f} C: clocks may be lowered" if hot else "as it should be"
    return _status(f"{name}: machine", WARN if hot else OK, text, dict(health.machine), health)


def _status(name: str, level: int, message: str, values: Mapping[str, str], health: Health) -> Fields:
    return {
        "level": level,
        "name": name,
        "message": message,
        "hardware_id": health.topic,
        "values": [{"key": key, "value": value} for key, value in values.items()],
    }
