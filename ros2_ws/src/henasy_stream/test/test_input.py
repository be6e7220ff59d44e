"""Images as they should not be: none of them kills the node, all of them are told."""

from __future__ import annotations

import array
import time
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("rclpy", reason="no ROS 2 here: rclpy cannot be imported")
pytest.importorskip("henasy_msgs", reason="henasy_msgs is not built or not sourced")

from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticStatus
from henasy_msgs.msg import StreamInfo
from probe import NODE, Camera, Probe, image, more, ns, seen, until
from sensor_msgs.msg import CameraInfo, CompressedImage, Image


def test_stamps_that_are_none(probe, camera, start):
    def unstamped(message: Any) -> Any:
        message.header.stamp = Time()
        return message

    camera.alter = unstamped
    tracks = probe.hear(f"{NODE}/tracks")
    process = start()
    more(tracks, 3)
    for message in tracks:
        assert message.info.stamp_source == StreamInfo.STAMP_RECEIVE
        assert abs(ns(message.header.stamp) - time.time_ns()) < 120 * 10**9
    process.says("headers are stamped zero")
    assert process.output.count("headers are stamped zero") == 1
    for stamp in (Time(sec=-5), Time(sec=5, nanosec=4_000_000_000)):
        camera.alter = lambda message, stamp=stamp: (setattr(message.header, "stamp", stamp), message)[1]
        more(tracks, 2)
    assert process.alive


def bad_images() -> dict[str, Any]:
    blank = np.zeros((6, 8, 3), np.uint8)

    def some(**fields: Any) -> Image:
        return image(blank, time.time_ns(), **fields)

    return {
        "unknown encoding": some(encoding="rgb9"),
        "no encoding": some(encoding=""),
        "long encoding": some(encoding="x" * 10_000),
        "depth": some(encoding="16UC1", step=16),
        "cut short": some(data=array.array("B", bytes(10))),
        "no data": some(data=array.array("B")),
        "step too small": some(step=5),
        "width too large": some(width=4_000_000_000),
        "100 MP": some(width=10_000, height=10_000, step=30_000),
        "0x0": some(width=0, height=0, step=0, data=array.array("B")),
        "odd yuyv": some(width=7, encoding="yuyv"),
    }


def test_bad_images_are_told_and_kill_nobody(probe, camera, start):
    tracks = probe.hear(f"{NODE}/tracks")
    process = start()
    seen(tracks)
    bad = bad_images()
    for name, message in bad.items():
        camera.alter = lambda _, message=message: None
        time.sleep(0.2)
        for _ in range(5):
            camera.publisher.publish(message)
            time.sleep(0.05)
        until(lambda: probe.told().startswith("SOURCE_LOST: an image that is none"), name)
        camera.alter = lambda message: message
        count = len(tracks)
        until(lambda count=count: len(tracks) > count, f"a result after {name}")
    until(lambda: int(probe.values()["images refused"]) >= len(bad), "the count")
    assert process.alive
    assert "Traceback" not in process.output


def test_an_image_of_100_mp_that_really_is_one(probe, camera, start):
    tracks = probe.hear(f"{NODE}/tracks")
    process = start()
    seen(tracks)
    large = Image(width=10_000, height=10_000, encoding="mono8", step=10_000)
    large._data = array.array("B", bytes(100_000_000))
    camera.publisher.publish(large)
    time.sleep(3)
    more(tracks, 3)
    assert process.alive


def test_compressed_images(probe, start):
    def compress(message: Image) -> CompressedImage:
        rgb = np.frombuffer(message.data, np.uint8).reshape(message.height, message.width, 3)
        _, data = cv2.imencode(".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))
        return CompressedImage(header=message.header, format="jpeg", data=array.array("B", data.tobytes()))

    camera = Camera(probe, "/image/compressed", alter=compress)
    tracks = probe.hear(f"{NODE}/tracks")
    process = start("transport:=compressed")
    message = seen(tracks)
    assert (message.width, message.info.source) == (160, "/image/compressed")

    def broken(message: Image) -> CompressedImage:
        return CompressedImage(header=message.header, format="jpeg", data=array.array("B", b"no picture"))

    camera.alter = broken
    until(lambda: "not an image that can be decoded" in probe.told(), "the reason")
    camera.alter = compress
    more(tracks, 2)
    assert process.alive
    camera.close()


def test_silence_says_which_publishers_there_are(probe, start):
    process = start("silence_s:=1", "image_topic:=/nowhere")
    process.says("no image on /nowhere for 1 s: nobody publishes it; no topic carries images")
    until(lambda: probe.level() == DiagnosticStatus.ERROR, "an error")
    other = probe.node.create_publisher(Image, "/camera/color/image_raw", 1)
    process.says("images are published on /camera/color/image_raw")
    probe.node.create_publisher(CompressedImage, "/nowhere", 1)
    process.says("/probe publishes sensor_msgs/msg/CompressedImage, .* set the parameter transport to compressed")
    probe.node.destroy_publisher(other)
    assert process.output.count("nobody publishes it; no topic carries images") == 1, "told again and again"


def test_incompatible_qos_names_the_publisher(probe, camera, start):
    start("reliability:=reliable", "silence_s:=1")
    until(lambda: probe.level("connections") == DiagnosticStatus.ERROR, "an error")
    assert "incompatible QoS: /probe publishes best effort" in probe.told("connections")
    assert "reliability to best_effort" in probe.told("connections")


def test_a_subscriber_that_cannot_be_served_is_named(probe, camera, start):
    viewer = Probe("viewer")
    viewer.hear(f"{NODE}/tracks", latched=True, reliable=True)
    start()
    until(lambda: "/viewer asks" in probe.told("connections"), "its name")
    viewer.close()


def test_rectification_needs_a_camera_info_and_takes_it(probe, camera, start):
    tracks = probe.hear(f"{NODE}/tracks")
    start("rectify:=true", "silence_s:=30")
    until(lambda: "rectify: no CameraInfo has come on /camera_info" in probe.told(), "the reason")
    assert tracks == []
    info = CameraInfo(width=160, height=120, distortion_model="plumb_bob", d=[-0.2, 0.02, 0.0, 0.0, 0.0])
    info.k = [120.0, 0.0, 80.0, 0.0, 120.0, 60.0, 0.0, 0.0, 1.0]
    publisher = probe.node.create_publisher(CameraInfo, "/camera_info", 1)

    def told() -> bool:
        publisher.publish(info)
        return len(tracks) > 2

    until(told, "results")
    assert ns(tracks[-1].header.stamp) in camera.stamps
