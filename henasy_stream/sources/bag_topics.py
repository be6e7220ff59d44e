"""Which messages of a bag are read: the path and the topic that a URI names, and what the bag holds."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import parse_qsl

from henasy_stream.errors import UserError
from henasy_stream.sources.bag_files import BagFile, Record, Topic, bag_files, open_file

SCHEME = "bag:"
_LISTED = 12


def split_bag(uri: str) -> tuple[Path, str | None]:
    """The path and the topic of `bag:PATH?topic=NAME`; the topic is None when it is not given.

    Raises:
        UserError: there is no path, or another option than `topic`.
    """
    rest = uri.removeprefix(SCHEME)
    path = Path(rest).expanduser()
    if not rest:
        raise UserError(f"{uri}: give the bag's folder or file, as bag:recording/ or bag:recording.mcap")
    if path.exists() or "?" not in rest:
        return path, None
    name, _, query = rest.rpartition("?")
    options = dict(parse_qsl(query, keep_blank_values=True))
    unknown = sorted(options.keys() - {"topic"})
    if unknown or not options.get("topic"):
        told = f"unknown option {unknown[0]!r} of a bag" if unknown else "no topic is named"
        raise UserError(f"{uri}: {told}; the only one is topic, as bag:{name}?topic=/camera/image_raw")
    return Path(name).expanduser(), options["topic"]


def open_all(path: Path, stack: ExitStack) -> list[BagFile]:
    """Every file of a bag; they are closed with the stack.  Raises UserError, as `bag_files` and `open_file`."""
    files: list[BagFile] = []
    for name in bag_files(path):
        files.append(open_file(name))
        stack.callback(files[-1].close)
    return files


def merge_topics(files: Sequence[BagFile]) -> list[Topic]:
    """The topics of a bag by name, with the messages of all its files."""
    counts: Counter[tuple[str, str, str]] = Counter()
    for topic in (topic for file in files for topic in file.topics()):
        counts[topic.name, topic.type, topic.encoding] += topic.count
    return sorted(Topic(name=n, type=t, encoding=e, count=count) for (n, t, e), count in counts.items())


def choose_topic(uri: str, topics: Sequence[Topic], wanted: str | None, types: Sequence[str]) -> Topic:
    """The topic to read: the one that is wanted, or the only one of these types that holds messages.

    Raises:
        UserError: there is none, or there are several.
    """
    fitting = [t for t in topics if t.type in types and t.encoding == "cdr" and t.count]
    what = types[0].rpartition("/")[2]
    if wanted is not None:
        found = next((t for t in fitting if t.name in (wanted, f"/{wanted}")), None)
        if found is not None:
            return found
        other = next((t for t in topics if t.name == wanted), None)
        if other is not None:
            why = f"holds {_told(other)}; give one of type {' or '.join(types)}"
            raise UserError(f"{uri}: {wanted} {why}, of which there are: {_listing(fitting)}")
        close = difflib.get_close_matches(wanted, [t.name for t in fitting], 1, 0.4)
        hint = f"did you mean {close[0]}? " if close else ""
        raise UserError(f"{uri}: no topic {wanted}; {hint}its topics are: {_listing(topics)}")
    if len(fitting) == 1:
        return fitting[0]
    if not fitting:
        raise UserError(f"{uri}: no {what} in it that can be read; its topics are: {_listing(topics)}")
    example = f"'{uri}?topic={fitting[0].name}'"
    raise UserError(f"{uri}: {len(fitting)} topics of that kind; choose one, as {example}: {_listing(fitting)}")


def records(files: Sequence[BagFile], topic: str) -> Iterator[Record]:
    """The messages of a topic, file by file."""
    for file in files:
        yield from file.read((topic,))


def _listing(topics: Sequence[Topic]) -> str:
    told = [f"{t.name} ({_told(t)})" for t in topics[:_LISTED]]
    more = [f"and {len(topics) - _LISTED} more"] if len(topics) > _LISTED else []
    return ", ".join(told + more) or "none"


def _told(topic: Topic) -> str:
    kind = topic.type or "no type"
    return f"{kind}, {topic.count} messages" + ("" if topic.encoding == "cdr" else f" in {topic.encoding}")
