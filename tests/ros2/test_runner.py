"""The node's life without ROS, with the demo's weights: transitions, errors in them, and what changes in between."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from henasy_stream_ros.engines import asked_phrases, open_model
from henasy_stream_ros.parameters import Settings, settings
from henasy_stream_ros.runner import Ends, Runner, attempted
from henasy_stream_ros.topic_source import RosClock, TopicSource

from henasy_stream.control import Request
from henasy_stream.errors import UserError
from henasy_stream.loading import load
from henasy_stream.sinks import messages
from henasy_stream.sources import open_source
from henasy_stream.types import Perception
from tests.ros2.test_topic_source import NOW, image


class Log:
    def __init__(self) -> None:
        self.lines: list[tuple[str, str]] = []

    def info(self, message: str) -> None:
        self.lines.append(("info", message))

    def warning(self, message: str) -> None:
        self.lines.append(("warning", message))

    def error(self, message: str) -> None:
        self.lines.append(("error", message))

    def of(self, kind: str) -> list[str]:
        return [text for severity, text in self.lines if severity == kind]


class Kept:
    """A sink that keeps messages."""

    not_sent = 0

    def __init__(self) -> None:
        self.messages: list[messages.Message] = []

    def send(self, batch: Sequence[messages.Message]) -> None:
        self.messages += batch

    def close(self) -> None:
        pass

    def tracks(self) -> list[messages.Tracks]:
        return [message for message in self.messages if isinstance(message, messages.Tracks)]

    def captions(self) -> list[messages.Caption]:
        return [message for message in self.messages if isinstance(message, messages.Caption)]


class World:
    """The synthetic world as an image topic would bring it, as fast as frames are taken."""

    def __init__(self, uri: str = "world?seed=5&size=160x120") -> None:
        self.source = TopicSource("/head/image")
        self._world = open_source(uri)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._feed, daemon=True)
        self._thread.start()

    def _feed(self) -> None:
        for frame in self._world:
            if self._stop.is_set():
                return
            sec, nanosec = divmod(frame.stamp_ns + 10**12, 10**9)
            rgb = frame.image
            message = image(
                sec=sec, nanosec=nanosec, width=frame.width, height=frame.height, encoding="rgb8", step=3 * frame.width,
                data=rgb.tobytes(),
            )  # fmt: skip
            before = self.source.dropped
            self.source.put(message, NOW)
            while self.source.dropped == before and self.source._slot._item is not None and not self._stop.is_set():
                time.sleep(0.0005)

    def close(self) -> None:
        self._stop.set()
        self._thread.join(5)
        self.source.close()


def until(condition: Callable[[], Any], timeout_s: float = 60.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


@pytest.fixture
def log():
    return Log()


@pytest.fixture(scope="module")
def demo():
    return load("demo")


@pytest.fixture
def runner(log, demo, monkeypatch):
    """With the demo's weights loaded once for all tests, save for those that are about loading."""

    def loaded(settings: Settings, report: Callable[[str], None]) -> Any:
        if settings.weights != "demo" or settings.backend != "auto" or settings.resize:
            return open_model(settings, report)
        return demo

    monkeypatch.setattr("henasy_stream_ros.runner.open_model", loaded)
    made = Runner(log)
    yield made
    made.cleanup()


@pytest.fixture
def world():
    made = World()
    yield made
    made.close()


def ends(world: World, sink: Kept, **outputs: Any) -> Ends:
    return Ends(source=world.source, sinks=[sink], outputs=outputs)


def test_a_life(runner, world, log):
    assert runner.state == "unconfigured"
    assert runner.status() is None
    runner.configure(settings({"source": "world"}))
    assert runner.state == "inactive"
    assert any("warmed up" in line for line in log.of("info"))
    sink = Kept()
    runner.activate(ends(world, sink))
    assert runner.state == "active"
    until(lambda: sink.tracks() and sink.captions())
    message = sink.tracks()[0]
    assert (message.frame_id, message.source, message.clock) == ("head", "/head/image", "unix")
    assert message.stamp_ns >= 10**12
    status = runner.status()
    assert status is not None
    assert status.state == "RUNNING"
    runner.deactivate()
    assert runner.state == "inactive"
    after = len(sink.messages)
    time.sleep(0.2)
    assert len(sink.messages) == after, "something is published while inactive"
    assert sink.captions()[-1].final, "the action going on was closed"
    runner.activate(ends(world, again := Kept()))
    until(again.tracks)
    assert again.tracks()[0].session != message.session
    assert again.tracks()[0].seq == 0
    runner.cleanup()
    assert runner.state == "unconfigured"
    assert log.of("error") == []


