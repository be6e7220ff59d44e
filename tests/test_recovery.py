"""Node and client as processes of their own, each killed in turn: the other one goes on."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from henasy_stream.client import subscribe

ROOT = Path(__file__).parents[1]
CLIENT = (
    "import sys\n"
    "from henasy_stream.client import subscribe\n"
    "for message in subscribe(sys.argv[1], topics=['caption'], timeout_s=30):\n"
    "    print(message.text, flush=True)\n"
)


def start(*command: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, *command], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=ROOT
    )


def node(address: str) -> subprocess.Popen[str]:
    arguments = ("--source", "world?size=64x48", "--max-fps", "60", "--headless", "--publish", address)
    return start("-m", "tests.runtime.fake_live", *arguments)


def kill(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate(timeout=10)


@pytest.fixture
def address():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"zmq://127.0.0.1:{probe.getsockname()[1]}"


def test_a_client_finds_the_node_again_and_tells_the_sessions_apart(address):
    first = node(address)
    try:
        with subscribe(address, topics=["caption"], latest=False, timeout_s=30) as messages:
            session = next(messages).session
            kill(first)
            first = node(address)
            for message in messages:
                if message.session != session:
                    break
            assert messages.sessions == [session, message.session]
    finally:
        kill(first)


def test_a_node_does_not_notice_that_a_client_is_gone(address):
    running = node(address)
    clients: list[subprocess.Popen[str]] = []
    try:
        for _ in range(2):
            client = start("-c", CLIENT, address)
            clients.append(client)
            assert client.stdout is not None
            assert client.stdout.readline().strip()
            kill(client)
            assert running.poll() is None
    finally:
        for process in (running, *clients):
            if process.poll() is None:
                kill(process)
