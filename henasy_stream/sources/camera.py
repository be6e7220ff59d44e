"""Cameras through V4L2, and stream URLs through FFmpeg.

No physical camera was tried with this code yet: it is tested with capture objects that play scripts of faults, and with
streams from a local server.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from henasy_stream.errors import UserError
from henasy_stream.sources import _v4l2
from henasy_stream.sources._capture import Capture
from henasy_stream.sources._connection import Connection, Limits
from henasy_stream.sources._live import LiveSource
from henasy_stream.sources._mjpeg import MjpegCapture
from henasy_stream.sources._opencv import cv2
from henasy_stream.sources._stamps import plausible_fps
from henasy_stream.sources.base import CameraOptions
from henasy_stream.sources.uri import redact

_URL_TIMEOUT_MS = 5000


def _open_v4l2(device: str) -> Capture:
    return cv2.VideoCapture(os.path.realpath(device), cv2.CAP_V4L2)


def _open_url(url: str) -> Capture:
    timeouts = (cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, _URL_TIMEOUT_MS, cv2.CAP_PROP_READ_TIMEOUT_MSEC, _URL_TIMEOUT_MS)
    capture = cv2.VideoCapture(url, cv2.CAP_FFMPEG, list(timeouts))
    is_mjpeg = capture.isOpened() and round(capture.get(cv2.CAP_PROP_FOURCC)) == cv2.VideoWriter.fourcc(*"MJPG")
    return MjpegCapture(capture) if is_mjpeg else capture


class CameraSource(LiveSource):
    """A V4L2 camera.  Stamps: the driver's monotonic time of capture where plausible ("device"), else of receipt.

    Args:
        device: /dev/videoN or a link under /dev/v4l/by-id; reconnects go by the link where one exists.
        options: what to ask the camera for.  Without `fourcc`, MJPG is asked for where size and rate need it.
        open_capture: opens a device path; replaced in tests.
        limits: when patience ends.

    Raises:
        UserError: no such camera (lists those that exist), no permission, or it does not open.
    """

    def __init__(
        self,
        device: str,
        options: CameraOptions,
        *,
        open_capture: Callable[[str], Capture] = _open_v4l2,
        limits: Limits | None = None,
    ) -> None:
        self._device = device
        self._options = options
        self._open_capture = open_capture
        self._stable: str | None = None
        super().__init__(device, self._open, what="camera", limits=limits or Limits())

    def _open(self) -> Connection:
        device = self._stable if self._stable is not None and Path(self._stable).exists() else self._device
        _v4l2.check(device)
        formats = _v4l2.formats(device)
        capture = self._open_capture(device)
        if not capture.isOpened():
            capture.release()
            raise UserError(f"{device}: the camera does not open; another program may hold it (fuser -v {device})")
        asked = _ask(capture, self._options, formats)
        size = (round(capture.get(cv2.CAP_PROP_FRAME_WIDTH)), round(capture.get(cv2.CAP_PROP_FRAME_HEIGHT)))
        fps = plausible_fps(capture.get(cv2.CAP_PROP_FPS))
        fourcc = _fourcc(capture)
        notices = [f"{device}: {size[0]}x{size[1]} {fourcc}" + (f" at {fps:g} fps" if fps else "")]
        if self._options.size not in (None, size) or (asked is not None and asked != fourcc):
            wanted = self._options.size or size
            notices[0] += f" instead of {wanted[0]}x{wanted[1]} {asked or ''}".rstrip()
        due = self._options.fps or fps
        hint = _hint(formats, size, due or 30.0)
        if fps and self._options.fps and fps < 0.8 * self._options.fps:
            notices.append(f"{device}: only {fps:g} fps instead of {self._options.fps:g}; {hint}")
        self._stable = _v4l2.stable_name(device)
        if self._stable not in (None, device):
            notices.append(f"{device} may get another number; --camera {self._stable} always means this camera")
        return Connection(
            capture=capture,
            notices=tuple(notices),
            device_time=True,
            gone=lambda: not Path(device).exists(),
            expected_fps=due,
            slow_hint=f"dim light also lengthens exposure; {hint}",
        )


class StreamSource(LiveSource):
    """A live stream URL (rtsp, http, …).  Stamps are times of receipt on the monotonic clock.

    User name and password of the URL go to the server and nowhere else.

    Raises:
        UserError: the stream does not open.
    """

    def __init__(
        self, url: str, *, open_capture: Callable[[str], Capture] = _open_url, limits: Limits | None = None
    ) -> None:
        def connect() -> Connection:
            capture = open_capture(url)
            if not capture.isOpened():
                capture.release()
                host = urlsplit(url).hostname
                raise UserError(
                    f"{redact(url)}: no stream there; check the address, the login, and that {host} answers"
                )
            size = f"{capture.get(cv2.CAP_PROP_FRAME_WIDTH):g}x{capture.get(cv2.CAP_PROP_FRAME_HEIGHT):g}"
            fps = plausible_fps(capture.get(cv2.CAP_PROP_FPS))
            rate = f" at {fps:g} fps" if fps else ""
            return Connection(capture=capture, notices=(f"{redact(url)}: {size}{rate}",))

        # A network that stalls is given longer than a cable; a still scene can decode to equal pictures for seconds.
        timeout_s = _URL_TIMEOUT_MS / 1000
        patience = Limits(first_s=10.0, read_s=timeout_s + 1, stalled_s=timeout_s - 0.1, ended_s=1.0, freeze_s=10.0)
        super().__init__(redact(url), connect, what="stream", limits=limits or patience)


def _ask(capture: Capture, options: CameraOptions, formats: list[_v4l2.Format]) -> str | None:
    """Sets format, size and rate, in the order in which V4L2 wants them; returns the format asked for."""
    fourcc = options.fourcc
    if fourcc is None and _v4l2.wants_mjpg(options.size, options.fps, formats):
        fourcc = "MJPG"
    if fourcc is not None:
        capture.set(cv2.CAP_PROP_FOURCC, sum(ord(c) << 8 * i for i, c in enumerate(fourcc)))
    if options.size is not None:
        capture.set(cv2.CAP_PROP_FRAME_WIDTH, options.size[0])
        capture.set(cv2.CAP_PROP_FRAME_HEIGHT, options.size[1])
    if options.fps is not None:
        capture.set(cv2.CAP_PROP_FPS, options.fps)
    return fourcc


def _fourcc(capture: Capture) -> str:
    code = int(capture.get(cv2.CAP_PROP_FOURCC)) & 0xFFFFFFFF
    text = code.to_bytes(4, "little").decode("ascii", "replace")
    return text if text.isprintable() and text.strip() else "unknown format"


def _hint(formats: list[_v4l2.Format], size: tuple[int, int], fps: float) -> str:
    good = _v4l2.reaching(formats, size, fps)
    if not good:
        return "a smaller size or MJPG may be faster"
    return "these would reach it: " + ", ".join(str(f) for f in good[:3])
