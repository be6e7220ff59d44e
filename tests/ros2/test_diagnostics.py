"""What /diagnostics says."""

from __future__ import annotations

import pytest
from henasy_stream_ros.diagnostics import Health, diagnostics
from henasy_stream_ros.jetson import hottest, machine, power_mode

from henasy_stream.ros.fields import ERROR, OK, WARN
from henasy_stream.sinks.builder import NodeStatus
from henasy_stream.sinks.messages import Percentiles


def by_name(health: Health) -> dict[str, dict[str, object]]:
    return {status["name"].partition(": ")[2]: status for status in diagnostics(health, "/robot/henasy_stream")}


def values(status: dict[str, object]) -> dict[str, str]:
    found = status["values"]
    assert isinstance(found, list)
    return {pair["key"]: pair["value"] for pair in found}


def test_a_running_stream():
    status = NodeStatus(
        state="RUNNING",
        since_ns=1,
        frames_in=10,
        frames_dropped=3,
        latency_ms={"age": Percentiles(p50=4, p95=5, p99=6.25)},
    )
    found = by_name(Health(lifecycle="active", topic="/image", status=status, values={"images (1/s)": "29.9"}))
    assert set(found) == {"stream", "connections"}
    stream = found["stream"]
    assert (stream["level"], stream["message"], stream["hardware_id"]) == (OK, "RUNNING", "/image")
    assert values(stream) == {
        "lifecycle": "active",
        "frames in": "10",
        "frames used": "0",
        "frames dropped": "3",
        "frames failed": "0",
        "age p50 (ms)": "4.0",
        "age p95 (ms)": "5.0",
        "age p99 (ms)": "6.2",
        "images (1/s)": "29.9",
    }
    assert found["connections"]["level"] == OK


@pytest.mark.parametrize(("state", "level"), [("SOURCE_LOST", ERROR), ("STALLED", ERROR), ("STARTING", WARN)])
def test_a_stream_in_trouble_says_why(state, level):
    status = NodeStatus(state=state, since_ns=1, reason="nobody publishes /image")
    stream = by_name(Health(lifecycle="active", topic="", status=status))["stream"]
    assert (stream["level"], stream["message"]) == (level, f"{state}: nobody publishes /image")


def test_a_node_at_rest_is_fine():
    stream = by_name(Health(lifecycle="inactive", topic=""))["stream"]
    assert (stream["level"], stream["message"]) == (OK, "inactive")


def test_problems_are_errors():
    found = by_name(Health(lifecycle="active", topic="", problems=("incompatible QoS: /camera …", "weights: …")))
    assert found["connections"]["level"] == ERROR
    assert found["connections"]["message"] == "incompatible QoS: /camera …; weights: …"


@pytest.mark.parametrize(("temperature", "level"), [("60.0", OK), ("91.0", WARN)])
def test_a_hot_machine_is_a_warning(temperature, level):
    found = by_name(Health(lifecycle="active", topic="", machine={"temperature (C)": temperature}))
    assert found["machine"]["level"] == level


@pytest.fixture
def jetson(tmp_path):
    """The files of a Jetson: three zones of which one is switched off, power mode 2 of a table."""
    for number, text in enumerate(("48250\n", "61500\n", "")):
        zone = tmp_path / f"sys/class/thermal/thermal_zone{number}"
        zone.mkdir(parents=True)
        (zone / "temp").write_text(text)
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/nv_tegra_release").write_text("# R36")
    table = "# a comment\n< POWER_MODEL ID=0 NAME=MAXN >\nCPU_ONLINE CORE_0 1\n< POWER_MODEL ID=2 NAME=25W >\n"
    (tmp_path / "etc/nvpmodel.conf").write_text(table)
    (tmp_path / "var/lib/nvpmodel").mkdir(parents=True)
    (tmp_path / "var/lib/nvpmodel/status").write_text("pmode:0002")
    return tmp_path


def test_a_jetson_is_read(jetson):
    assert machine(jetson) == {"temperature (C)": "61.5", "power mode": "2 (25W)"}


def test_what_cannot_be_read_is_left_out(jetson):
    (jetson / "var/lib/nvpmodel/status").write_text("what?")
    (jetson / "sys/class/thermal/thermal_zone1/temp").write_text("999999999")
    assert machine(jetson) == {"temperature (C)": "48.2"}
    (jetson / "var/lib/nvpmodel/status").unlink()
    assert power_mode(jetson) == ""


def test_a_mode_without_a_name_is_its_number(jetson):
    (jetson / "etc/nvpmodel.conf").unlink()
    assert power_mode(jetson) == "2"


def test_any_other_machine_says_nothing(tmp_path):
    assert machine(tmp_path) == {}
    assert hottest(tmp_path) is None
