"""What the tests see a node with: a node of their own, in a thread, and the node under test as a process."""

from __future__ import annotations

import array
import os
import re
import signal
import subprocess
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import rclpy
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from henasy_msgs.msg import ActionCaption, EntityTrackArray
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rcl_interfaces.msg import Parameter as ParameterMessage
from rcl_interfaces.msg import ParameterType, ParameterValue
from rcl_interfaces.srv import GetParameters, SetParameters
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image

from henasy_stream.sources import open_source

NODE = "/henasy_stream"
TIMEOUT_S = 90.0
TYPES = {f"{NODE}/tracks": EntityTrackArray, f"{NODE}/caption": ActionCaption, "/diagnostics": DiagnosticArray}


def until(condition: Callable[[], Any], what: str = "it", timeout_s: float = TIMEOUT_S) -> Any:
    """Waits; the last value of the condition."""
    deadline = time.monotonic() + timeout_s
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < deadline, f"{what} did not happen within {timeout_s:g} s"
        time.sleep(0.02)


def qos(*, reliable: bool = False, latched: bool = False, depth: int = 10) -> QoSProfile:
    """Keep last."""
    return QoSProfile(
        depth=depth,
        reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
        durability=DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE,
    )


class Probe:
    """A node that publishes images and hears results; spins in a thread of its own."""

    def __init__(self, name: str = "probe") -> None:
        self.context = Context()
        rclpy.init(context=self.context)
        self.node = Node(name, context=self.context)
        self._executor = SingleThreadedExecutor(context=self.context)
        self._executor.add_node(self.node)
        self.heard: dict[str, list[Any]] = defaultdict(list)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._spin, daemon=True)
        self._thread.start()

    def _spin(self) -> None:
        while not self._stop.is_set():
            self._executor.spin_once(timeout_sec=0.05)

    def close(self) -> None:
        """Ends the thread and the node."""
        self._stop.set()
        self._thread.join(10)
        self._executor.shutdown()
        self.node.destroy_node()
        rclpy.shutdown(context=self.context)

    def hear(self, topic: str, kind: Any = None, **how: Any) -> list[Any]:
        """Subscribes; what comes is in the list."""
        self.node.create_subscription(kind or TYPES[topic], topic, self.heard[topic].append, qos(**how))
        return self.heard[topic]

    def call(self, kind: Any, name: str, request: Any, timeout_s: float = TIMEOUT_S) -> Any:
        """The answer of a service."""
        client = self.node.create_client(kind, name)
        until(client.service_is_ready, f"service {name}", timeout_s)
        future = client.call_async(request)
        until(future.done, f"answer of {name}", timeout_s)
        self.node.destroy_client(client)
        return future.result()

    def transition(self, name: str, node: str = NODE) -> bool:
        """Asks for a transition; whether it went through."""
        number = {
            "configure": Transition.TRANSITION_CONFIGURE,
            "activate": Transition.TRANSITION_ACTIVATE,
            "deactivate": Transition.TRANSITION_DEACTIVATE,
            "cleanup": Transition.TRANSITION_CLEANUP,
        }[name]
        request = ChangeState.Request(transition=Transition(id=number))
        return bool(self.call(ChangeState, f"{node}/change_state", request).success)

    def state(self, node: str = NODE) -> str:
        """Of the node's lifecycle."""
        return str(self.call(GetState, f"{node}/get_state", GetState.Request()).current_state.label)

    def reach(self, state: str, node: str = NODE) -> None:
        """Waits for a state."""
        until(lambda: self.state(node) == state, f"state {state}")

    def status(self, part: str = "stream") -> Any:
        """The newest diagnostic status of a part, or None."""
        for message in reversed(self.heard["/diagnostics"]):
            for status in message.status:
                if status.name.endswith(f": {part}"):
                    return status
        return None

    def told(self, part: str = "stream") -> str:
        """What the newest status of a part says; empty before the first."""
        status = self.status(part)
        return "" if status is None else str(status.message)

    def level(self, part: str = "stream") -> bytes:
        """Of the newest status of a part; STALE before the first."""
        status = self.status(part)
        return bytes(DiagnosticStatus.STALE if status is None else status.level)

    def values(self) -> dict[str, str]:
        """Of the newest status of the stream."""
        status = self.status()
        return {} if status is None else {pair.key: pair.value for pair in status.values}


def image(rgb: np.ndarray, stamp_ns: int, *, frame_id: str = "head", **fields: Any) -> Image:
    """An rgb8 image; fields may be overruled."""
    sec, nanosec = divmod(stamp_ns, 10**9)
    message = Image(height=rgb.shape[0], width=rgb.shape[1], encoding="rgb8", step=3 * rgb.shape[1])
    message.header.frame_id = frame_id
    message.header.stamp = Time(sec=sec, nanosec=nanosec)
    message._data = array.array("B", rgb.tobytes())  # the setter would look at every byte
    for name, value in fields.items():
        setattr(message, name, value)
    return message


