"""What `--record` names: a JSONL file, or MCAP where the name ends in .mcap."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from henasy_stream.errors import UserError
from henasy_stream.runtime.options import LiveOptions

if TYPE_CHECKING:
    from henasy_stream.sinks.jsonl import JsonlSink
    from henasy_stream.sinks.mcap import McapSink


def check_record(options: LiveOptions) -> None:
    """Raises UserError for options about recording that make no sense together."""
    if options.record_frames and (options.record is None or not _is_mcap(options.record)):
        raise UserError("--record-frames: only MCAP holds pictures; add --record out.mcap")


def open_record(
    options: LiveOptions, on_problem: Callable[[str], None]
) -> tuple[JsonlSink | McapSink | None, McapSink | None]:
    """The sink for messages and the output for pictures that record; the same object, or None.

    Args:
        options: of the command line.
        on_problem: takes a line for the user about what cannot be recorded.

    Raises:
        UserError: the file cannot be created, or needs a package that is not there.
    """
    if options.record is None:
        return None, None
    path = Path(options.record).expanduser()
    if _is_mcap(options.record):
        from henasy_stream.sinks.mcap import McapSink

        sink = McapSink(path, frames=options.record_frames, on_problem=on_problem)
        return sink, sink
    from henasy_stream.sinks.jsonl import JsonlSink

    return JsonlSink(path, on_problem=on_problem), None


def _is_mcap(name: str) -> bool:
    return name.lower().endswith(".mcap")
