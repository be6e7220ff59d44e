from __future__ import annotations

import contextlib
import os
import socket

import pytest

from henasy_stream.runtime.service import ServiceManager


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def inbox():
    """A socket with an abstract name, and that name as NOTIFY_SOCKET holds it."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        name = f"henasy-test-{os.getpid()}"
        receiver.bind("\0" + name)
        receiver.setblocking(False)
        yield receiver, f"@{name}"


def told(receiver: socket.socket) -> list[str]:
    messages: list[str] = []
    with contextlib.suppress(BlockingIOError):
        while True:
            messages.append(receiver.recv(4096).decode())
    return messages


def test_without_a_manager_nothing_is_said_and_no_line_is_made():
    service = ServiceManager({})
    service.status("starting")
    service.ready()
    service.advanced(lambda: pytest.fail("nobody asked"))
    service.stopping("end")
    service.close()
    assert not service.watches


def test_the_watchdog_is_fed_four_times_within_its_limit(inbox):
    receiver, name = inbox
    clock = Clock()
    service = ServiceManager({"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "2000000"}, monotonic=clock)
    assert service.watches
    for _ in range(200):
        service.advanced(lambda: "RUNNING")
        clock.now += 0.01
    assert told(receiver) == [
        "WATCHDOG=1", "STATUS=RUNNING", "WATCHDOG=1", "WATCHDOG=1", "STATUS=RUNNING", "WATCHDOG=1"
    ]  # fmt: skip


@pytest.mark.parametrize(
    "environment",
    [{}, {"WATCHDOG_USEC": "soon"}, {"WATCHDOG_USEC": "0"}, {"WATCHDOG_USEC": "2000000", "WATCHDOG_PID": "1"}],
)
def test_no_watchdog_is_fed_that_waits_for_nobody_or_for_another(inbox, environment):
    receiver, name = inbox
    service = ServiceManager({"NOTIFY_SOCKET": name, **environment})
    assert not service.watches
    service.advanced(lambda: "RUNNING")
    assert told(receiver) == ["STATUS=RUNNING"]


def test_a_reason_of_several_lines_assigns_nothing(inbox):
    receiver, name = inbox
    service = ServiceManager({"NOTIFY_SOCKET": name, "WATCHDOG_PID": str(os.getpid())})
    service.stopping("lost\nMAINPID=1\r\nERRNO=5")
    assert told(receiver) == ["STOPPING=1\nSTATUS=stopping: lost MAINPID=1 ERRNO=5"]


@pytest.mark.parametrize("name", ["/nowhere/notify", "@nobody-listens-here", "/" + "x" * 300])
def test_a_manager_that_is_not_there_disturbs_nobody(name):
    service = ServiceManager({"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "2000000"})
    service.ready()
    service.advanced(lambda: "RUNNING")
    service.close()
    service.close()


def test_a_manager_that_does_not_read_does_not_block(inbox):
    _, name = inbox
    service = ServiceManager({"NOTIFY_SOCKET": name})
    for _ in range(10_000):
        service.status("x" * 1000)
