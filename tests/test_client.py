"""What a client sees of a publisher that is slow, damaged, killed or not there."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
import zmq

from henasy_stream import subscription as subscription_module
from henasy_stream.client import main, readable, subscribe
from henasy_stream.errors import UserError
from henasy_stream.sinks import messages, wire
from henasy_stream.sinks.builder import MessageBuilder
from henasy_stream.sinks.zmq import ZmqSink
from henasy_stream.subscription import Subscription
from tests.sinks import synthetic

ROOT = Path(__file__).parents[1]


@contextlib.contextmanager
def publisher_process(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    command = [sys.executable, "-m", "tests.sinks.publisher_process", *arguments]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process, process.stdout.readline().strip()
        finally:
            process.kill()


@pytest.fixture
def sink() -> Iterator[ZmqSink]:
    sink = ZmqSink("zmq://127.0.0.1:0")
    yield sink
    sink.close()


def free_endpoint() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"tcp://127.0.0.1:{probe.getsockname()[1]}"


def tracks_message(builder: MessageBuilder, index: int = 0) -> messages.Message:
    return builder.perception(synthetic.perception(index, caption=None))[0]


def receive(subscription: Subscription, count: int) -> list[messages.Message]:
    out = []
    for _ in range(count):
        message = subscription.receive(10)
        assert message is not None
        out.append(message)
    return out


class TestAgainstTheRecord:
    def test_every_message_is_the_line_with_its_session_topic_and_seq(self, tmp_path: Path) -> None:
        record = tmp_path / "r.jsonl"
        arguments = ("--record", str(record), "--wait", "2", "--count", "200")
        with contextlib.ExitStack() as stack:
            process, endpoint = stack.enter_context(publisher_process(*arguments))
            every = stack.enter_context(subscribe(endpoint, latest=False))
            captions = stack.enter_context(subscribe(endpoint, ["caption"], latest=False))
            got: list[messages.Message] = []
            while not (got and isinstance(got[-1], messages.Status) and got[-1].state == "STOPPING"):
                got += receive(every, 1)
            assert process.wait(10) == 0
            lines = [wire.from_json_line(line) for line in record.read_bytes().splitlines()]
            assert got == lines
            assert every.gaps.total() == 0
            assert every.received.total() == len(lines)
            only_captions = [line for line in lines if isinstance(line, messages.Caption)]
            assert receive(captions, len(only_captions)) == only_captions

    def test_a_client_too_slow_accounts_for_all_it_missed(self, sink: ZmqSink) -> None:
        builder = MessageBuilder(synthetic.SPEC)
        with subscribe(sink.endpoint, ["tracks"], latest=False) as subscription:
            subscription._receiver.socket.setsockopt(zmq.RCVHWM, 5)
            subscription._receiver.socket.disconnect(sink.endpoint)
            subscription._receiver.socket.connect(sink.endpoint)
            assert sink.wait_subscribers(1, 5)
            big = tuple(synthetic.track(n, query="x" * 20_000) for n in range(50))
            for index in range(200):
                sink.send(builder.perception(synthetic.perception(index, tracks=big, caption=None)))
            got = []
            while (message := subscription.receive(0.5)) is not None:
                got.append(message.seq)
            sink.send(builder.perception(synthetic.perception(200, tracks=(), caption=None)))
            got += [m.seq for m in receive(subscription, 1)]
            assert got[0] == 0
            assert got[-1] == 200
            assert len(got) < 201
            assert subscription.gaps.total() == 201 - len(got)


class TestKilled:
    def test_publisher_killed_and_started_again(self) -> None:
        endpoint = free_endpoint()
        with subscribe(endpoint, ["tracks", "status"], latest=False) as subscription:
            sessions = []
            for _ in range(3):
                with publisher_process("--endpoint", endpoint) as (process, _):
                    seen = len(subscription.sessions)
                    while len(subscription.sessions) == seen:
                        receive(subscription, 1)
                    sessions.append(receive(subscription, 20)[-1].session)
                    process.send_signal(signal.SIGKILL)
                    process.wait(10)
            assert len(set(sessions)) == 3
            assert subscription.sessions == sessions
            assert subscription.gaps.total() == 0
            assert subscription.malformed == 0

    def test_client_killed_and_another_started(self) -> None:
        with publisher_process() as (process, endpoint):
            command = [sys.executable, "-m", "henasy_stream.client", endpoint, "--timeout", "20"]
            for _ in range(2):
                with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as reader:
                    assert reader.stdout is not None
                    lines = [reader.stdout.readline() for _ in range(4)]
                    assert any("picks up a cup (0.62)" in line for line in lines)
                    reader.send_signal(signal.SIGKILL)
            with subscribe(endpoint) as subscription:
                receive(subscription, 10)
            assert process.poll() is None

    def test_client_started_first(self) -> None:
        endpoint = free_endpoint()
        with subscribe(endpoint, ["meta"]) as subscription:
            assert subscription.receive(0.2) is None
            with publisher_process("--endpoint", endpoint):
                (message,) = receive(subscription, 1)
        assert isinstance(message, messages.Meta)
        assert message.model_id == "demo"


class TestLatest:
    def test_the_newest_of_each_topic(self, sink: ZmqSink) -> None:
        builder = MessageBuilder(synthetic.SPEC)
        with subscribe(sink.endpoint) as subscription:
            assert sink.wait_subscribers(1, 5)
            for index in range(10):
                sink.send(builder.perception(synthetic.perception(index)))
            time.sleep(0.3)
            got = receive(subscription, 2)
            assert [(m.topic, m.frame_index) for m in got] == [("henasy/1/tracks", 9), ("henasy/1/caption", 9)]
            assert subscription.receive(0.05) is None
            assert subscription.received.total() == 20
            assert subscription.gaps.total() == 0

    def test_two_busy_topics_take_turns(self, sink: ZmqSink) -> None:
        builder = MessageBuilder(synthetic.SPEC)
        with subscribe(sink.endpoint) as subscription:
            assert sink.wait_subscribers(1, 5)
            topics = []
            for index in range(6):
                sink.send(builder.perception(synthetic.perception(index)))
                time.sleep(0.1)
                topics += [m.topic for m in receive(subscription, 1)]
            assert topics == ["henasy/1/tracks", "henasy/1/caption"] * 3


class TestCounting:
    def test_gaps_by_session_and_topic(self, sink: ZmqSink) -> None:
        with subscribe(sink.endpoint, ["tracks"], latest=False) as subscription:
            assert sink.wait_subscribers(1, 5)
            first = MessageBuilder(synthetic.SPEC, session="first")
            sent = [tracks_message(first, i) for i in range(10)]
            # Joined at 2; 4, 5 and 8 are lost.
            sink.send([sent[i] for i in (2, 3, 6, 7, 9)])
            second = MessageBuilder(synthetic.SPEC, session="second")
            again = [tracks_message(second, i) for i in range(4)]
            sink.send([again[i] for i in (0, 1, 3)])
            receive(subscription, 8)
        topic = "henasy/1/tracks"
        assert subscription.gaps == {("first", topic): 3, ("second", topic): 1}
        assert subscription.received == {("first", topic): 5, ("second", topic): 3}
        assert subscription.sessions == ["first", "second"]

    def test_a_repeated_message_is_no_gap(self, sink: ZmqSink) -> None:
        with subscribe(sink.endpoint, ["tracks"], latest=False) as subscription:
            assert sink.wait_subscribers(1, 5)
            builder = MessageBuilder(synthetic.SPEC)
            sent = [tracks_message(builder, i) for i in range(3)]
            sink.send([sent[i] for i in (0, 1, 0, 1, 2)])
            receive(subscription, 5)
        assert subscription.gaps.total() == 0

    def test_malformed_messages_are_counted_and_passed_over(
        self, sink: ZmqSink, caplog: pytest.LogCaptureFixture
    ) -> None:
        good = wire.to_wire(tracks_message(MessageBuilder(synthetic.SPEC)))
        bad = [[good[0]], [good[0], b"\xc1"], [good[0], b""], [good[0], msgspec.msgpack.encode({"seq": "x"})]]
        unknown = [[b"henasy/1/tracks_of_rain", b"\xc1"]]
        with subscribe(sink.endpoint, ["tracks"], latest=False) as subscription, caplog.at_level(logging.WARNING):
            assert sink.wait_subscribers(1, 5)
            for frames in [*bad, *unknown, good]:
                sink._socket.send_multipart(frames)
            receive(subscription, 1)
        assert subscription.malformed == 4
        assert subscription.problem is not None
        assert subscription.problem.startswith("henasy/1/tracks: ")
        assert len(caplog.records) == 1

    def test_a_part_too_large_costs_the_connection_and_no_more(
        self, sink: ZmqSink, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(subscription_module, "MAX_PART_BYTES", 100_000)
        builder = MessageBuilder(synthetic.SPEC)
        with subscribe(sink.endpoint, ["tracks"], latest=False) as subscription:
            assert sink.wait_subscribers(1, 5)
            sink._socket.send_multipart([b"henasy/1/tracks", b"x" * 200_000])
            deadline = time.monotonic() + 10
            while subscription.receive(0.1) is None:
                assert time.monotonic() < deadline
                sink.send([tracks_message(builder)])
        assert subscription.malformed == 0
        assert subscription.problem is not None
        assert "part over 100000 bytes" in subscription.problem

    def test_another_service_at_the_address_gives_way_to_the_publisher(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            address = f"tcp://127.0.0.1:{server.getsockname()[1]}"
            subscription = subscribe(address)
            accepted, _ = server.accept()
            with accepted:
                accepted.sendall(b"SSH-2.0-OpenSSH_9.2\r\n" * 10)
                assert subscription.receive(0.2) is None
        sink = ZmqSink(address)
        builder = MessageBuilder(synthetic.SPEC)
        deadline = time.monotonic() + 10
        while subscription.receive(0.1) is None:
            assert time.monotonic() < deadline
            sink.send([tracks_message(builder)])
        subscription.close()
        sink.close()


class TestUse:
    def test_types_topics_and_parts(self, sink: ZmqSink) -> None:
        batch = MessageBuilder(synthetic.SPEC, masks=True, frame=True).perception(synthetic.perception())
        with subscribe(sink.endpoint, ["henasy/1/tracks", "masks", "frame", "caption"], latest=False) as subscription:
            assert sink.wait_subscribers(1, 5)
            sink.send(batch)
            got = receive(subscription, 4)
        assert got == batch
        assert [type(m) for m in got] == [messages.Tracks, messages.Caption, messages.MasksHeader, messages.FrameHeader]
        assert [m.parts for m in got] == [m.parts for m in batch]
        assert got[2].parts[0].startswith(b"\x89PNG")

    def test_iterating_ends_with_a_timeout_that_names_the_endpoint(self) -> None:
        endpoint = free_endpoint()
        with subscribe(endpoint, timeout_s=0.1) as subscription, pytest.raises(TimeoutError, match=endpoint):
            next(subscription)

    def test_zmq_scheme_is_that_of_the_publisher(self, sink: ZmqSink) -> None:
        with subscribe(sink.endpoint.replace("tcp", "zmq")) as subscription:
            assert sink.wait_subscribers(1, 5)
            sink.send([tracks_message(MessageBuilder(synthetic.SPEC))])
            receive(subscription, 1)

    def test_curve(self, tmp_path: Path) -> None:
        public_file, secret_file = zmq.auth.create_certificates(tmp_path, "henasy")
        sink = ZmqSink("zmq://127.0.0.1:0", curve_secret_file=secret_file)
        with subscribe(sink.endpoint, curve_public_file=public_file) as subscription:
            assert sink.wait_subscribers(1, 5)
            sink.send([tracks_message(MessageBuilder(synthetic.SPEC))])
            receive(subscription, 1)
        sink.close()

    @pytest.mark.parametrize(
        "endpoint", ["", "nonsense", "http://127.0.0.1:80", "tcp://127.0.0.1", "tcp://127.0.0.1:x"]
    )
    def test_what_is_no_endpoint_is_named(self, endpoint: str) -> None:
        with pytest.raises(UserError, match=r"write one like tcp://127\.0\.0\.1:5560"):
            subscribe(endpoint)

    def test_an_unknown_topic_is_named_with_those_there_are(self) -> None:
        with pytest.raises(UserError, match="topic captions: not one of meta, status, tracks, caption, masks, frame"):
            subscribe(topics=["captions"])

    def test_a_key_file_that_is_not_there_is_named(self) -> None:
        with pytest.raises(UserError, match=r"CURVE key nowhere\.key"):
            subscribe(curve_public_file="nowhere.key")

    def test_needs_nothing_but_pyzmq_and_msgspec(self) -> None:
        heavy = {"numpy", "cv2", "torch", "scipy", "tokenizers", "safetensors", "rich", "tyro", "yaml", "ftfy"}
        code = f"import sys, henasy_stream.client; print(*{heavy} & set(sys.modules))"
        done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
        assert done.stdout == "\n"


class TestCommandLine:
    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "henasy_stream.client", *arguments]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)

    def test_prints_captions_and_tracks_for_people(self) -> None:
        with publisher_process("--period", "0.05") as (_, endpoint):
            done = self.run(endpoint, "--count", "30")
        assert done.returncode == 0
        lines = done.stdout.splitlines()
        assert len(lines) == 30
        assert any(line.endswith("caption  picks up a cup (0.62)") for line in lines)
        assert any(line.endswith("caption  picks up a cup (0.62) — ended") for line in lines)
        assert any("tracks   cup#1 0.88  knife#2 0.88" in line for line in lines)
        assert done.stderr.endswith("30 messages, 0 lost, 0 malformed\n")

    def test_relations_and_answers_are_for_people_too(self) -> None:
        body = json.loads((ROOT / "tests/golden/messages/tracks_with_queries.json").read_text("utf-8"))
        message = wire.from_wire([b"henasy/1/tracks", msgspec.msgpack.encode(body)])
        assert message is not None
        line = readable(message)
        assert " | hand#1 picks up my blue cup#4 | 'my blue cup' 0.83 #4 | 'picks up a cup' 0.79 #4 #1 | " in line
        assert line.endswith(" | 'zebra' absent")

    def test_a_caption_that_a_likelier_one_waits_behind_says_so(self) -> None:
        body = json.loads((ROOT / "tests/golden/messages/caption.json").read_text("utf-8"))

        def line(score: float) -> str:
            likely = {"text": "puts down a cup", "score": 0.4}
            packed = msgspec.msgpack.encode(body | {"score": score, "alternatives": [likely]})
            message = wire.from_wire([b"henasy/1/caption", packed])
            assert message is not None
            return readable(message)

        assert "picks up a cup (0.41)" in line(0.41)
        assert "picks up a cup (0.39, held)" in line(0.39)

    def test_prints_json_as_in_a_record(self, tmp_path: Path) -> None:
        record = tmp_path / "r.jsonl"
        with publisher_process("--record", str(record), "--wait", "1", "--count", "10") as (_, endpoint):
            done = self.run(endpoint, "--json", "--count", "21", "--topics", "tracks,caption")
        lines = [line for line in record.read_text("utf-8").splitlines() if '/tracks"' in line or '/caption"' in line]
        assert done.stdout.splitlines() == lines

    def test_ctrl_c_ends_it_with_a_summary(self) -> None:
        with publisher_process() as (_, endpoint):
            command = [sys.executable, "-m", "henasy_stream.client", endpoint]
            with subprocess.Popen(
                command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
            ) as process:
                assert process.stdout is not None
                process.stdout.readline()
                process.send_signal(signal.SIGINT)
                _, errors = process.communicate(timeout=30)
        assert process.returncode == 0
        assert "Traceback" not in errors
        assert errors.strip().endswith("malformed")

    def test_a_reader_that_has_enough_ends_it_quietly(self) -> None:
        with publisher_process() as (_, endpoint):
            command = f"{sys.executable} -m henasy_stream.client {endpoint} | head -n 2"
            done = subprocess.run(
                ["bash", "-c", command], cwd=ROOT, capture_output=True, text=True, timeout=60, env=os.environ
            )
        assert len(done.stdout.splitlines()) == 2
        assert "Error" not in done.stderr

    def test_nobody_who_publishes_is_told_with_what_would(self) -> None:
        endpoint = free_endpoint()
        command = [sys.executable, "-m", "henasy_stream.client", endpoint]
        with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
            assert process.stderr is not None
            said = process.stderr.readline().strip()
            process.kill()
        assert said.startswith(f"nothing from {endpoint} yet")
        assert said.endswith(f"--publish {endpoint.replace('tcp', 'zmq')}")

    def test_nobody_there(self) -> None:
        done = self.run(free_endpoint(), "--timeout", "0.2")
        assert done.returncode == 1
        assert "does a node publish there?" in done.stderr

    def test_a_mistake_is_one_line_and_code_2(self) -> None:
        done = self.run("nonsense")
        assert done.returncode == 2
        assert len(done.stderr.splitlines()) == 1

    @pytest.mark.parametrize(
        ("arguments", "named"),
        [
            (["--timeout", "x"], "--timeout"),
            (["--timeout", "-1"], "--timeout"),
            (["--timeout", "nan"], "--timeout"),
            (["--count", "-3"], "--count"),
            (["--topics"], "--topics"),
            (["--topisc", "meta"], "--topisc"),
            (["one", "two"], "one two"),
            (["--control", "zmq://127.0.0.1:1", "--timeout", "nan", "get"], "--timeout"),
            (["--control", "zmq://127.0.0.1:1"], "get"),
            (["--control", "zmq://127.0.0.1:1", "get", "cup"], "get"),
            (["--control", "zmq://127.0.0.1:1", "put", "cup"], "put"),
            (["--control", "zmq://127.0.0.1:1", "add"], "add"),
            (["--control", "zmq://127.0.0.1:1", "remove"], "remove"),
        ],
    )
    def test_wrong_arguments_are_one_line_and_code_2_before_anything_is_tried(
        self, arguments: list[str], named: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        started = time.monotonic()
        assert main(arguments) == 2
        assert time.monotonic() - started < 5
        said = capsys.readouterr()
        assert said.out == ""
        assert said.err.count("\n") == 1
        assert named in said.err
