"""The results in a real ROS graph: topics, types, headers, pictures, and boxes of one's own."""

from __future__ import annotations

import time

import cv2
import numpy as np
import pytest

pytest.importorskip("rclpy", reason="no ROS 2 here: rclpy cannot be imported")
pytest.importorskip("henasy_msgs", reason="henasy_msgs is not built or not sourced")

from diagnostic_msgs.msg import DiagnosticStatus
from henasy_msgs.msg import EntityTrack, EntityTrackArray, StreamInfo
from probe import NODE, Camera, ns, seen, until
from sensor_msgs.msg import CompressedImage, Image
from vision_msgs.msg import Detection2D, Detection2DArray, LabelInfo, ObjectHypothesisWithPose, VisionInfo

from henasy_stream.ros.topics import TOPICS


def test_topics_types_headers_and_a_clean_ctrl_c(probe, camera, start):
    process = start("queries:=[cup, hand]")
    tracks = probe.hear(f"{NODE}/tracks")
    captions = probe.hear(f"{NODE}/caption", reliable=True)
    labels = probe.hear(f"{NODE}/label_info", LabelInfo, reliable=True, latched=True)
    about = probe.hear(f"{NODE}/vision_info", VisionInfo, reliable=True, latched=True)
    probe.reach("active")
    until(lambda: len(tracks) > 5 and captions, "results")
    known = dict(probe.node.get_topic_names_and_types())
    for topic in TOPICS:
        assert topic.type in known[topic.full_name()], topic
    for message in (*tracks, *captions):
        assert ns(message.header.stamp) in camera.stamps, "the stamp is not that of an image"
        assert message.header.frame_id == "head"
        assert message.info.clock == StreamInfo.CLOCK_UNIX
        assert message.info.stamp_source == StreamInfo.STAMP_DEVICE
        assert message.info.source == "/image"
    assert [message.info.seq for message in tracks] == sorted({message.info.seq for message in tracks})
    message = seen(tracks)
    assert (message.width, message.height) == (160, 120)
    assert [answer.text for answer in message.queries] == ["cup", "hand"]
    until(lambda: any(message.tracks for message in tracks), "a track")
    track = next(message for message in tracks if message.tracks).tracks[0]
    assert track.id >= 1
    assert track.state in (EntityTrack.STATE_NEW, EntityTrack.STATE_TRACKED, EntityTrack.STATE_LOST)
    x0, y0, x1, y1 = track.box_xyxy
    assert 0 <= x0 <= x1 <= 160
    assert 0 <= y0 <= y1 <= 120
    until(lambda: labels and about, "the vocabulary")
    names = [entry.class_name for entry in labels[0].class_map]
    assert "cup" in names
    assert names[track.label_index] == track.label or track.query
    assert about[0].database_location.startswith("sha256:")
    status = until(lambda: probe.status(), "diagnostics")
    assert status.hardware_id == "/image"
    until(lambda: probe.level() == DiagnosticStatus.OK, "a status that is fine")
    values = probe.values()
    assert float(values["images (1/s)"]) > 5
    assert {"age p50 (ms)", "frames dropped", "results (1/s)", "last image (s ago)"} <= set(values)
    assert process.interrupt() == 0
    assert "Traceback" not in process.output
    until(lambda: captions[-1].final, "the last message of the action")


@pytest.mark.parametrize("reliable", [False, True])
def test_both_kinds_of_publishers_are_heard(probe, start, reliable):
    camera = Camera(probe, reliable=reliable)
    tracks = probe.hear(f"{NODE}/tracks", reliable=True)
    start()
    seen(tracks)
    camera.close()


def test_a_node_of_a_namespace_takes_remapped_topics(probe, start):
    camera = Camera(probe, "/robot1/head/image_raw")
    tracks = probe.hear("/robot1/henasy_stream/tracks", EntityTrackArray)
    start("image_topic:=head/image_raw", arguments=["-r", "__ns:=/robot1"])
    assert seen(tracks).info.source == "/robot1/head/image_raw"
    camera.close()


def test_pictures_are_made_for_listeners_only(probe, camera, start):
    start("debug_image_rate:=3")
    tracks = probe.hear(f"{NODE}/tracks")
    until(lambda: any(m.tracks for m in tracks), "a track")
    pictures = probe.hear(f"{NODE}/debug_image/compressed", CompressedImage)
    masks = probe.hear(f"{NODE}/masks", Image)
    until(lambda: pictures and len(masks) > 3, "pictures")
    pictures.clear()
    time.sleep(3.0)
    assert len(pictures) <= 12, "more pictures than 3 a second"
    picture = cv2.imdecode(np.frombuffer(pictures[-1].data, np.uint8), cv2.IMREAD_COLOR)
    assert picture.shape == (120, 160, 3)
    assert ns(pictures[-1].header.stamp) in camera.stamps
    until(lambda: any(max(m.data) for m in masks), "a mask")
    mask = next(m for m in masks if max(m.data))
    assert (mask.encoding, mask.width, mask.height) == ("mono8", 160, 120)
    about = until(lambda: next((t for t in tracks if t.header.stamp == mask.header.stamp), None), "its tracks")
    assert set(np.unique(mask.data)) - {0} <= {track.mask_index for track in about.tracks}


def test_boxes_of_ones_own_detector(probe, camera, start):
    boxes = probe.node.create_publisher(Detection2DArray, "/boxes", 10)

    def detect(message: Image) -> Image:
        found = Detection2D(header=message.header)
        found.bbox.center.position.x, found.bbox.center.position.y = 80.0, 60.0
        found.bbox.size_x, found.bbox.size_y = 40.0, 30.0
        result = ObjectHypothesisWithPose()
        result.hypothesis.class_id, result.hypothesis.score = "mug", 0.9
        found.results = [result]
        boxes.publish(Detection2DArray(header=message.header, detections=[found]))
        return message

    camera.alter = detect
    tracks, detections = probe.hear(f"{NODE}/tracks"), probe.hear(f"{NODE}/detections", Detection2DArray)
    process = start("detections_topic:=/boxes")
    track = until(lambda: next((t for m in tracks for t in m.tracks if t.label == "mug"), None), "the mug")
    assert list(track.box_xyxy) == pytest.approx([60, 45, 100, 75], abs=3)
    until(lambda: any(d.detections for d in detections), "a detection")
    found = next(d for d in detections if d.detections).detections[0]
    assert found.results[0].hypothesis.class_id == "mug"
    assert found.id == str(track.id)
    unstamped = Detection2DArray()
    boxes.publish(unstamped)
    process.says("boxes have no stamp")


def test_a_camera_of_the_node_s_own(probe, start):
    tracks = probe.hear(f"{NODE}/tracks")
    start("source:=world?size=160x120&fps=10", "frame_id:=head", "max_rate:=5")
    message = seen(tracks)
    assert (message.header.frame_id, message.info.clock) == ("head", StreamInfo.CLOCK_MEDIA)
