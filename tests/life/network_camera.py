"""A network camera: MJPEG over HTTP from a real socket, with a switch for everything that such a camera does wrong."""

from __future__ import annotations

import http.server
import threading
import time
from collections.abc import Callable, Iterator

import cv2
import numpy as np

from henasy_stream.types import UInt8Array
from tests.stream.fake import COLOURS, GROUND

Picture = Callable[[int], UInt8Array]
"""Frame number to RGB (H, W, 3)."""


def cup(width: int = 320, height: int = 240, speed: int = 4) -> Picture:
    """A red square, which the fake network calls a cup, on grey; it moves, so no picture equals the one before."""

    def paint(index: int) -> UInt8Array:
        image = np.full((height, width, 3), GROUND, np.uint8)
        side = height // 4
        x = 10 + speed * index % (width - side - 20)
        image[height // 3 : height // 3 + side, x : x + side] = COLOURS["cup"]
        return image

    return paint


def plain(level: int, width: int = 320, height: int = 240) -> Picture:
    """Every pixel the same: 0 for a covered lens, 255 for the sun."""
    return lambda index: np.full((height, width, 3), level, np.uint8)


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A reader that hangs up is part of the game."""


class NetworkCamera:
    """Serves what its attributes say; they may change at any time.

    Attributes:
        picture: painter of the frames.
        fps: pictures a second.
        repeat: how often each picture is sent.
        frozen: sends the same picture again and again.
        silent: sends nothing, the connection stays.
        sent: pictures sent to all readers so far.
        connections: how many readers have connected so far.
        painted_ns: Unix times of the pictures; the first is of index 1.
    """

    def __init__(self, picture: Picture | None = None, *, fps: float = 20.0) -> None:
        self.picture = picture or cup()
        self.fps = fps
        self.repeat = 1
        self.frozen = False
        self.silent = False
        self.sent = 0
        self.connections = 0
        self.painted_ns: list[int] = []
        self._index = 0
        self._part = b""
        self._server: _Server | None = None
        self._cut = threading.Event()
        self.port = 0
        self.plug()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/live"

    def plug(self) -> None:
        """Listens, at the same port as before."""
        camera = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                camera.connections += 1
                self.send_response(200)
                self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
                self.end_headers()
                for part in camera._parts(cut := camera._cut):
                    if cut.is_set():
                        return
                    self.wfile.write(part)

            def log_message(self, *arguments: object) -> None:
                """No noise."""

        self._cut = threading.Event()
        self._server = _Server(("127.0.0.1", self.port), Handler)
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def unplug(self) -> None:
        """Ends every connection and listens no longer."""
        self._cut.set()
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    def _parts(self, cut: threading.Event) -> Iterator[bytes]:
        due = time.monotonic()
        while not cut.is_set():
            if self.silent:
                cut.wait(0.02)
                due = time.monotonic()
                continue
            if not (self.frozen and self._part):
                self._index += 1
                self.painted_ns.append(time.time_ns())
                bgr = cv2.cvtColor(self.picture(self._index), cv2.COLOR_RGB2BGR)
                jpeg = cv2.imencode(".jpg", bgr)[1].tobytes()
                head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
                self._part = head.encode() + jpeg + b"\r\n"
            for _ in range(self.repeat):
                yield self._part
                self.sent += 1
                due = max(due + 1 / self.fps, time.monotonic() - 0.5)
                cut.wait(max(0.0, due - time.monotonic()))
