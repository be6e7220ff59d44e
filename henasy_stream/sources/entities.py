"""Where entities from outside come from: a file of lines or a bag for what is recorded, ZeroMQ for live sources."""

from __future__ import annotations

import difflib
import ipaddress
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, Protocol

import numpy as np

from henasy_stream.errors import UserError
from henasy_stream.sinks.incoming import MAX_BYTES, Entities, entities_from_line, entities_from_wire
from henasy_stream.sinks.wire import MessageError
from henasy_stream.types import EntityBox, EntityBoxes, Frame

AHEAD_NS = 500_000_000
"""How far ahead of a frame a file is read: boxes belong to the nearest frame, which may be the one before them."""
_MOST_A_FRAME = 256
_FORMS = "give jsonl:FILE, bag:PATH or zmq://127.0.0.1:PORT (docs/messages.md)"


class EntityFeed(Protocol):
    """Boxes as they come."""

    malformed: int

    @property
    def notices(self) -> Sequence[str]:
        """Remarks for the user since the last call."""
        ...

    def take(self, frame: Frame) -> Sequence[EntityBoxes]:
        """What has come by the time of a frame and was not taken before.  Never waits."""
        ...

    def close(self) -> None:
        """Closes the file or the socket."""
        ...


def open_entities(address: str, *, allow_remote: bool = False) -> EntityFeed:
    """Opens what `--entities` names: `jsonl:FILE`, `bag:PATH?topic=NAME`, `zmq://host:port` or `ipc://path`.

    Args:
        address: where the boxes come from.
        allow_remote: take them from another machine as well.

    Raises:
        UserError: the address makes no sense or needs `allow_remote`; the file is not there, or a line of it is wrong.
    """
    scheme, separator, rest = address.partition(":")
    if scheme == "jsonl" and rest:
        return FileFeed(Path(rest).expanduser())
    if scheme == "bag" and rest:
        from henasy_stream.sources.bag_entities import BagFeed

        return BagFeed(address, AHEAD_NS)
    if scheme in ("zmq", "tcp", "ipc") and rest.startswith("//") and len(rest) > 2:
        if scheme != "ipc" and not allow_remote and not _is_loopback(rest[2:].rpartition(":")[0] or rest[2:]):
            raise UserError(
                f"entities {address}: comes from another machine; add --entities-remote if that may say what is seen"
            )
        return LiveFeed(address)
    close = difflib.get_close_matches(scheme, ("jsonl", "zmq", "bag"), 1, 0.5) if separator else []
    raise UserError(f"entities {address}: {f'did you mean {close[0]}:? ' if close else ''}{_FORMS}")


class FileFeed:
    """The lines of a file, in the order of their stamps whatever their order there.

    All lines are checked when it is opened; of each no more than its stamp and place is kept.

    Raises:
        UserError: the file cannot be read, or a line is wrong.
    """

    malformed = 0
    notices: Sequence[str] = ()

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._file: BinaryIO = path.open("rb")
        except OSError as error:
            raise UserError(f"entities {path}: {error.strerror or error}; check the path") from error
        try:
            self._stamps, self._places = self._index()
        except BaseException:
            self.close()
            raise
        self._next: int | None = None
        self._last_ns = 0

    def take(self, frame: Frame) -> Sequence[EntityBoxes]:
        """The lines up to half a second beyond the frame; all from there again after stamps went back."""
        if self._next is None or frame.stamp_ns < self._last_ns:
            self._next = int(np.searchsorted(self._stamps, frame.stamp_ns - AHEAD_NS))
        self._last_ns = frame.stamp_ns
        end = int(np.searchsorted(self._stamps, frame.stamp_ns + AHEAD_NS, "right"))
        first, self._next = self._next, max(self._next, end)
        return [as_boxes(self._read(place)) for place in self._places[first : self._next]]

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

    def _index(self) -> tuple[np.ndarray[tuple[int], np.dtype[np.int64]], np.ndarray[tuple[int], np.dtype[np.int64]]]:
        stamps, places, number = [], [], 0
        while True:
            place, number = self._file.tell(), number + 1
            line = self._file.readline(MAX_BYTES + 1)
            if not line:
                break
            if not line.strip():
                continue
            try:
                stamps.append(entities_from_line(line).stamp_ns)
            except MessageError as error:
                raise UserError(
                    f"entities {self._path}, line {number}: {error}; write lines as in docs/messages.md"
                ) from error
            places.append(place)
        if not stamps:
            raise UserError(f"entities {self._path}: holds no line; write one for each frame")
        order = np.argsort(np.array(stamps, np.int64), kind="stable")
        return np.array(stamps, np.int64)[order], np.array(places, np.int64)[order]

    def _read(self, place: int) -> Entities:
        self._file.seek(int(place))
        return entities_from_line(self._file.readline(MAX_BYTES + 1))


class LiveFeed:
    """What a publisher sends under `henasy/1/entities`; it need not be there yet and may restart.

    Attributes:
        malformed: messages that were none, and connections that a message too long has cost.
    """

    def __init__(self, endpoint: str) -> None:
        from henasy_stream.receiver import Receiver

        self.malformed = 0
        self._notices: list[str] = []
        self._endpoint = endpoint
        self._receiver = Receiver(endpoint, [Entities.topic], max_part_bytes=MAX_BYTES)

    @property
    def notices(self) -> Sequence[str]:
        """Remarks for the user since the last call."""
        told, self._notices = self._notices, []
        return told

    def take(self, frame: Frame) -> Sequence[EntityBoxes]:
        """What has arrived; a flood is taken in portions, so that it cannot hold up the frames."""
        found = []
        for _ in range(_MOST_A_FRAME):
            parts = self._receiver.read()
            if parts is None:
                if self._receiver.revive():
                    self._is_wrong(
                        f"the connection was lost to a message over {MAX_BYTES} bytes or to another protocol"
                    )
                break
            if parts[0] != Entities.topic.encode():
                continue
            try:
                found.append(as_boxes(entities_from_wire(parts[1] if len(parts) > 1 else b"")))
            except MessageError as error:
                self._is_wrong(str(error))
        return found

    def close(self) -> None:
        """Disconnects."""
        self._receiver.close()

    def _is_wrong(self, problem: str) -> None:
        self.malformed += 1
        if self.malformed == 1:
            self._notices.append(f"entities {self._endpoint}: {problem}; such messages are passed over and counted")


def as_boxes(message: Entities) -> EntityBoxes:
    """The message as the stream knows it."""
    boxes = tuple(EntityBox(label=e.label, box_xyxy=e.box_xyxy, score=e.score) for e in message.entities)
    return EntityBoxes(stamp_ns=message.stamp_ns, boxes=boxes)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
