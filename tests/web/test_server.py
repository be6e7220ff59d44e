"""The server over real sockets: files, refusals, viewers that are slow, rude or many."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import random
import socket
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from websockets.exceptions import ConnectionClosed, InvalidStatus

from henasy_stream.web.crowd import MOST_CONNECTIONS
from henasy_stream.web.files import assets
from henasy_stream.web.page import LivePage
from henasy_stream.web.server import MOST_VIEWERS
from tests.web.parts import Caller, Film, Theatre, dial, served

HELLO = '{"t":"hello"}'


@pytest.fixture(scope="module")
def film() -> Film:
    return Film("world?seed=5&size=320x180&fps=30", frames=8)


@pytest.fixture(scope="module")
def page() -> Iterator[LivePage]:
    with served() as made:
        yield made


@pytest.fixture
def shown(film: Film) -> Iterator[LivePage]:
    """A page with something to see."""
    with served() as made:
        theatre = Theatre(made, film)
        yield made
        theatre.close()


def http(page: LivePage, path: str = "/", *, method: str = "GET", **headers: str) -> tuple[int, dict[str, str], bytes]:
    """One request, spelled out, so that nothing of it is added or corrected by a library."""
    named = {"Host": f"127.0.0.1:{page.address.port}", **{k.replace("_", "-"): v for k, v in headers.items()}}
    lines = [f"{method} {path} HTTP/1.1", *(f"{k}: {v}" for k, v in named.items() if v), "", ""]
    with socket.create_connection(("127.0.0.1", page.address.port), timeout=10) as conversation:
        conversation.sendall("\r\n".join(lines).encode())
        answer = b""
        while piece := conversation.recv(65536):
            answer += piece
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *rest = head.decode().split("\r\n")
    return int(first.split()[1]), {k.lower(): v for k, v in (line.split(": ", 1) for line in rest)}, body


def test_every_file_comes_whole_with_the_headers_that_keep_it_safe(page: LivePage) -> None:
    assert {"/", "/main.js", "/page.css", "/inter.woff2", "/inter-LICENSE.txt"} <= set(assets())
    for path, asset in assets().items():
        status, headers, body = http(page, path)
        assert (status, body) == (200, asset.body)
        assert headers["content-type"] == asset.type
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert "server" not in headers


def test_the_page_asks_for_nothing_from_elsewhere() -> None:
    for path, asset in assets().items():
        if asset.type.startswith("text/") and not path.endswith(".txt"):
            text = asset.body.decode().replace("http://www.w3.org/2000/svg", "").replace("https:", "", 1)
            assert "http://" not in text, path
            assert "//cdn" not in text, path


@pytest.mark.parametrize(
    "path", ["/nothing", "/../page.py", "/%2e%2e/page.py", "//etc/passwd", "/main.js/", "/save.py"]
)
def test_there_are_no_other_files(page: LivePage, path: str) -> None:
    assert http(page, path)[0] == 404


@pytest.mark.parametrize("host", ["evil.example", f"evil.example:{80}", "", "192.168.1.5", "127.0.0.1.evil.example"])
def test_another_name_is_refused(page: LivePage, host: str) -> None:
    status, _, body = http(page, Host=host)
    assert status in (400, 421)
    assert b"<html" not in body


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "https://127.0.0.1", "http://127.0.0.1:1"])
def test_another_origin_is_refused(page: LivePage, origin: str) -> None:
    assert http(page, Origin=origin)[0] == 403

    async def call() -> None:
        async with dial(page, origin=origin):
            pass

    with pytest.raises(InvalidStatus) as error:
        asyncio.run(call())
    assert error.value.response.status_code == 403


def test_other_methods_and_endless_headers_are_refused(page: LivePage) -> None:
    for attempt in ({"method": "POST"}, {"X_Long": "x" * 100_000}, {"path": "/" + "x" * 20_000}):
        with contextlib.suppress(ConnectionError, ValueError, IndexError):
            assert http(page, **attempt)[0] >= 400
    assert http(page)[0] == 200


def test_a_viewer_is_greeted_and_sees_frames_and_results_of_one_stamp(shown: LivePage) -> None:
    async def call() -> tuple[dict[str, Any], set[int], set[int]]:
        async with dial(shown) as connection:
            caller = Caller(connection)
            await connection.send(HELLO)
            greeting, _ = await caller.hear()
            frames: set[int] = set()
            results: set[int] = set()
            while len(frames & results) < 5:
                head, payload = await caller.hear()
                if head["t"] == "frame":
                    frames.add(head["stamp_ns"])
                    picture = cv2.imdecode(np.frombuffer(payload, np.uint8), cv2.IMREAD_COLOR)
                    assert picture is not None
                    assert picture.shape[:2] == (head["height"], head["width"]) == (180, 320)
                elif head["t"] == "result":
                    results.add(head["stamp_ns"])
                    masks = head["masks"]
                    assert len(payload) == masks["count"] * masks["height"] * masks["width"]
            return greeting, frames, results

    greeting, frames, results = asyncio.run(call())
    assert greeting["t"] == "greeting"
    assert greeting["model"] == "truth"
    assert len(frames & results) >= 5


def test_a_viewer_that_comes_later_hears_what_happened(shown: LivePage) -> None:
    async def greeting() -> dict[str, Any]:
        async with dial(shown) as connection:
            await connection.send(HELLO)
            return (await Caller(connection).hear())[0]

    deadline = time.monotonic() + 20
    while True:
        said = asyncio.run(greeting())
        if said["actions"] and said["seen"] and said["samples"]:
            break
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert {"id", "label", "colour", "query", "spans"} == set(said["seen"][0])


async def closed_with(connection: Any) -> tuple[int, str]:
    """Reads to the end."""
    with contextlib.suppress(ConnectionClosed):
        while True:
            await asyncio.wait_for(connection.recv(), 20)
    return connection.close_code or 0, connection.close_reason or ""


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ("nonsense", 1007),
        ('{"t":"wish"}', 1007),
        (b"\x00\x01", 1007),
        ('{"t":"hello","token":' + '"' + "x" * 20_000 + '"}', 1009),
    ],
)
def test_whoever_does_not_say_hello_is_sent_away(page: LivePage, said: str | bytes, code: int) -> None:
    async def call() -> tuple[int, str]:
        async with dial(page) as connection:
            await connection.send(said)
            return await closed_with(connection)

    assert asyncio.run(call())[0] == code


@pytest.mark.parametrize(
    ("messages", "code"),
    [
        (["nonsense"], 1007),
        (['{"t":"wish","max_fps":0}'], 1007),
        (['{"t":"ack","frames":1}'] * 5000, 1008),
        (['{"t":"ask","ask":1,"add":["' + "x" * 17_000 + '"]}'], 1009),
    ],
)
def test_a_rude_viewer_is_sent_away(shown: LivePage, messages: list[str], code: int) -> None:
    async def call() -> tuple[int, str]:
        async with dial(shown) as connection:
            await connection.send(HELLO)
            with contextlib.suppress(ConnectionClosed):
                for said in messages:
                    await connection.send(said)
            return await closed_with(connection)

    assert asyncio.run(call())[0] == code


def test_only_the_token_opens_the_door() -> None:
    with served() as made:
        made._server._address = replace(made.address, token="s3cret")  # loopback has none

        async def call(token: str | None) -> tuple[int, str]:
            async with dial(made) as connection:
                await connection.send(json.dumps({"t": "hello", "token": token}))
                if token == "s3cret":
                    assert (await Caller(connection).hear())[0]["t"] == "greeting"
                    return 0, ""
                return await closed_with(connection)

        for wrong in (None, "", "s3cre", "s3cret ", "S3CRET"):
            assert asyncio.run(call(wrong)) == (1008, "token")
        assert asyncio.run(call("s3cret")) == (0, "")


def test_a_viewer_that_stalls_misses_frames_and_nobody_else_does(shown: LivePage) -> None:
    async def call() -> tuple[int, int, dict[str, Any]]:
        async with dial(shown) as slow, dial(shown) as quick:
            lazy, eager = Caller(slow), Caller(quick)
            await slow.send(HELLO)
            await quick.send(HELLO)
            until = time.monotonic() + 3
            state: dict[str, Any] = {}
            while time.monotonic() < until:
                await eager.hear()
                with contextlib.suppress(asyncio.TimeoutError):
                    head, _ = await lazy.hear(ack=False, timeout_s=0.001)
                    state = head if head["t"] == "state" else state
            return lazy.frames, eager.frames, state

    lazy, eager, state = asyncio.run(call())
    assert lazy == 2  # as many as may be on their way
    assert eager > 20
    assert state["viewers"] == 2


def test_what_a_viewer_misses_is_counted(shown: LivePage) -> None:
    async def call() -> int:
        async with dial(shown) as connection:
            caller = Caller(connection)
            await connection.send(HELLO)
            await caller.hear_until(lambda head: head["t"] == "frame")
            await connection.send('{"t":"wish","max_fps":5}')
            first, _ = await caller.hear_until(lambda head: head["t"] == "frame")
            for _ in range(6):
                last, _ = await caller.hear_until(lambda head: head["t"] == "frame")
            missed: int = last["missed"]
            # Each frame is either among those that came or among those that were missed.
            assert missed - first["missed"] == last["number"] - first["number"] - 6
            await connection.send('{"t":"wish","frames":false}')
            return missed

    assert asyncio.run(call()) > 6


def test_a_viewer_that_does_not_want_frames_gets_results_only(shown: LivePage) -> None:
    async def call() -> list[str]:
        async with dial(shown) as connection:
            caller = Caller(connection)
            await connection.send(HELLO)
            await connection.send('{"t":"wish","frames":false}')
            await caller.hear_until(lambda head: head["t"] == "state")
            kinds = [(await caller.hear())[0]["t"] for _ in range(30)]
            await connection.send('{"t":"wish","size":"small"}')
            await caller.hear_until(lambda head: head["t"] == "frame")
            return kinds

    assert "frame" not in asyncio.run(call())


def test_there_is_room_for_so_many_and_the_next_is_told(shown: LivePage) -> None:
    async def call() -> tuple[int, str]:
        async with contextlib.AsyncExitStack() as stack:
            for _ in range(MOST_VIEWERS):
                connection = await stack.enter_async_context(dial(shown))
                await connection.send(HELLO)
                await Caller(connection).hear()
            extra = await stack.enter_async_context(dial(shown))
            await extra.send(HELLO)
            return await closed_with(extra)

    assert asyncio.run(call()) == (1013, f"{MOST_VIEWERS} viewers are here already")


def test_questions_are_answered_and_too_many_are_refused(shown: LivePage) -> None:
    async def call() -> list[dict[str, Any]]:
        async with dial(shown) as connection:
            caller = Caller(connection)
            await connection.send(HELLO)
            for i in range(12):
                await connection.send(json.dumps({"t": "ask", "ask": i, "add": [f"cup {i}"]}))
            return [(await caller.hear_until(lambda head: head["t"] == "reply"))[0] for _ in range(12)]

    replies = asyncio.run(call())
    assert [reply["ask"] for reply in replies] == list(range(12))
    assert replies[0]["queries"] == ["cup 0"]
    assert "wait" in replies[-1]["error"]


def saved(page: LivePage, form: str) -> bytes:
    """The last seconds, as a viewer saves them."""

    async def call() -> bytes:
        async with dial(page) as connection:
            await connection.send(HELLO)
            await Caller(connection).hear_until(lambda head: head["t"] == "state")
        async with dial(page, "/save") as connection:
            await connection.send(HELLO)
            await connection.send(f'{{"t":"save","format":"{form}"}}')
            caller, whole = Caller(connection), b""
            while True:
                head, piece = await caller.hear(timeout_s=60)
                if head["t"] == "saved":
                    assert head["error"] is None
                    assert head["size"] == len(whole)
                    return whole
                if head["t"] == "making":
                    assert 0 <= head["done"] <= head["total"]
                whole += piece

    return asyncio.run(call())


def test_the_last_seconds_come_as_a_video(shown: LivePage, tmp_path: Any) -> None:
    path = tmp_path / "last.mp4"
    path.write_bytes(saved(shown, "mp4"))
    film = cv2.VideoCapture(str(path))
    read, picture = film.read()
    assert read
    assert picture.shape[:2] == (180, 320)


def test_the_last_seconds_come_as_mcap(shown: LivePage) -> None:
    reader = pytest.importorskip("mcap.reader", reason="the extra bag is not installed")
    summary = reader.make_reader(io.BytesIO(saved(shown, "mcap")), validate_crcs=True).get_summary()
    assert {"henasy/1/tracks", "henasy/1/status"} <= {channel.topic for channel in summary.channels.values()}


def test_saving_before_there_is_anything_says_so(page: LivePage) -> None:
    async def call() -> dict[str, Any]:
        async with dial(page, "/save") as connection:
            await connection.send(HELLO)
            await connection.send('{"t":"save","format":"mp4"}')
            return (await Caller(connection).hear())[0]

    assert "nothing to save yet" in asyncio.run(call())["error"]


def test_viewers_are_told_when_the_node_stops(film: Film) -> None:
    async def call(made: LivePage) -> tuple[int, str]:
        async with dial(made) as connection:
            await connection.send(HELLO)
            await Caller(connection).hear()
            await asyncio.to_thread(made.close)
            return await closed_with(connection)

    with served() as made:
        theatre = Theatre(made, film)
        assert asyncio.run(call(made)) == (1001, "the node stops")
        theatre.close()  # what it still writes goes nowhere and raises nothing
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", made.address.port), timeout=2)


def test_a_failure_inside_is_told_once_and_the_page_goes_on(film: Film) -> None:
    told: list[str] = []
    with served(report=told.append) as made:
        theatre = Theatre(made, film)
        broken = replace(film.perception(0), tracks=(None,))  # type: ignore[arg-type]
        for _ in range(20):
            made.write(broken)

        async def call() -> None:
            async with dial(made) as connection:
                await connection.send(HELLO)
                caller = Caller(connection)
                await caller.hear_until(lambda head: head["t"] == "result")
                await caller.hear_until(lambda head: head["t"] == "frame")

        asyncio.run(call())
        theatre.close()
    assert len(told) == 1
    assert told[0].startswith("page: AttributeError")
    assert told[0].endswith("the node goes on")


def test_a_viewer_that_stalls_does_not_hold_up_the_end(film: Film) -> None:
    async def call(made: LivePage) -> float:
        async with dial(made) as connection:
            await connection.send(HELLO)
            await Caller(connection).hear()
            connection.transport.pause_reading()
            await asyncio.sleep(1)
            started = time.monotonic()
            await asyncio.to_thread(made.close)
            connection.transport.abort()
            return time.monotonic() - started

    with served() as made:
        theatre = Theatre(made, film)
        assert asyncio.run(call(made)) < 2.5
        theatre.close()


def test_a_crowd_at_the_door_takes_no_more_files_than_allowed_and_goes_away_again() -> None:
    with served() as made:
        before = psutil.Process().num_fds()
        crowd = [socket.create_connection(("127.0.0.1", made.address.port), timeout=5) for _ in range(150)]
        deadline = time.monotonic() + 10
        while psutil.Process().num_fds() - before > len(crowd) + MOST_CONNECTIONS:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        for one in crowd:
            one.close()
        while True:
            with contextlib.suppress(OSError, IndexError):
                if http(made)[0] == 200:
                    break
            assert time.monotonic() < deadline
            time.sleep(0.05)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=400), st.booleans())
def test_no_bytes_bring_the_server_down(page: LivePage, noise: bytes, as_request: bool) -> None:
    head = b"GET /live HTTP/1.1\r\nHost: 127.0.0.1\r\n" if as_request else b""
    conversation = socket.create_connection(("127.0.0.1", page.address.port), timeout=10)
    with conversation, contextlib.suppress(OSError):
        conversation.sendall(head + noise + b"\r\n\r\n")
        conversation.shutdown(socket.SHUT_WR)
        while conversation.recv(65536):
            pass
    assert http(page, "/icon.svg")[0] == 200


_said = st.one_of(
    st.binary(max_size=300),
    st.text(max_size=300),
    st.dictionaries(
        st.sampled_from(["t", "ask", "add", "remove", "frames", "size", "max_fps", "token", "format"]),
        st.one_of(
            st.sampled_from(["hello", "wish", "ack", "ask", "save", "small", "full", "mp4"]),
            st.integers(-5, 10**20),
            st.floats(),
            st.booleans(),
            st.none(),
            st.lists(st.text(max_size=20), max_size=40),
        ),
        max_size=5,
    ).map(json.dumps),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(_said, max_size=8), st.booleans())
def test_no_messages_bring_the_server_down(page: LivePage, said: list[str | bytes], polite: bool) -> None:
    async def call() -> None:
        async with dial(page, random.choice(["/live", "/save"])) as connection:
            with contextlib.suppress(ConnectionClosed):
                for message in [*([HELLO] if polite else []), *said]:
                    await connection.send(message)

    asyncio.run(call())
    assert http(page, "/icon.svg")[0] == 200
