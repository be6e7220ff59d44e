"""The record: whole lines, whatever happens."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from henasy_stream.errors import UserError
from henasy_stream.sinks import messages, wire
from henasy_stream.sinks.builder import MessageBuilder
from henasy_stream.sinks.jsonl import JsonlSink
from tests.sinks import synthetic

ROOT = Path(__file__).parents[2]


def batches(count: int) -> list[list[messages.Message]]:
    builder = MessageBuilder(synthetic.SPEC)
    return [builder.perception(synthetic.perception(i)) for i in range(count)]


def test_one_line_a_message_there_at_once(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    sink = JsonlSink(path)
    sent = []
    for batch in batches(3):
        sink.send(batch)
        sent += batch
        assert [wire.from_json_line(line) for line in path.read_bytes().splitlines()] == sent
    sink.close()
    first = json.loads(path.read_text("utf-8").splitlines()[0])
    assert list(first)[:3] == ["topic", "session", "seq"]
    assert first["topic"] == "henasy/1/tracks"
    assert sink.problem is None
    assert sink.not_sent == 0


def test_replaces_a_file_that_is_there(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    path.write_text("old\n" * 10_000)
    sink = JsonlSink(path)
    sink.send(batches(1)[0])
    sink.close()
    assert "old" not in path.read_text("utf-8")


@pytest.mark.parametrize("place", ["no/such/folder/r.jsonl", ".", "/proc/r.jsonl"])
def test_refuses_a_place_where_it_cannot_write(tmp_path: Path, place: str) -> None:
    with pytest.raises(UserError) as caught:
        JsonlSink(tmp_path / place)
    assert str(caught.value).startswith(f"record {tmp_path / place}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_refuses_a_file_of_somebody_else(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    path.touch(mode=0o444)
    with pytest.raises(UserError, match="name a file that you may write"):
        JsonlSink(path)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_is_reported_once_and_what_is_lost_is_counted() -> None:
    problems: list[str] = []
    sink = JsonlSink("/dev/full", on_problem=problems.append)
    for batch in batches(3):
        sink.send(batch)
    sink.close()
    assert sink.not_sent == 6
    assert problems == [sink.problem]
    assert "/dev/full: No space left on device" in problems[0]
    assert "the first 0 messages are kept" in problems[0]


def test_a_file_that_may_not_grow_ends_with_a_whole_line(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    code = f"""
        import resource
        from henasy_stream.sinks.jsonl import JsonlSink
        from tests.sinks.test_jsonl import batches
        sink = JsonlSink({str(path)!r}, on_problem=print)
        everything = batches(20)
        resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
        for batch in everything:
            sink.send(batch)
        sink.close()
        print(sink.lines, sink.not_sent)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    report, counts = done.stdout.splitlines()
    kept, lost = map(int, counts.split())
    assert f"the first {kept} messages are kept" in report
    assert kept > 0
    assert kept + lost == 40
    data = path.read_bytes()
    assert data.endswith(b"\n")
    assert 0 < len(data) <= 5000
    lines = [wire.from_json_line(line) for line in data.splitlines()]
    assert len(lines) == kept


def test_a_killed_process_leaves_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "r.jsonl"
    code = f"""
        from henasy_stream.sinks.jsonl import JsonlSink
        from tests.sinks.test_jsonl import batches
        sink = JsonlSink({str(path)!r})
        everything = batches(50)
        print("go", flush=True)
        while True:
            for batch in everything:
                sink.send(batch)
    """
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "go\n"
        while not path.stat().st_size:
            pass
        process.send_signal(signal.SIGKILL)
    data = path.read_bytes()
    assert data.endswith(b"\n")
    assert all(wire.from_json_line(line) is not None for line in data.splitlines())
