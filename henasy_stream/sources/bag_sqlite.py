"""SQLite files of a bag."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path

from henasy_stream.errors import UserError
from henasy_stream.sources.bag_files import Record, Topic


class SqliteFile:
    """A database of rosbag2.

    Raises:
        UserError: nothing of it can be read, or it is another database.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.damage = ""
        # What a killed recorder has not moved into the file yet stands beside it; else the folder is left untouched.
        beside = path.with_name(path.name + "-wal")
        how = "mode=ro" if beside.exists() and beside.stat().st_size else "immutable=1"
        self._database = sqlite3.connect(f"{path.absolute().as_uri()}?{how}", uri=True)
        try:
            # Lets SQLite open a file that is shorter than its own header says.
            self._database.execute("PRAGMA writable_schema=1")
            names = self._database.execute("SELECT id, name, type, serialization_format FROM topics").fetchall()
        except sqlite3.Error as error:
            self.close()
            raise UserError(f"{path}: not a database of rosbag2 that can be read ({error})") from None
        if _cut_off(path):
            self.damage = "it is cut off; what is there is read"
        self._names = {int(row[0]): str(row[1]) for row in names}
        counts = self._count()
        self._topics = [
            Topic(name=str(name), type=str(kind), count=counts[int(number)], encoding=str(encoding))
            for number, name, kind, encoding in names
        ]

    def topics(self) -> list[Topic]:
        """See `BagFile`."""
        return self._topics

    def read(self, topics: Collection[str]) -> Iterator[Record]:
        """See `BagFile`."""
        numbers = [number for number, name in self._names.items() if name in topics]
        marks = ",".join("?" * len(numbers))
        query = f"SELECT topic_id, timestamp, data FROM messages WHERE topic_id IN ({marks}) ORDER BY id"  # noqa: S608
        try:
            for number, stamp, data in self._database.execute(query, numbers):
                if isinstance(stamp, int) and isinstance(data, bytes):
                    yield Record(topic=self._names[number], logged_ns=stamp, data=data)
        except sqlite3.Error as error:
            self.damage = self.damage or f"it is damaged ({error}); what comes before is read"

    def close(self) -> None:
        """See `BagFile`."""
        self._database.close()

    def _count(self) -> Counter[int]:
        counts = Counter[int]()
        try:
            # One by one, so that those before a damaged page are counted.
            for (number,) in self._database.execute("SELECT topic_id FROM messages ORDER BY id"):
                counts[number] += 1
        except sqlite3.Error as error:
            self.damage = self.damage or f"it is damaged ({error}); what comes before is read"
        return counts


def _cut_off(path: Path) -> bool:
    """Whether the file has fewer pages than its header says."""
    with path.open("rb") as file:
        header = file.read(32)
    page_bytes = int.from_bytes(header[16:18], "big")
    pages = int.from_bytes(header[28:32], "big")
    return pages * (65536 if page_bytes == 1 else page_bytes) > path.stat().st_size
