"""The node as a service of systemd's kind: a stand-in for its socket, and the node as a process of its own."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from tests.life.node import Node
from tests.life.service_manager import ServiceManager

WATCHDOG_S = 2.0


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[ServiceManager]:
    manager = ServiceManager(tmp_path / "notify", WATCHDOG_S)
    yield manager
    manager.close()


@pytest.fixture
def trouble(tmp_path: Path) -> Path:
    file = tmp_path / "trouble"
    file.write_text("none")
    return file


def start(node: Callable[..., Node], manager: ServiceManager, trouble: Path, *arguments: str) -> Node:
    environment = {**manager.environment, "TROUBLE": str(trouble)}
    arguments = arguments or ("--source", "world?size=160x120", "--max-fps", "30")
    return node(*arguments, module="tests.life.troubled_live", environment=environment)


def test_a_service_manager_is_told_when_the_node_is_ready_and_when_it_stops(node, manager, trouble):
    running = start(node, manager, trouble)
    assert manager.listen(30, until="READY")
    assert not manager.beats(0)  # the loop did not run before
    assert manager.listen(10, until="WATCHDOG")
    began = time.monotonic()
    manager.listen(2 * WATCHDOG_S)
    beats = [began, *manager.beats(began), time.monotonic()]
    assert max(b - a for a, b in pairwise(beats)) < WATCHDOG_S
    assert manager.last("STATUS").startswith("RUNNING · ")
    assert "frames in" in manager.last("STATUS")
    running.process.send_signal(signal.SIGTERM)
    assert manager.listen(10, until="STOPPING")
    assert manager.last("STATUS") == "stopping: SIGTERM"
    assert running.end() == 0


def test_a_loop_that_hangs_is_ended_by_the_watchdog_and_says_where_it_hung(node, manager, trouble):
    running = start(node, manager, trouble)
    assert manager.listen(30, until="WATCHDOG")
    trouble.write_text("hang")
    manager.listen(1.0)  # until it hangs
    began = time.monotonic()
    manager.listen(1.5 * WATCHDOG_S)
    assert not manager.beats(began)
    assert running.process.poll() is None
    assert running.end(signal.SIGABRT) == -signal.SIGABRT  # as systemd does then
    assert "troubled_live.py" in running.said
    assert "in trouble" in running.said


def test_steps_that_all_fail_do_not_feed_the_watchdog(node, manager, trouble):
    running = start(node, manager, trouble)
    assert manager.listen(30, until="WATCHDOG")
    trouble.write_text("fail")
    running.wait(lambda: "the device is lost" in running.said)
    began = time.monotonic() + 0.5
    manager.listen(1.5 * WATCHDOG_S)
    assert not manager.beats(began)
    trouble.write_text("none")
    assert manager.listen(10, until="WATCHDOG")
    assert running.end() == 0


def test_a_camera_that_is_away_is_no_reason_to_end_the_node(node, manager, trouble, camera):
    running = start(node, manager, trouble, "--source", camera.url)
    assert manager.listen(30, until="WATCHDOG")
    camera.unplug()
    running.wait_state("SOURCE_LOST")
    began = time.monotonic()
    manager.listen(2 * WATCHDOG_S)
    beats = [began, *manager.beats(began), time.monotonic()]
    assert max(b - a for a, b in pairwise(beats)) < WATCHDOG_S
    assert manager.last("STATUS").startswith("SOURCE_LOST · ")
    assert running.end() == 0
