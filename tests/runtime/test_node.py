"""The node as a whole, with a network that sees coloured squares and a scripted source."""

from __future__ import annotations

import dataclasses
import io
import json
import threading
import time
from pathlib import Path
from typing import Any

import cv2
import pytest
from rich.console import Console

from henasy_stream import loading, sources
from henasy_stream.client import subscribe
from henasy_stream.errors import UserError
from henasy_stream.runtime.monitor import Heartbeat
from henasy_stream.runtime.node import run
from henasy_stream.runtime.options import LiveOptions
from henasy_stream.runtime.report import Reporter
from henasy_stream.sinks.messages import Message, Status
from henasy_stream.sinks.wire import to_json_line
from henasy_stream.types import Perception
from tests.runtime.parts import CUP, ScriptedSource, fake_model
from tests.stream.fake import film


class Said:
    def __init__(self) -> None:
        self._file = io.StringIO()
        self.reporter = Reporter(Console(file=self._file, width=200, highlight=False, soft_wrap=True))

    @property
    def lines(self) -> list[str]:
        return self._file.getvalue().splitlines()

    def about(self, label: str) -> list[str]:
        return [line.split(maxsplit=1)[1] for line in self.lines if line.startswith(f"{label} ")]


@pytest.fixture
def live(monkeypatch):
    """Runs a node; returns the exit code and what was said."""

    def go(*, model=None, source=None, **options):
        monkeypatch.setattr(loading, "load", lambda *args, **kwargs: model or fake_model())
        source = source or ScriptedSource()
        monkeypatch.setattr(sources, "open_source", lambda uri, camera=None: source)
        said = Said()
        code = run(LiveOptions(source="script", **options), said.reporter)
        assert source.closed
        return code, said

    return go


