"""What a source URI means."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from henasy_stream.errors import UserError
from henasy_stream.sources.base import CameraOptions

if TYPE_CHECKING:
    from henasy_stream.sources.base import Source

_STREAM_SCHEMES = ("rtsp", "rtsps", "rtmp", "http", "https", "udp", "tcp", "srt")
_VIDEO_SUFFIXES = (".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".gif")
_FORMS = (
    "a video file, an image folder or pattern (frames/*.png?fps=10), a camera (0, /dev/video0, /dev/v4l/by-id/…), "
    "rtsp://… or http://…, a ROS 2 bag (bag:recording/), or world"
)


def redact(uri: str) -> str:
    """The URI without user name and password, for logs, messages and errors."""
    return re.sub(r"^([A-Za-z][A-Za-z0-9+.-]*://)[^/?#]*@", r"\1***@", uri)


def open_source(uri: str, *, camera: CameraOptions | None = None) -> Source:
    """Opens whatever `uri` names.

    Args:
        uri: a video file; an image, a folder or a glob of images, with `?fps=10` for their rate; `0`, `camera:0`,
            `/dev/video0` or `/dev/v4l/by-id/…`; `rtsp://`, `http://` and further stream URLs (an http URL that
            ends in a video file's suffix is read to its end, every frame); `bag:PATH?topic=/camera/image_raw`;
            `world?seed=7&size=1280x720`.
        camera: what to ask a camera for.

    Raises:
        UserError: it does not exist, cannot be opened, or holds no picture.
    """
    uri = uri.strip()
    if not uri:
        raise UserError(f"the source is empty: give {_FORMS}")
    device = _camera_device(uri)
    if device is None and camera is not None and camera != CameraOptions():
        raise UserError(f"size, rate and format are options of a camera, and {redact(uri)} is none: leave them out")
    if device is not None:
        from henasy_stream.sources.camera import CameraSource

        return CameraSource(device, camera or CameraOptions())
    if uri == "world" or uri.startswith(("world?", "world:")):
        from henasy_stream.sources.world import WorldSource

        return WorldSource(uri)
    if is_bag(uri):
        from henasy_stream.sources.bag import BagSource

        return BagSource(uri)
    scheme, separator, _ = uri.partition("://")
    if separator:
        return _open_url(uri, scheme.lower())
    from henasy_stream.sources.images import IMAGE_SUFFIXES, ImageSource, split_query

    path, fps = split_query(uri)
    here = Path(path).expanduser()
    is_pattern = any(c in path for c in "*?[") and not here.exists()
    if is_pattern or here.is_dir() or here.suffix.lower() in IMAGE_SUFFIXES:
        return ImageSource(uri)
    if fps is not None:
        raise UserError(f"{uri}: fps is an option of image folders; a video file has its own times, leave it out")
    from henasy_stream.sources.files import FileSource

    return FileSource(uri)


def is_bag(uri: str) -> bool:
    """Whether the URI names a recording of ROS 2: `bag:…`, or a file that can be nothing else."""
    return uri.startswith("bag:") or ("://" not in uri and uri.endswith((".mcap", ".db3")))


def local_path(uri: str) -> Path:
    """The path that a URI would name as a plain file or bag."""
    if uri.startswith("bag:"):
        from henasy_stream.sources.bag_topics import split_bag

        return split_bag(uri)[0]
    return Path(uri).expanduser()


def _camera_device(uri: str) -> str | None:
    """The device path that the URI names, None if it names no camera."""
    explicit = uri.startswith("camera:")
    name = uri.removeprefix("camera:")
    if name.isascii() and name.isdigit():
        return f"/dev/video{int(name)}"
    if name.startswith(("/dev/video", "/dev/v4l/")):
        return name
    if explicit:
        raise UserError(f"{uri}: give the camera's number or device, as camera:0 or camera:/dev/video0")
    return None


def _open_url(uri: str, scheme: str) -> Source:
    if scheme == "file":
        raise UserError(f"{uri}: give the plain path instead of a file:// address")
    if scheme not in _STREAM_SCHEMES:
        raise UserError(f"{redact(uri)}: streams of {scheme}:// are not supported; give {_FORMS}")
    if not urlsplit(uri).netloc:
        raise UserError(f"{uri}: the address has no host; write {scheme}://host/…")
    if scheme in ("http", "https") and urlsplit(uri).path.lower().endswith(_VIDEO_SUFFIXES):
        from henasy_stream.sources.files import FileSource

        return FileSource(uri)
    from henasy_stream.sources.camera import StreamSource

    return StreamSource(uri)