def test_cleanup_frees_the_model(runner, monkeypatch):
    monkeypatch.setattr("henasy_stream_ros.runner.open_model", open_model)
    runner.configure(settings({}))
    model = weakref.ref(runner.engine.backend)
    engine = weakref.ref(runner.engine)
    runner.cleanup()
    gc.collect()
    assert model() is None
    assert engine() is None


def test_cleanup_ends_a_run(runner, world):
    runner.configure(settings({}))
    runner.activate(ends(world, Kept()))
    runner.cleanup()
    assert runner.state == "unconfigured"
    assert not any(thread.name == "henasy-worker" for thread in threading.enumerate())


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"weights": "nowhere.safetensors"}, "no such file"),
        ({"weights": "dem"}, "did you mean demo?"),
        ({"backend": "tpu"}, "backend 'tpu'"),
        ({"phrases_file": "/nowhere/phrases.txt"}, "/nowhere/phrases.txt"),
    ],
)
def test_what_cannot_be_configured_is_one_line_and_holds_nothing(runner, log, values, says):
    assert not attempted(log, "configure", lambda: runner.configure(settings(values)))
    assert runner.state == "unconfigured"
    (line,) = log.of("error")
    assert line.startswith("configure: ")
    assert says in line
    assert "\n" not in line


def test_an_error_that_is_nobodys_mistake_has_its_traceback(log):
    def fail() -> None:
        raise ZeroDivisionError("three of none")

    assert not attempted(log, "activate", fail)
    (line,) = log.of("error")
    assert line.startswith("activate: ZeroDivisionError: three of none\nTraceback")
    assert "in fail" in line


def test_a_worker_that_dies_is_told_and_may_be_started_again(runner, world, log):
    class Broken(TopicSource):
        def read(self, timeout_s: float = 1.0) -> Any:
            raise OSError("the bus is gone")

    runner.configure(settings({}))
    runner.activate(Ends(source=Broken("/head/image"), sinks=[], outputs={}))
    until(lambda: runner.failure)
    status = runner.status()
    assert status is not None
    assert (status.state, status.reason) == ("STALLED", "the worker died: OSError: the bus is gone")
    assert "Traceback" in log.of("error")[0]
    runner.deactivate()
    runner.activate(ends(world, sink := Kept()))
    until(sink.tracks)
    assert runner.status().state == "RUNNING"


def test_a_step_that_fails_is_survived(runner, world, log, monkeypatch):
    runner.configure(settings({}))
    step = runner.engine.step
    failed: list[Any] = []

    def sometimes(state: Any, frame: Any, entities: Any = ()) -> Any:
        if len(failed) < 3:
            failed.append(frame)
            raise FloatingPointError("not finite")
        return step(state, frame, entities)

    monkeypatch.setattr(runner.engine, "step", sometimes)
    runner.activate(ends(world, sink := Kept()))
    until(sink.tracks)
    assert runner.status().frames_failed == 3
    assert any("not finite" in line for line in log.of("warning"))


def test_an_output_that_fails_takes_nobody_with_it(runner, world, log):
    class Full:
        def write(self, perception: Perception) -> None:
            raise OSError("no space left")

        def close(self) -> None:
            pass

    runner.configure(settings({}))
    runner.activate(ends(world, sink := Kept(), masks=Full()))
    until(lambda: len(sink.tracks()) > 1)
    assert any("masks: no space left" in line for line in log.of("warning"))


def test_queries_change_while_it_runs(runner, world):
    runner.configure(settings({"queries": ["cup"]}))
    runner.activate(ends(world, sink := Kept()))
    reply = runner.ask(Request(add=("hand",)))
    assert reply.queries == ("cup", "hand")
    assert reply.applied_from_frame is not None
    until(lambda: any(len(m.queries) == 2 for m in sink.tracks()))
    assert [q.text for q in sink.tracks()[-1].queries] == ["cup", "hand"]
    assert runner.ask(Request(get="queries")).queries == ("cup", "hand")
    with pytest.raises(UserError, match="no query 'fork' to remove"):
        runner.ask(Request(remove=("fork",)))
    with pytest.raises(UserError, match="1 to 200 letters"):
        runner.ask(Request(set_queries=("q" * 10_000,)))
    assert runner.queries == ("cup", "hand")


def test_queries_change_while_it_rests(runner):
    with pytest.raises(UserError, match="not configured"):
        runner.ask(Request(set_queries=("cup",)))
    runner.configure(settings({}))
    assert runner.ask(Request(set_queries=("cup",))).queries == ("cup",)
    assert runner.queries == ("cup",)
    assert runner.ask(Request(get="queries")).queries == ("cup",)


