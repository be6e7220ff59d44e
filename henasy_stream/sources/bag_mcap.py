"""MCAP files of a bag."""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from henasy_stream.errors import UserError
from henasy_stream.sources.bag_files import MAX_RECORD_BYTES, Record, Topic, needed

if TYPE_CHECKING:
    from mcap.records import Chunk, McapRecord
    from mcap.summary import Summary


class McapFile:
    """An MCAP file, by its index where it has one.

    Raises:
        UserError: nothing of it can be read, or the package is not installed.
    """

    def __init__(self, path: Path) -> None:
        try:
            import mcap.reader
            import zstandard
        except ImportError as error:
            raise needed(error) from error
        # Everything that the readers of MCAP, zstd and lz4 raise for bytes that are not as they should be.
        self._broken = (
            *(mcap.exceptions.McapError, zstandard.ZstdError, struct.error, ValueError, RuntimeError, EOFError),
            *(MemoryError, OverflowError, KeyError, AssertionError),
        )
        self.path = path
        self._file: BinaryIO = path.open("rb")
        self._cut_off = self._broken_off = False
        self._bad_chunks = 0
        self._names: dict[int, str] = {}
        try:
            self._summary = self._read_summary()
            self._topics = self._list_topics()
        except BaseException:
            self.close()
            raise

    @property
    def damage(self) -> str:
        """See `BagFile`."""
        if self._cut_off:
            return "it was cut off: there is no index at its end; what is whole is read"
        if self._broken_off:
            return "it is damaged; what comes before is read"
        return f"{self._bad_chunks} of its chunks are damaged and left out" if self._bad_chunks else ""

    def topics(self) -> list[Topic]:
        """See `BagFile`."""
        return self._topics

    def read(self, topics: Collection[str]) -> Iterator[Record]:
        """See `BagFile`."""
        from mcap.records import Message

        self._bad_chunks = 0
        for record in self._records(topics):
            if isinstance(record, Message) and self._names.get(record.channel_id) in topics:
                yield Record(topic=self._names[record.channel_id], logged_ns=record.log_time, data=record.data)

    def close(self) -> None:
        """See `BagFile`."""
        self._file.close()

    def _read_summary(self) -> Summary | None:
        from mcap.reader import SeekingReader

        try:
            summary = SeekingReader(self._file, record_size_limit=MAX_RECORD_BYTES).get_summary()
        except self._broken:
            if self._file_begins_wrong():
                raise UserError(f"{self.path}: not an MCAP file; it begins otherwise") from None
            self._cut_off = True
            return None
        return summary if summary is not None and summary.channels and summary.chunk_indexes else None

    def _file_begins_wrong(self) -> bool:
        self._file.seek(0)
        return self._file.read(8) != b"\x89MCAP0\r\n"

    def _list_topics(self) -> list[Topic]:
        from mcap.records import Channel, Message, Schema

        schemas, channels, counts = {}, {}, Counter[int]()
        if self._summary is not None and self._summary.statistics is not None:
            schemas, channels = dict(self._summary.schemas), dict(self._summary.channels)
            counts.update(self._summary.statistics.channel_message_counts)
        else:
            for record in self._records(None):
                if isinstance(record, Schema):
                    schemas[record.id] = record
                elif isinstance(record, Channel):
                    channels[record.id] = record
                elif isinstance(record, Message):
                    counts[record.channel_id] += 1
        self._names = {number: channel.topic for number, channel in channels.items()}
        return [
            Topic(
                name=channel.topic,
                type=schemas[channel.schema_id].name if channel.schema_id in schemas else "",
                count=counts[number],
                encoding=channel.message_encoding,
            )
            for number, channel in channels.items()
        ]

    def _records(self, topics: Collection[str] | None) -> Iterator[McapRecord]:
        """Schemas, channels and messages; of an indexed file only what stands in chunks that hold a topic of these."""
        from mcap.records import Chunk

        for record in self._indexed(topics) if self._summary is not None else self._linear():
            if not isinstance(record, Chunk):
                yield record
                continue
            try:
                inside = self._inside(record)
            except self._broken:
                self._bad_chunks += 1
                continue
            yield from inside

    def _indexed(self, topics: Collection[str] | None) -> Iterator[McapRecord]:
        from mcap.data_stream import ReadDataStream
        from mcap.records import Chunk

        assert self._summary is not None
        wanted = {number for number, channel in self._summary.channels.items() if channel.topic in (topics or ())}
        for place in sorted(self._summary.chunk_indexes, key=lambda index: index.chunk_start_offset):
            held = place.message_index_offsets.keys()
            if topics is not None and held and not held & wanted:
                continue
            self._file.seek(place.chunk_start_offset + 9)  # behind its kind and length
            try:
                chunk = Chunk.read(ReadDataStream(self._file))
            except self._broken:
                chunk = Chunk("", b"", 0, 0, 0, 1)  # is none, and so is counted
            yield chunk

    def _linear(self) -> Iterator[McapRecord]:
        from mcap.stream_reader import StreamReader

        self._file.seek(0)
        reader = StreamReader(self._file, emit_chunks=True, record_size_limit=MAX_RECORD_BYTES)
        try:
            yield from reader.records
        except self._broken:
            self._broken_off = True

    def _inside(self, chunk: Chunk) -> list[McapRecord]:
        """The records of a chunk, its sum checked; a chunk that unpacks to more than a gigabyte is refused."""
        import lz4.frame
        import zstandard
        from mcap.stream_reader import breakup_chunk

        if chunk.uncompressed_size > MAX_RECORD_BYTES:
            raise ValueError(f"a chunk of {chunk.uncompressed_size} bytes")
        data = chunk.data
        if chunk.compression == "zstd":
            with zstandard.ZstdDecompressor().stream_reader(data) as reader:
                data = reader.read(chunk.uncompressed_size)
        elif chunk.compression == "lz4":
            data = lz4.frame.LZ4FrameDecompressor().decompress(data, max_length=chunk.uncompressed_size)
        elif chunk.compression:
            raise ValueError(f"a chunk compressed by {chunk.compression}")
        if len(data) != chunk.uncompressed_size:
            raise ValueError(f"{len(data)} bytes in a chunk of {chunk.uncompressed_size}")
        return breakup_chunk(replace(chunk, compression="", data=data), validate_crc=True)