def record(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_run_is_recorded_and_summarised(live, tmp_path):
    path = tmp_path / "r.jsonl"
    code, said = live(record=str(path), headless=True)
    assert code == 0
    messages = record(path)
    assert {m["topic"] for m in messages} == {f"henasy/1/{t}" for t in ("meta", "status", "tracks", "caption")}
    assert [m["state"] for m in messages if m["topic"] == "henasy/1/status"][-1] == "STOPPING"
    captions = [m for m in messages if m["topic"] == "henasy/1/caption"]
    assert captions[-1]["final"]
    for topic in {m["topic"] for m in messages}:
        assert [m["seq"] for m in messages if m["topic"] == topic] == list(
            range(sum(m["topic"] == topic for m in messages))
        )
    assert said.about("frames")[-1].startswith("in 40 · used ")
    assert said.about("ended")[0].startswith("the source ended")
    tracks = sum(m["topic"] == "henasy/1/tracks" for m in messages)
    assert f"tracks {tracks} · caption {len(captions)} · not sent 0" in said.about("messages")[0]
    assert any(line.startswith("network") for line in said.lines)


def test_stopping_is_the_last_message_however_the_threads_take_turns(live, tmp_path, monkeypatch):
    close = Heartbeat.close

    def late(heartbeat: Heartbeat) -> None:
        time.sleep(0.3)
        close(heartbeat)

    monkeypatch.setattr(Heartbeat, "close", late)
    path = tmp_path / "r.jsonl"
    live(record=str(path), headless=True)
    before, last = record(path)[-2:]
    assert before["topic"] == "henasy/1/caption"
    assert before["final"]
    assert last["state"] == "STOPPING"


def test_a_run_without_outputs_still_runs(live):
    code, said = live(headless=True)
    assert code == 0
    assert said.about("windows") != ["0"]


def test_what_a_client_receives_equals_the_record(live, tmp_path):
    received: list[Message] = []
    path, endpoint = tmp_path / "r.jsonl", f"ipc://{tmp_path}/s"
    subscription = subscribe(endpoint, latest=False, timeout_s=10)

    def client() -> None:
        for message in subscription:
            received.append(message)
            if isinstance(message, Status) and message.state == "STOPPING":
                return

    thread = threading.Thread(target=client)
    thread.start()
    code, _ = live(publish=endpoint, wait_subscriber=1, record=str(path), headless=True, max_fps=100)
    thread.join()
    assert code == 0
    lines = {(m["session"], m["topic"], m["seq"]): m for m in record(path)}
    for message in received:
        assert lines[message.session, message.topic, message.seq] == json.loads(to_json_line(message))
    assert subscription.gaps.total() == 0
    frames = [m for m in received if m.topic.endswith(("tracks", "caption"))]
    assert len(frames) == sum(m["topic"].endswith(("tracks", "caption")) for m in lines.values()) > 10
    subscription.close()


def test_a_network_that_always_fails_ends_with_exit_code_1(live):
    def fails(window: int) -> None:
        if window > 1:  # the first is the warm-up
            raise RuntimeError("no")

    code, said = live(model=fake_model(fails), headless=True)
    assert code == 1
    assert "failed 40" in said.about("frames")[-1]


def test_a_network_that_fails_at_warming_up_may_still_work(live):
    def fails(window: int) -> None:
        if window == 1:
            raise RuntimeError("cold")

    code, said = live(model=fake_model(fails), headless=True)
    assert code == 0
    assert said.about("note") == ["warming up failed (RuntimeError: cold)"]


def test_the_annotated_video_has_every_frame(live, tmp_path):
    path = tmp_path / "a.mp4"
    code, said = live(annotate=str(path), headless=True)
    assert code == 0
    assert any(str(path) in line for line in said.about("file"))
    capture = cv2.VideoCapture(str(path))
    frames = 0
    while capture.read()[0]:
        frames += 1
    assert frames == 40


def test_an_encoder_that_fails_leaves_the_record_whole(live, tmp_path, monkeypatch):
    def fails(*args: object) -> None:
        raise cv2.error("no codec")

    monkeypatch.setattr("henasy_stream.sinks.video.VideoSink.write", fails)
    path = tmp_path / "r.jsonl"
    code, said = live(annotate=str(tmp_path / "a.mp4"), record=str(path), headless=True)
    assert code == 1
    assert sum("no codec" in line for line in said.lines) == 1
    assert "annotate: 40 frames are missing from it" in said.about("note")
    assert [m for m in record(path) if m["topic"] == "henasy/1/caption"][-1]["final"]


def test_without_a_display_it_says_so_and_goes_on(live, monkeypatch):
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    code, said = live()
    assert code == 0
    assert len(said.about("window")) == 1


def test_closing_the_window_ends_the_node(live, monkeypatch):
    class Window:
        closed = False
        shown = 0

        def write(self, perception: Perception, picture: object = None) -> None:
            self.shown += 1
            self.closed = self.shown == 5

        def close(self) -> None:
            pass

    window = Window()
    factory = type("Factory", (), {"available": staticmethod(lambda: (True, "")), "__new__": lambda cls: window})
    monkeypatch.setattr("henasy_stream.sinks.window.WindowSink", factory)
    code, said = live()
    assert (code, window.shown) == (0, 5)
    assert said.about("ended")[0].startswith("the window was closed")


def test_a_full_disk_ends_the_record_and_nothing_else(live):
    code, said = live(record="/dev/full", headless=True)
    assert code == 1
    assert said.about("frames")[-1].startswith("in 40")
    assert sum("No space left" in line for line in said.lines) == 1
    assert "not sent 0" not in said.about("messages")[0]


def test_weights_of_the_synthetic_world_say_once_that_labels_mean_nothing(live):
    model = fake_model()
    model = dataclasses.replace(model, spec=dataclasses.replace(model.spec, synthetic=True))
    _, said = live(model=model, headless=True)
    assert sum("mean nothing" in line for line in said.lines) == 1
    _, said = live(model=model, source=World(), headless=True)
    assert not any("mean nothing" in line for line in said.lines)


class World(ScriptedSource):
    def __init__(self) -> None:
        super().__init__(film(CUP, 0.5))
        self.uri = "world?seed=1"


def test_weights_without_entities_say_so(live, tmp_path):
    path = tmp_path / "r.jsonl"
    _, said = live(
        model=fake_model(capabilities=("caption", "queries")), queries="cup", record=str(path), headless=True
    )
    assert any("no entities" in line for line in said.about("note"))
    messages = record(path)
    assert not any(m["topic"] == "henasy/1/tracks" for m in messages)
    captions = [m for m in messages if m["topic"] == "henasy/1/caption"]
    assert "cup" in [a["text"] for a in captions[0]["alternatives"]]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"weights": "dmeo"}, "did you mean demo?"),
        ({"weights": "nope.safetensors"}, "no such file"),
        ({"phrases": "nope.txt"}, "nope.txt"),
        ({"verbs": "everyday"}, "add --nouns"),
        ({"nouns": "everyday"}, "add --verbs"),
        ({"verbs": "nope.csv", "nouns": "everyday"}, "cannot read the file of verbs nope.csv"),
        ({"verbs": "everyday", "nouns": "everyday", "phrases": "p.txt"}, "leave one of them out"),
        ({"publish_masks": True}, "--publish-masks: nothing is published"),
        ({"wait_subscriber": 2}, "--wait-subscriber: nothing is published"),
        ({"publish": "zmq://0.0.0.0:5560"}, "--publish-remote"),
        ({"record": "script"}, "is the source as well"),
        ({"record": "a.jsonl", "annotate": "./a.jsonl"}, "is --record as well"),
        ({"record": "nowhere/a.jsonl"}, "nowhere does not exist"),
        ({"record": "a.jsonl", "annotate": "a.txt"}, "no video format of that name"),
        ({"record": "a.jsonl", "annotate": "nowhere/a.mp4"}, "nowhere does not exist"),
    ],
)
def test_mistakes_are_found_before_anything_is_written(live, tmp_path, monkeypatch, options, expected):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.jsonl").write_text("kept")
    with pytest.raises(UserError) as error:
        live(headless=True, **options)
    assert expected in str(error.value)
    assert "\n" not in str(error.value)
    assert (tmp_path / "a.jsonl").read_text() == "kept"
