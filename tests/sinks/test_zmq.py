"""The publisher's socket: where it binds, that it never waits, and that nobody is lost at either end."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq
import zmq.auth

from henasy_stream.errors import UserError
from henasy_stream.sinks import messages, wire
from henasy_stream.sinks.builder import MessageBuilder
from henasy_stream.sinks.zmq import SEND_HIGH_WATER_MARK, ZmqSink
from tests.sinks import synthetic

ROOT = Path(__file__).parents[2]
ANY_PORT = "zmq://127.0.0.1:0"


@pytest.fixture
def sink() -> Iterator[ZmqSink]:
    sink = ZmqSink(ANY_PORT)
    yield sink
    sink.close()


@pytest.fixture
def context() -> Iterator[zmq.Context[zmq.Socket[bytes]]]:
    context = zmq.Context()
    yield context
    context.destroy(linger=0)


def subscriber(
    context: zmq.Context[zmq.Socket[bytes]], sink: ZmqSink, *prefixes: str, high_water_mark: int = 1000
) -> zmq.Socket[bytes]:
    socket = context.socket(zmq.SUB)
    socket.setsockopt(zmq.RCVTIMEO, 5000)
    socket.setsockopt(zmq.RCVHWM, high_water_mark)
    for prefix in prefixes:
        socket.setsockopt_string(zmq.SUBSCRIBE, prefix)
    socket.connect(sink.endpoint)
    return socket


def test_sends_topic_body_and_parts(sink: ZmqSink, context: zmq.Context[zmq.Socket[bytes]]) -> None:
    socket = subscriber(context, sink, "")
    assert sink.wait_subscribers(1, 5)
    batch = MessageBuilder(synthetic.SPEC, masks=True, frame=True).perception(synthetic.perception())
    sink.send(batch)
    received = [socket.recv_multipart() for _ in batch]
    assert received == [wire.to_wire(message) for message in batch]
    assert [len(frames) for frames in received] == [2, 2, 3, 3]
    assert sink.not_sent == 0


def test_waits_for_subscribers_and_sees_them_go(sink: ZmqSink, context: zmq.Context[zmq.Socket[bytes]]) -> None:
    assert not sink.wait_subscribers(1, 0.05)
    first = subscriber(context, sink, "henasy/1/tracks", "henasy/1/caption")
    assert sink.wait_subscribers(1, 5)
    assert not sink.wait_subscribers(2, 0.05)
    second = subscriber(context, sink, "henasy/1/tracks")
    assert sink.wait_subscribers(2, 5)
    first.close()
    deadline = time.monotonic() + 5
    while sink.subscribers != 1:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    second.close()


def test_topics_that_nobody_wants_any_more_are_forgotten(
    sink: ZmqSink, context: zmq.Context[zmq.Socket[bytes]]
) -> None:
    client = subscriber(context, sink)
    for number in range(50):
        client.setsockopt_string(zmq.SUBSCRIBE, f"henasy/1/tracks-{number}")
        client.setsockopt_string(zmq.UNSUBSCRIBE, f"henasy/1/tracks-{number}")
    client.setsockopt_string(zmq.SUBSCRIBE, "henasy/1/tr")
    deadline = time.monotonic() + 20
    while b"henasy/1/tr" not in sink._subscriptions and time.monotonic() < deadline:
        assert sink.wait_subscribers(1, timeout_s=20)
    assert set(sink._subscriptions) == {b"henasy/1/tr"}


def test_from_the_first_message_on_nothing_is_lost(sink: ZmqSink, context: zmq.Context[zmq.Socket[bytes]]) -> None:
    sockets = [subscriber(context, sink, *messages.TOPICS) for _ in range(3)]
    assert sink.wait_subscribers(3, 5)
    batch = MessageBuilder(synthetic.SPEC).perception(synthetic.perception())
    sink.send(batch)
    for socket in sockets:
        assert [socket.recv_multipart() for _ in batch] == [wire.to_wire(m) for m in batch]


def test_a_slow_subscriber_neither_blocks_nor_costs_the_others_anything(
    sink: ZmqSink, context: zmq.Context[zmq.Socket[bytes]]
) -> None:
    slow = subscriber(context, sink, "henasy/1/tracks", high_water_mark=1)
    quick = subscriber(context, sink, "henasy/1/tracks")
    assert sink.wait_subscribers(2, 5)
    builder = MessageBuilder(synthetic.SPEC)
    tracks = tuple(synthetic.track(n, query="x" * 20_000) for n in range(50))
    sent, longest = 400, 0.0
    for index in range(sent):
        (message,) = builder.perception(synthetic.perception(index, tracks=tracks, caption=None))
        start = time.perf_counter()
        sink.send([message])
        longest = max(longest, time.perf_counter() - start)
        received = wire.from_wire(quick.recv_multipart())
        assert received is not None
        assert received.seq == index
    assert longest < 0.5
    slow.setsockopt(zmq.RCVTIMEO, 500)
    got = []
    try:
        while True:
            message_or_none = wire.from_wire(slow.recv_multipart())
            assert message_or_none is not None
            got.append(message_or_none.seq)
    except zmq.Again:
        pass
    assert got == sorted(set(got))
    assert 0 < len(got) < sent


def test_the_last_messages_leave_before_it_closes(context: zmq.Context[zmq.Socket[bytes]]) -> None:
    sink = ZmqSink(ANY_PORT)
    socket = subscriber(context, sink, "")
    assert sink.wait_subscribers(1, 5)
    builder = MessageBuilder(synthetic.SPEC)
    batch = [m for i in range(SEND_HIGH_WATER_MARK // 2) for m in builder.perception(synthetic.perception(i))]
    sink.send(batch)
    sink.close()
    assert [socket.recv_multipart() for _ in batch] == [wire.to_wire(m) for m in batch]


def test_closing_does_not_wait_for_a_subscriber_that_sleeps(context: zmq.Context[zmq.Socket[bytes]]) -> None:
    sink = ZmqSink(ANY_PORT)
    asleep = subscriber(context, sink, "", high_water_mark=1)
    assert sink.wait_subscribers(1, 5)
    (message, *_) = MessageBuilder(synthetic.SPEC).perception(
        synthetic.perception(tracks=(synthetic.track(1, query="x" * 2_000_000),))
    )
    sink.send([message] * SEND_HIGH_WATER_MARK)
    start = time.monotonic()
    sink.close()
    assert time.monotonic() - start < 2
    asleep.close()


class TestAddress:
    def test_in_use(self, sink: ZmqSink) -> None:
        address = sink.endpoint.replace("tcp://", "zmq://")
        with pytest.raises(UserError) as caught:
            ZmqSink(address)
        line = str(caught.value)
        assert line.startswith(f"publish {address}: the address is in use: ")
        assert "--publish zmq://127.0.0.1:" in line
        assert "\n" not in line

    @pytest.mark.parametrize(
        "endpoint",
        ["zmq://*:0", "zmq://0.0.0.0:0", "tcp://192.168.7.9:5560", "zmq://[::]:0", "zmq://eth0:0", "zmq://a.b:1"],
    )
    def test_other_machines_are_let_in_only_on_request(self, endpoint: str) -> None:
        with pytest.raises(UserError, match="--publish-remote"):
            ZmqSink(endpoint)

    def test_all_addresses_on_request(self) -> None:
        ZmqSink("zmq://*:0", allow_remote=True).close()

    @pytest.mark.parametrize("endpoint", ["zmq://localhost:0", "tcp://127.0.0.1:*", "zmq://127.3.2.1:0"])
    def test_this_machine_needs_no_permission(self, endpoint: str) -> None:
        ZmqSink(endpoint).close()

    @pytest.mark.parametrize(
        "endpoint",
        [
            "",
            "5560",
            "127.0.0.1:5560",
            "zmq://",
            "zmq://127.0.0.1",
            "zmq://:5560",
            "http://127.0.0.1:1",
            "zmq://127.0.0.1:x",
            "zmq://127.0.0.1:65536",
            "zmq://127.0.0.1:-1",
            "zmq://127.0.0.1:٣",
            "ipc://",
        ],
    )
    def test_what_is_no_endpoint_is_named_and_an_example_given(self, endpoint: str) -> None:
        with pytest.raises(UserError) as caught:
            ZmqSink(endpoint)
        assert str(caught.value).startswith(f"publish {endpoint}: ")
        assert "zmq://127.0.0.1:5560" in str(caught.value)

    def test_an_address_of_another_machine(self) -> None:
        with pytest.raises(UserError, match="name an address of this machine"):
            ZmqSink("zmq://192.0.2.1:5560", allow_remote=True)


class TestIpc:
    def test_carries_messages(self, tmp_path: Path, context: zmq.Context[zmq.Socket[bytes]]) -> None:
        sink = ZmqSink(f"ipc://{tmp_path}/s")
        socket = subscriber(context, sink, "")
        assert sink.wait_subscribers(1, 5)
        batch = MessageBuilder(synthetic.SPEC).perception(synthetic.perception())
        sink.send(batch)
        assert socket.recv_multipart() == wire.to_wire(batch[0])
        sink.close()

    def test_does_not_take_the_place_of_a_running_publisher(self, tmp_path: Path) -> None:
        sink = ZmqSink(f"ipc://{tmp_path}/s")
        with pytest.raises(UserError, match="in use"):
            ZmqSink(f"ipc://{tmp_path}/s")
        sink.close()

    def test_takes_the_place_of_one_that_was_killed(self, tmp_path: Path) -> None:
        code = f"import os; from henasy_stream.sinks.zmq import ZmqSink; s = ZmqSink('ipc://{tmp_path}/s'); os._exit(0)"
        subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
        assert (tmp_path / "s").is_socket()
        ZmqSink(f"ipc://{tmp_path}/s").close()

    def test_never_deletes_a_file(self, tmp_path: Path) -> None:
        (tmp_path / "s").write_text("precious")
        with pytest.raises(UserError, match="exists and is no socket"):
            ZmqSink(f"ipc://{tmp_path}/s")
        assert (tmp_path / "s").read_text() == "precious"

    def test_in_a_folder_that_is_not_there(self, tmp_path: Path) -> None:
        with pytest.raises(UserError, match="no/s"):
            ZmqSink(f"ipc://{tmp_path}/no/s")


class TestCurve:
    def test_only_who_knows_the_publisher_can_read(
        self, tmp_path: Path, context: zmq.Context[zmq.Socket[bytes]]
    ) -> None:
        public_file, secret_file = zmq.auth.create_certificates(tmp_path, "henasy")
        sink = ZmqSink(ANY_PORT, curve_secret_file=secret_file)
        plain = subscriber(context, sink, "")
        secure = context.socket(zmq.SUB)
        secure.setsockopt(zmq.RCVTIMEO, 5000)
        secure.setsockopt(zmq.SUBSCRIBE, b"")
        secure.curve_publickey, secure.curve_secretkey = zmq.curve_keypair()
        secure.curve_serverkey = zmq.auth.load_certificate(public_file)[0]
        secure.connect(sink.endpoint)
        assert sink.wait_subscribers(1, 5)
        assert sink.subscribers == 1
        batch = MessageBuilder(synthetic.SPEC).perception(synthetic.perception())
        sink.send(batch)
        assert secure.recv_multipart() == wire.to_wire(batch[0])
        assert not plain.poll(100)
        sink.close()

    def test_the_public_file_is_not_enough_to_publish(self, tmp_path: Path) -> None:
        public_file, _ = zmq.auth.create_certificates(tmp_path, "henasy")
        with pytest.raises(UserError, match="key_secret"):
            ZmqSink(ANY_PORT, curve_secret_file=public_file)

    @pytest.mark.parametrize("content", [None, "", "curve\n", "\x00\xff"])
    def test_a_file_that_is_no_key_is_named(self, tmp_path: Path, content: str | None) -> None:
        file = tmp_path / "k"
        if content is not None:
            file.write_text(content)
        with pytest.raises(UserError, match=f"CURVE key {file}"):
            ZmqSink(ANY_PORT, curve_secret_file=file)
