"""The managed node's transitions, errors in them, and ends that nobody wished for."""

from __future__ import annotations

import time

import pytest

pytest.importorskip("rclpy", reason="no ROS 2 here: rclpy cannot be imported")
pytest.importorskip("henasy_msgs", reason="henasy_msgs is not built or not sourced")

from probe import NODE, Camera, Probe, more, seen, set_parameter, until


def test_lifecycle(probe, camera, start):
    process = start(autostart=False)
    tracks, captions = probe.hear(f"{NODE}/tracks"), probe.hear(f"{NODE}/caption", reliable=True)
    probe.reach("unconfigured")
    assert probe.transition("configure")
    assert probe.state() == "inactive"
    until(lambda: probe.node.count_subscribers("/image"), "the subscription")
    time.sleep(1.0)
    assert tracks == []
    assert probe.transition("activate")
    session = seen(tracks).info.session
    seen(captions)
    assert probe.transition("deactivate")
    assert probe.state() == "inactive"
    assert probe.node.count_subscribers("/image") == 1, "a deactivation destroys a live subscription"
    time.sleep(0.5)
    count = len(tracks)
    assert captions[-1].final
    time.sleep(1.0)
    assert len(tracks) == count, "something is published while inactive"
    assert probe.transition("activate")
    until(lambda: tracks[-1].info.session != session, "a new session")
    assert probe.transition("deactivate")
    assert probe.transition("cleanup")
    assert probe.state() == "unconfigured"
    for _ in range(3):
        assert probe.transition("configure")
        assert probe.transition("activate")
        more(tracks, 2)
        assert probe.transition("deactivate")
        assert probe.transition("cleanup")
    assert process.alive
    assert process.interrupt() == 0
    assert "Traceback" not in process.output


def test_errors_in_transitions_are_told_and_end_in_the_right_state(probe, camera, start):
    process = start("weights:=/nowhere/weights.safetensors", autostart=False)
    probe.reach("unconfigured")
    assert not probe.transition("configure")
    assert probe.state() == "unconfigured"
    process.says(r"configure: weights '/nowhere/weights.safetensors': no such file")
    assert set_parameter(probe, "weights", "demo") == (True, "")
    assert set_parameter(probe, "source", "/nowhere/video.mp4") == (True, "")
    assert probe.transition("configure")
    assert not probe.transition("activate")
    assert probe.state() == "inactive"
    process.says(r"activate: .*/nowhere/video.mp4")
    assert probe.transition("cleanup")
    assert set_parameter(probe, "source", "") == (True, "")
    assert probe.transition("configure")
    assert probe.transition("activate")
    tracks = probe.hear(f"{NODE}/tracks")
    seen(tracks)
    assert not probe.transition("configure"), "there is no such transition now"
    process.says("transition: ")
    more(tracks)
    assert process.alive


def test_killed_and_started_again(probe, camera, start):
    tracks = probe.hear(f"{NODE}/tracks")
    first = start()
    session = seen(tracks).info.session
    first.kill()
    time.sleep(0.5)
    count = len(tracks)
    start()
    until(lambda: len(tracks) > count, "a result of the second")
    assert tracks[-1].info.session != session


def test_the_camera_s_node_starts_again(probe, start):
    other = Probe("camera")
    camera = Camera(other)
    tracks = probe.hear(f"{NODE}/tracks")
    start("silence_s:=1.0")
    seen(tracks)
    camera.close()
    other.close()
    until(lambda: probe.told().startswith("SOURCE_LOST"), "the loss in the diagnostics")
    assert "nobody publishes it" in probe.told()
    count = len(tracks)
    other = Probe("camera")
    camera = Camera(other)
    until(lambda: len(tracks) > count + 2, "results after the camera came back")
    until(lambda: probe.told().startswith("RUNNING"), "RUNNING")
    camera.close()
    other.close()