def test_phrases_change_while_it_runs(runner, world):
    runner.configure(settings({"queries": ["cup"]}))
    runner.activate(ends(world, sink := Kept()))
    until(sink.captions)
    session = sink.captions()[-1].session
    wanted = ("a hand takes a cup", "a hand puts a cup down", "nothing happens")
    assert runner.set_phrases(asked_phrases(wanted, (), ())) == 3
    until(lambda: any(c.session != session for c in sink.captions()))
    assert {c.text for c in sink.captions() if c.session != session} <= set(wanted)
    assert [c.final for c in sink.captions() if c.session == session][-1], "the old session's action was closed"
    assert runner.queries == ("cup",), "queries stay"
    assert runner.set_phrases(asked_phrases((), ("take", "put"), ("cup", "knife"))) == 4
    assert runner.set_phrases(asked_phrases((), (), ())) > 4


def test_phrases_change_while_it_rests(runner):
    with pytest.raises(UserError, match="not configured"):
        runner.set_phrases(("a",))
    runner.configure(settings({}))
    assert runner.set_phrases(("one thing", "another")) == 2
    assert runner.engine.phrases == ("one thing", "another")


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ((("a",), ("b",), ("c",)), "one bank"),
        (((), ("b",), ()), "give both"),
        (((), (), ("b",)), "give both"),
        ((("",), (), ()), "1 to 200 letters"),
        ((("x" * 201,), (), ()), "1 to 200 letters"),
        ((("a\x00b",), (), ()), "control characters"),
        (((), tuple(map(str, range(200))), tuple(map(str, range(200)))), "40000 captions; at most 20000"),
    ],
)
def test_phrases_that_make_no_sense(asked, says):
    with pytest.raises(UserError, match=says):
        asked_phrases(*asked)


def test_a_file_ends_and_is_told(runner, tmp_path, log):
    runner.configure(settings({"source": "world"}))
    pictures = tmp_path / "frames"
    pictures.mkdir()
    import cv2

    for number, frame in zip(range(12), open_source("world?seed=3&size=160x120"), strict=False):
        cv2.imwrite(str(pictures / f"{number:03}.png"), frame.image)
    sink = Kept()
    with RosClock(open_source(f"{pictures}?fps=10"), "head") as source:
        runner.activate(Ends(source=source, sinks=[sink], outputs={}))
        until(lambda: runner.status().state == "STOPPING")
    assert runner.status().reason == "the source ended"
    assert {message.frame_id for message in sink.tracks()} == {"head"}
    assert {message.clock for message in sink.tracks()} == {"media"}
    runner.deactivate()
    assert any("the source ended" in line for line in log.of("info"))


def test_boxes_from_outside_are_tracked(runner, world):
    from henasy_stream_ros.detections import DetectionFeed

    from tests.ros2.test_detections import detection, message

    feed = DetectionFeed("/boxes")
    put = world.source.put

    def with_boxes(raw: Any, received_ns: int) -> None:
        stamp = raw.header.stamp
        feed.put(message(detection(80, 60, 40, 30, ("mug", 0.9)), sec=stamp.sec, nanosec=stamp.nanosec))
        put(raw, received_ns)

    world.source.put = with_boxes
    runner.configure(settings({"detections_topic": "/boxes"}))
    runner.activate(Ends(source=world.source, sinks=[sink := Kept()], outputs={}, feed=feed))
    until(lambda: any(t.label == "mug" and t.state == "tracked" for m in sink.tracks() for t in m.tracks))
    track = next(t for m in sink.tracks() for t in m.tracks if t.label == "mug")
    assert track.box_xyxy == pytest.approx((60, 45, 100, 75), abs=3)


def test_phrases_from_files(runner, tmp_path):
    phrases = tmp_path / "phrases.txt"
    phrases.write_text("cut the onion\nwash the cup\n")
    runner.configure(settings({"phrases_file": str(phrases)}))
    assert runner.engine.phrases == ("cut the onion", "wash the cup")
    runner.cleanup()
    (tmp_path / "verbs.txt").write_text("cut\nwash\n")
    (tmp_path / "nouns.txt").write_text("onion\ncup\npan\n")
    files = {"verbs_file": str(tmp_path / "verbs.txt"), "nouns_file": str(tmp_path / "nouns.txt")}
    runner.configure(settings({**files, "resize": "squash", "span_s": 1.0}))
    assert len(runner.engine.phrases) == 6
    assert runner.engine.spec.resize == "squash"