class Camera:
    """Publishes the synthetic world in real time, on one topic; `stamps` are those of what was sent, nanoseconds.

    Attributes:
        alter: makes another message of each, or None of one that is not sent.
    """

    def __init__(
        self,
        probe: Probe,
        topic: str = "/image",
        *,
        reliable: bool = False,
        fps: float = 15.0,
        size: str = "160x120",
        alter: Callable[[Any], Any] = lambda message: message,
    ) -> None:
        self.alter = alter
        self.stamps: list[int] = []
        self.offset_ns = 0
        self._fps, self._size = fps, size
        kind = CompressedImage if topic.endswith("/compressed") else Image
        self.publisher = probe.node.create_publisher(kind, topic, qos(reliable=reliable, depth=1))
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        due = time.monotonic()
        for frame in open_source(f"world?seed=5&size={self._size}&fps={self._fps:g}"):
            if self._stop.is_set():
                return
            stamp_ns = time.time_ns() + self.offset_ns
            message = self.alter(image(frame.image, stamp_ns))
            if message is not None:
                stamp = message.header.stamp
                self.stamps.append(stamp.sec * 10**9 + stamp.nanosec)
                self.publisher.publish(message)
            due = max(due + 1 / self._fps, time.monotonic() - 1)
            self._stop.wait(max(0.0, due - time.monotonic()))

    def close(self) -> None:
        """Ends the thread; the publisher goes with its node."""
        self._stop.set()
        self._thread.join(10)


class Process:
    """A node, or a launch file, as a process; its output is kept."""

    def __init__(self, command: Sequence[str], **environment: str) -> None:
        self.output = ""
        self.process = subprocess.Popen(
            list(command),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env={**os.environ, "PYTHONUNBUFFERED": "1", "RCUTILS_COLORIZED_OUTPUT": "0", **environment},
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.output += line

    def says(self, pattern: str, timeout_s: float = TIMEOUT_S) -> str:
        """Waits until the output matches."""

        def look() -> Any:
            assert self.alive or re.search(pattern, self.output), f"it ended:\n{self.output}"
            return re.search(pattern, self.output)

        try:
            return str(until(look, f"{pattern!r} in the output", timeout_s)[0])
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.output}") from None

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self.process.poll() is None

    def interrupt(self) -> int:
        """Ctrl-C, as a terminal sends it to the whole group; the exit code."""
        os.killpg(self.process.pid, signal.SIGINT)
        return self.wait()

    def wait(self, timeout_s: float = 30.0) -> int:
        """The exit code."""
        try:
            code = self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it has not ended:\n{self.output}") from None
        self._reader.join(5)
        return code

    def kill(self) -> None:
        """Ends the whole group, whatever it does."""
        if self.alive:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(10)


def node(*parameters: str, autostart: bool = True, arguments: Sequence[str] = (), **environment: str) -> Process:
    """`ros2 run henasy_stream node` with parameters such as "image_topic:=/image"."""
    given = [f"autostart:={str(autostart).lower()}", "image_topic:=/image", *parameters]
    flags = [word for text in given for word in ("-p", text)]
    return Process(["ros2", "run", "henasy_stream", "node", "--ros-args", *flags, *arguments], **environment)


def seen(results: list[Any]) -> Any:
    """The newest result, once there is one."""
    return until(lambda: results[-1] if results else None, "a result")


def more(results: list[Any], count: int = 1) -> None:
    """Waits for results that are new."""
    before = len(results)
    until(lambda: len(results) >= before + count, "a further result")


def ns(stamp: Any) -> int:
    """Nanoseconds of a builtin_interfaces/Time."""
    return int(stamp.sec * 10**9 + stamp.nanosec)


def set_parameter(probe: Probe, name: str, value: Any) -> tuple[bool, str]:
    """Whether it was taken, and why not."""
    kinds = {
        bool: ("bool_value", ParameterType.PARAMETER_BOOL),
        int: ("integer_value", ParameterType.PARAMETER_INTEGER),
        float: ("double_value", ParameterType.PARAMETER_DOUBLE),
        str: ("string_value", ParameterType.PARAMETER_STRING),
        list: ("string_array_value", ParameterType.PARAMETER_STRING_ARRAY),
    }
    field, kind = kinds[type(value)]
    message = ParameterMessage(name=name, value=ParameterValue(type=kind, **{field: value}))
    (result,) = probe.call(SetParameters, f"{NODE}/set_parameters", SetParameters.Request(parameters=[message])).results
    return result.successful, result.reason


def get_parameter(probe: Probe, name: str) -> ParameterValue:
    """What the node holds."""
    return probe.call(GetParameters, f"{NODE}/get_parameters", GetParameters.Request(names=[name])).values[0]
