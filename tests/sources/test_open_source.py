from __future__ import annotations

import os
import subprocess
import sys

import pytest

from henasy_stream.errors import UserError
from henasy_stream.sources import CameraOptions, open_source
from henasy_stream.sources.uri import redact


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("rtsp://user:p%40ss@cam.local:554/live?x=1", "rtsp://***@cam.local:554/live?x=1"),
        ("http://user:a@b@host/x", "http://***@host/x"),
        ("rtsp://cam/live?mail=a@b", "rtsp://cam/live?mail=a@b"),
        ("videos/a@b.mp4", "videos/a@b.mp4"),
    ],
)
def test_credentials_are_taken_out(uri, shown):
    assert redact(uri) == shown


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("", "empty"),
        ("camera:front", "camera:0"),
        ("ftp://host/a.mp4", "ftp://"),
        ("file:///tmp/a.mp4", "plain path"),
        ("rtsp:///live", "no host"),
        ("/dev/video98", "no such camera"),
        ("camera:98", "/dev/video98"),
        ("98", "/dev/video98"),
        ("/dev/v4l/by-id/usb-none", "no such camera"),
    ],
)
def test_what_cannot_be_opened_is_told_in_one_line(uri, said):
    with pytest.raises(UserError) as caught:
        open_source(uri)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_camera_options_for_a_file_are_a_mistake(videos):
    path = str(videos.write("a.mp4", frames=1))
    with pytest.raises(UserError, match="options of a camera"):
        open_source(path, camera=CameraOptions(fps=30))
    open_source(path, camera=CameraOptions()).close()


def test_a_rate_for_a_video_file_is_a_mistake(videos):
    with pytest.raises(UserError, match="own times"):
        open_source(f"{videos.write('a.mp4', frames=1)}?fps=3")


@pytest.mark.parametrize("wrong", [{"size": (0, 5)}, {"fps": 0}, {"fps": float("nan")}, {"fourcc": "MJPEG"}])
def test_camera_options_are_checked(wrong):
    with pytest.raises(UserError):
        CameraOptions(**wrong)


def test_importing_the_package_does_not_import_opencv():
    code = "import sys; from henasy_stream.sources import EndOfSource; assert 'cv2' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(("given", "kept"), [(None, "SILENT"), ("INFO", "INFO")])
def test_the_users_log_level_is_kept(given, kept):
    code = "import os, henasy_stream.sources.files; print(os.environ['OPENCV_LOG_LEVEL'])"
    environment = {"PATH": "/usr/bin"} | ({"OPENCV_LOG_LEVEL": given} if given else {})
    out = subprocess.run([sys.executable, "-c", code], check=True, env=environment, capture_output=True, text=True)
    assert out.stdout.strip() == kept


def test_decoding_trouble_does_not_write_to_the_terminal(videos):
    path = videos.cut(videos.index_first(videos.write("a.mp4", frames=30, size=(160, 120))), 0.6)
    code = f"import cv2\nfrom henasy_stream.sources import open_source\nprint(len(list(open_source({str(path)!r}))))"
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert int(out.stdout) > 0
    assert out.stderr == ""


@pytest.mark.parametrize(("variables", "threads"), [({}, "1"), ({"OPENCV_FOR_THREADS_NUM": "3"}, "3")])
def test_a_node_has_opencv_work_in_one_thread_unless_told_otherwise(variables, threads):
    code = "from henasy_stream.runtime.node import _need_opencv; _need_opencv(); import cv2; print(cv2.getNumThreads())"
    kept = {name: value for name, value in os.environ.items() if name != "OPENCV_FOR_THREADS_NUM"}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, env=kept | variables, timeout=60, check=True)
    assert done.stdout.strip() == threads
