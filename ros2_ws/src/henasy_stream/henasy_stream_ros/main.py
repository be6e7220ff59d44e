"""`ros2 run henasy_stream node`."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

try:
    import henasy_stream  # noqa: F401
except ImportError as error:
    sys.exit(
        f"this Python ({sys.executable}) has no henasy-stream ({error}): pip install henasy-stream into it, or name "
        "the Python that has it (ros2 launch henasy_stream node.launch.py python:=/path/to/venv/bin/python)"
    )

import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.signals import SignalHandlerOptions

from henasy_stream.runtime.outputs import one_line
from henasy_stream.runtime.stopping import StopOnSignal
from henasy_stream_ros.node import HenasyNode

_SPIN_S = 0.1


def main(args: Sequence[str] | None = None) -> int:
    """Runs the node until Ctrl-C or SIGTERM; returns 0 then, and 2 for ROS arguments that make no sense."""
    stop = StopOnSignal()
    # rclpy's own handling ends the context at once, and with it the chance to say that the action going on has ended.
    try:
        rclpy.init(args=None if args is None else list(args), signal_handler_options=SignalHandlerOptions.NO)
    except RuntimeError as error:  # RCLError: a file of parameters that is no YAML, a log level that there is not
        print(one_line(error), file=sys.stderr)
        return 2
    with stop:
        node = HenasyNode()
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        try:
            _spin(executor, node, stop)
        finally:
            node.close()
            executor.shutdown()
            node.destroy_node()
            if rclpy.ok():  # Humble has no try_shutdown
                rclpy.shutdown()
    return 0


def _spin(executor: SingleThreadedExecutor, node: HenasyNode, stop: StopOnSignal) -> None:
    while not stop.requested and rclpy.ok():
        with _told(node):
            executor.spin_once(timeout_sec=_SPIN_S)


@contextmanager
def _told(node: HenasyNode) -> Iterator[None]:
    try:
        yield
    except ExternalShutdownException:
        pass
    except Exception:  # noqa: BLE001 - what one callback raises, such as rclpy for a transition that there is not
        node.get_logger().error(f"a callback failed; the node goes on\n{traceback.format_exc()}")


if __name__ == "__main__":
    sys.exit(main())
