"""`live --view`: the node, its page and a browser."""

from __future__ import annotations

import asyncio
import os
import pty
import re
import select
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from websockets.asyncio.client import connect

from henasy_stream.live import main
from henasy_stream.sources.world import world_from_uri
from tests.life.network_camera import NetworkCamera
from tests.web.chromium import Tab
from tests.web.parts import Caller

ROOT = Path(__file__).parents[2]
WORLD = "world?seed=7&size=640x360&fps=15&realtime=1"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def node(
    *arguments: str, cache: Path | None = None, module: str = "henasy_stream.live"
) -> Iterator[subprocess.Popen[str]]:
    hidden = {"DISPLAY", "WAYLAND_DISPLAY"}
    environment = {k: v for k, v in os.environ.items() if k not in hidden} | {"OMP_NUM_THREADS": "1"}
    if cache is not None:
        environment["HENASY_CACHE"] = str(cache)
    process = subprocess.Popen(
        [sys.executable, "-m", module, "--view", *arguments],
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=environment,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def said_until(process: subprocess.Popen[str], part: str) -> str:
    """What the node says, up to a line that has `part`."""
    assert process.stderr is not None
    lines: list[str] = []
    while True:
        line = process.stderr.readline()
        assert line, "".join(lines)
        lines.append(line)
        if part in line:
            return "".join(lines)


def test_a_query_that_is_typed_gives_a_track(tab: Tab) -> None:
    # The world shows a phone all the while; the browser asks for it in its own words.
    names = {thing.noun for thing in world_from_uri(WORLD).world.truth(10.0, (360, 640)).objects}
    assert "phone" in names
    with node("--source", WORLD, "--view-address", "127.0.0.1:0") as process:
        said = said_until(process, "page")
        address = re.search(r"http://127\.0\.0\.1:\d+/", said)
        assert address is not None
        tab.open(address[0])
        tab.wait_frames(3)
        tab.press("phone\n", "query")
        present = "document.querySelector('#answers li[data-text=phone][data-present=yes]')"
        tab.wait(lambda: tab.run(f"{present} !== null"), 60)
        tab.wait(lambda: tab.run(f"{present}?.querySelectorAll('.dots i').length"))
        tab.click("#answers li[data-text=phone] button")
        tab.wait(lambda: tab.run("document.querySelector('#answers li') === null"))
        tab.press("n\u00fcsse\n", "query")
        tab.wait(lambda: "absent" in tab.text("answers"))
        assert tab.complaints == []
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0


def test_pictures_come_at_the_cameras_rate_when_the_model_is_slower() -> None:
    """A camera of 20 frames a second, and a network that takes a second for a window."""
    camera = NetworkCamera(fps=20)
    arguments = ("--source", camera.url, "--view-address", "127.0.0.1:0")
    try:
        with node(*arguments, module="tests.life.slow_live") as process:
            port = re.search(r"page +http://127\.0\.0\.1:(\d+)/", said_until(process, "page"))
            assert port is not None

            async def look() -> tuple[int, int, int]:
                async with connect(
                    f"ws://127.0.0.1:{port[1]}/live", compression=None, max_size=None, proxy=None
                ) as line:
                    await line.send('{"t":"hello"}')
                    caller = Caller(line)
                    await caller.hear_until(lambda head: head["t"] == "frame")
                    begun, sent, results = time.monotonic(), camera.sent, 0
                    while time.monotonic() < begun + 6:
                        results += (await caller.hear())[0]["t"] == "result"
                    return caller.frames, camera.sent - sent, results

            frames, sent, results = asyncio.run(look())
    finally:
        camera.unplug()
    assert frames > 0.6 * sent  # not all: machines that test are busy
    assert results < 0.2 * frames


def test_the_page_comes_back_when_the_node_does(tab: Tab) -> None:
    port = str(free_port())
    with node("--source", WORLD, "--view-address", port) as first:
        said_until(first, "page")
        tab.open(f"http://127.0.0.1:{port}/")
        tab.wait_frames(3)
        first.kill()
        first.wait()
        tab.wait(lambda: tab.text("status").startswith("Connection lost"))
        gone = tab.stamp
        assert tab.run("document.body.dataset.link") == "lost"
    with node("--source", WORLD, "--view-address", port) as second:
        said_until(second, "page")
        tab.wait(lambda: tab.text("status").startswith("Running"))
        tab.wait(lambda: tab.stamp != gone)
        tab.wait_frames(3)
        second.send_signal(signal.SIGTERM)
        assert second.wait(20) == 0
        tab.wait(lambda: tab.text("status").startswith("Connection lost"))


def test_the_token_is_in_a_file_for_its_owner_and_never_in_a_log(tmp_path: Path) -> None:
    with node("--source", WORLD, "--view-address", "0.0.0.0:0", cache=tmp_path) as process:
        said = said_until(process, "not encrypted")
        file = tmp_path / "page-token"
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        url, token = file.read_text().strip().split("#token=")
        assert url in said
        assert str(file) in said
        time.sleep(1)
        process.send_signal(signal.SIGINT)
        said += process.communicate(timeout=20)[1]
        assert token not in said
        assert "token=" not in said


def test_the_token_is_shown_on_a_terminal() -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "henasy_stream.live", "--view", "--source", WORLD, "--view-address", "0.0.0.0:0"],
        stderr=theirs,
        cwd=ROOT,
        env={k: v for k, v in os.environ.items() if k not in {"DISPLAY", "WAYLAND_DISPLAY"}},
    )
    os.close(theirs)
    said = b""
    deadline = time.monotonic() + 60
    try:
        while b"not encrypted" not in said:
            assert time.monotonic() < deadline, said
            if select.select([ours], [], [], 1)[0]:
                said += os.read(ours, 4096)
    finally:
        process.kill()
        process.wait()
        os.close(ours)
    assert re.search(rb"#token=[\w-]{32}", said)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--view-address", "8421"], "--view-address: no page is served; add --view"),
        (["--view", "--view-address", "robot"], "no port between 0 and 65535"),
        (["--view", "--view-address", "robot:80"], "'robot' is no IP address"),
        (["--view", "--view-address", "192.0.2.1:8420"], "name an address of this machine"),
    ],
)
def test_a_mistake_is_one_line(arguments: list[str], expected: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--source", "world", "--headless", *arguments]) == 2
    said = capsys.readouterr().err
    assert expected in said
    assert said.count("\n") == 1


def test_a_port_that_is_taken_is_told_before_anything_is_loaded(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        started = time.monotonic()
        assert main(["--source", "world", "--view", "--view-address", str(port)]) == 2
    said = capsys.readouterr().err
    assert "the port is taken" in said
    assert "model" not in said
    assert time.monotonic() - started < 20
