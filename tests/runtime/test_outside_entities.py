"""`--entities`: a node whose tracks come from somebody else's detector."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import textwrap
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from henasy_stream.client import subscribe
from henasy_stream.live import main
from henasy_stream.sinks.messages import Tracks
from tests.runtime.parts import CUP

ROOT = Path(__file__).parents[2]
NODE = """
import sys
from henasy_stream import live, loading, sources
from tests.runtime.parts import ScriptedSource, fake_model
from tests.stream.fake import film
from tests.runtime.parts import CUP
loading.load = lambda *args, **kwargs: fake_model(capabilities=("caption", "queries"))
sources.open_source = lambda uri, camera=None: ScriptedSource(film(CUP, float(uri)))
sys.exit(live.main(sys.argv[1:]))
"""


def node(*arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", NODE, "--headless", *arguments]
    return subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)


def lines(path: Path, topic: str) -> list[dict[str, Any]]:
    messages = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    return [m for m in messages if m["topic"] == f"henasy/1/{topic}"]


def test_a_file_of_boxes_gives_a_model_without_entities_tracks(tmp_path: Path) -> None:
    boxes, record = tmp_path / "boxes.jsonl", tmp_path / "r.jsonl"
    with boxes.open("w") as file:
        for i in range(40):
            found = [{"label": "blue cup", "box_xyxy": CUP[0].box(i / 20), "score": 0.9}]
            print(json.dumps({"stamp_ns": i * 50_000_000, "entities": found}), file=file)
    process = node("--source", "2", "--entities", f"jsonl:{boxes}", "--record", str(record), "--queries", "cup")
    _, said = process.communicate(timeout=60)
    assert process.returncode == 0, said
    assert re.search(r"^boxes +in 40 · used \d+ · late 0 · ahead 0$", said, re.M)
    assert "from outside: jsonl:" in said
    assert lines(record, "meta")[-1]["capabilities"] == ["caption", "entities", "queries"]
    tracks = lines(record, "tracks")
    assert len(tracks) > 5
    assert {t["id"] for m in tracks for t in m["tracks"]} == {1}
    (last,) = tracks[-1]["tracks"]
    assert (last["hypotheses"][0]["label"], last["label_index"], last["state"]) == ("blue cup", -1, "tracked")
    assert lines(record, "caption")[-1]["text"] == "moves right the cup"


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--entities", "jsonl:nowhere"], "entities nowhere: No such file"),
        (["--entities", "zmq://192.0.2.1:1"], "add --entities-remote"),
        (["--entities-remote"], "add --entities zmq://"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(
    arguments: list[str], problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--source", "world", "--headless", *arguments]) == 2
    said = capsys.readouterr().err
    assert problem in said
    assert said.count("\n") == 1


def test_the_detector_of_the_documentation(tmp_path: Path) -> None:
    """Three processes: the node, the detector as docs/messages.md shows it, and this client."""
    text = (ROOT / "docs/messages.md").read_text("utf-8").split("## Entities from outside")[1]
    (example,) = re.findall(r"```python\n(.*?)```", text, re.S)
    frames, boxes = f"ipc://{tmp_path}/frames", f"ipc://{tmp_path}/boxes"
    example = example.replace("tcp://127.0.0.1:5560", frames).replace("tcp://127.0.0.1:5561", boxes)
    detect = """
        def detect(picture):
            red = (picture[..., 2] > 150) & (picture[..., 1] < 100)
            if red.any():
                rows, columns = np.nonzero(red)
                yield "blue cup", [int(v) for v in (columns.min(), rows.min(), columns.max(), rows.max())], 0.8
        """
    detector = tmp_path / "detector.py"
    detector.write_text(example.replace("\nout = ", f"{textwrap.dedent(detect)}\n\nout = ", 1))
    arguments = ["--source", "30", "--publish", frames, "--publish-frames", "--entities", boxes, "--max-fps", "40"]
    states: Counter[str] = Counter()
    process = node(*arguments)
    other = subprocess.Popen([sys.executable, str(detector)], cwd=ROOT)
    try:
        with subscribe(frames, ["tracks"], latest=False, timeout_s=30) as messages:
            deadline = time.monotonic() + 30
            while states["tracked"] < 5:
                message = next(messages)
                assert isinstance(message, Tracks)
                states.update(t.state for t in message.tracks if t.hypotheses[0].label == "blue cup")
                assert time.monotonic() < deadline
    finally:
        other.kill()
        process.kill()
        process.communicate()
        other.wait()
