"""The node's own package is not installed here: its modules that are free of ROS are imported from the workspace."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "ros2_ws" / "src" / "henasy_stream"))
