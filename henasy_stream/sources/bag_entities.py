"""Boxes of a detector that were recorded in a bag: `--entities bag:PATH?topic=/detections`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack

from henasy_stream.sources.bag_files import Record
from henasy_stream.sources.bag_messages import DETECTIONS, Decoder, stamp_of
from henasy_stream.sources.bag_topics import choose_topic, merge_topics, open_all, records, split_bag
from henasy_stream.sources.ros_boxes import boxes_of
from henasy_stream.types import EntityBoxes, Frame


class BagFeed:
    """The messages of one topic, in the order of the bag, each when its frame comes.

    A message without a stamp has the bag's own time, as images have.

    Args:
        address: `bag:PATH` or `bag:PATH?topic=NAME`.
        ahead_ns: how far ahead of a frame the bag is read.

    Raises:
        UserError: it is no bag, or there is no such topic, or several and none was named.
    """

    def __init__(self, address: str, ahead_ns: int) -> None:
        self.malformed = 0
        self._address = address
        self._ahead_ns = ahead_ns
        self._notices: list[str] = []
        path, wanted = split_bag(address)
        self._decode = Decoder()
        with ExitStack() as stack:
            self._files = open_all(path, stack)
            self._topic = choose_topic(f"entities {address}", merge_topics(self._files), wanted, (DETECTIONS,))
            self._open = stack.pop_all()
        self._boxes: Iterator[EntityBoxes] = iter(())
        self._next: EntityBoxes | None = None
        self._last_ns: int | None = None

    @property
    def notices(self) -> Sequence[str]:
        """Remarks for the user since the last call."""
        told, self._notices = self._notices, []
        return told

    def take(self, frame: Frame) -> Sequence[EntityBoxes]:
        """The boxes up to a little beyond the frame; all from there again after stamps went back."""
        if self._last_ns is None or frame.stamp_ns < self._last_ns:
            self._boxes = self._read()
            self._next = next(self._boxes, None)
            while self._next is not None and self._next.stamp_ns < frame.stamp_ns - self._ahead_ns:
                self._next = next(self._boxes, None)
        self._last_ns = frame.stamp_ns
        found = []
        while self._next is not None and self._next.stamp_ns <= frame.stamp_ns + self._ahead_ns:
            found.append(self._next)
            self._next = next(self._boxes, None)
        return found

    def close(self) -> None:
        """Closes the bag."""
        self._boxes = iter(())
        self._open.close()

    def _read(self) -> Iterator[EntityBoxes]:
        found = map(self._boxes_of, records(self._files, self._topic.name))
        return (boxes for boxes in found if boxes is not None)

    def _boxes_of(self, record: Record) -> EntityBoxes | None:
        try:
            message = self._decode(record, DETECTIONS)
            return EntityBoxes(stamp_ns=stamp_of(message.header) or record.logged_ns, boxes=boxes_of(message))
        except ValueError as error:
            self.malformed += 1
            if self.malformed == 1:
                self._notices.append(f"entities {self._address}: {error}; such messages are passed over and counted")
            return None
