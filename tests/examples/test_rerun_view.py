"""The Rerun example on a real record and a real node; needs `pip install rerun-sdk`, which nothing else does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from henasy_stream.sinks.builder import MessageBuilder, NodeStatus
from henasy_stream.sinks.jsonl import JsonlSink
from henasy_stream.sinks.zmq import ZmqSink
from tests.sinks import synthetic

pytest.importorskip("rerun", reason="rerun-sdk is not installed; it is no dependency")

SCRIPT = Path(__file__).parents[2] / "examples" / "rerun_view.py"


def run(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(SCRIPT), *arguments, "--save", "out.rrd"], cwd=folder, stderr=subprocess.PIPE, text=True
    )


def paths(file: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "rerun_cli", "rrd", "print", "-v", str(file)],
        capture_output=True,
        text=True,
        env={**os.environ, "NO_COLOR": "1"},
        check=True,
    )
    return done.stdout


def test_a_record(tmp_path: Path) -> None:
    builder, sink = MessageBuilder(synthetic.SPEC), JsonlSink(tmp_path / "r.jsonl")
    for i in range(3):
        sink.send(builder.perception(synthetic.perception(i)) + builder.heartbeat(synthetic.RUNNING))
    sink.close()
    with run(tmp_path, "r.jsonl") as process:
        assert process.wait(60) == 0
    printed = paths(tmp_path / "out.rrd")
    for path in ("/camera/tracks", "/camera/relations", "/caption", "/score/1", "/node"):
        assert path in printed


def test_a_node(tmp_path: Path) -> None:
    builder = MessageBuilder(synthetic.SPEC, frame=True)
    sink = ZmqSink("tcp://127.0.0.1:*")
    with run(tmp_path, sink.endpoint, "--timeout", "30") as process:
        assert sink.wait_subscribers(1, 30)
        sink.send(builder.perception(synthetic.perception(0)))
        sink.send(builder.heartbeat(NodeStatus(state="STOPPING", since_ns=1)))
        assert process.wait(60) == 0
    sink.close()
    assert "/camera/frame" in paths(tmp_path / "out.rrd")


@pytest.mark.parametrize(
    ("content", "told"), [(None, "No such file"), ("", "holds no message"), ("hello", "not a record of a node")]
)
def test_what_is_no_record(tmp_path: Path, content: str | None, told: str) -> None:
    if content is not None:
        (tmp_path / "r.jsonl").write_text(content)
    with run(tmp_path, "r.jsonl") as process:
        _, said = process.communicate(timeout=60)
    assert process.returncode == 2
    assert told in said
    assert len(said.splitlines()) == 1
