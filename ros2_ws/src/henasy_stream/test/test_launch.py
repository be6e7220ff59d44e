"""The launch file, by launch_testing: it starts the node, the node works, Ctrl-C ends it with 0."""

from __future__ import annotations

import os
import random
import unittest
from pathlib import Path

import launch_testing
import pytest
from ament_index_python.packages import get_package_share_directory
from launch import LaunchDescription
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
from probe import Camera, Probe, until

os.environ.setdefault("ROS_DOMAIN_ID", str(random.Random().randint(1, 100)))
os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")


@pytest.mark.launch_test
def generate_test_description() -> LaunchDescription:
    """The launch file as a user includes it."""
    share = Path(get_package_share_directory("henasy_stream"))
    arguments = {"image": "/head/image_raw", "namespace": "robot1", "log_level": "warn"}
    node = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(str(share / "launch" / "node.launch.py")), launch_arguments=arguments.items()
    )
    return LaunchDescription([node, launch_testing.actions.ReadyToTest()])


class TestNode(unittest.TestCase):
    """While it runs."""

    def test_results_come(self) -> None:
        """From a camera of a remapped topic, in the node's namespace."""
        from henasy_msgs.msg import EntityTrackArray

        probe = Probe()
        camera = Camera(probe, "/head/image_raw")
        try:
            tracks = probe.hear("/robot1/henasy_stream/tracks", EntityTrackArray)
            message = until(lambda: tracks[-1] if tracks else None, "a result")
            self.assertEqual(message.info.source, "/head/image_raw")
            self.assertEqual(probe.state("/robot1/henasy_stream"), "active")
        finally:
            camera.close()
            probe.close()


@launch_testing.post_shutdown_test()
class TestEnd(unittest.TestCase):
    """After Ctrl-C."""

    def test_exit_codes(self, proc_info) -> None:
        """All are 0."""
        launch_testing.asserts.assertExitCodes(proc_info)
