"""The files of the ROS package: what colcon, launch, RViz and Foxglove read.

No distribution of ROS's `launch` is on PyPI, so that the launch file is parsed and compiled here; it is run by
`ros2_ws/src/henasy_stream/test`, where ROS is sourced.
"""

from __future__ import annotations

import ast
import configparser
import json
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest
import yaml
from henasy_stream_ros.parameters import BY_NAME

from henasy_stream import __version__
from henasy_stream.ros.topics import DEBUG_IMAGE, NODE, TOPICS
from henasy_stream.sources.ros_images import ENCODINGS

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "ros2_ws" / "src" / "henasy_stream"
MODULE = PACKAGE / "henasy_stream_ros"
LAUNCH = PACKAGE / "launch" / "node.launch.py"
OF_ROS = {"rclpy", "rcl_interfaces", "sensor_msgs", "vision_msgs", "diagnostic_msgs", "henasy_msgs", "std_msgs"}
NEEDS_RCLPY = {"connections.py", "declare.py", "main.py", "node.py", "ports.py"}


def imported(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    return {name.partition(".")[0] for name in names}


@pytest.mark.parametrize("path", sorted(MODULE.glob("*.py")), ids=lambda path: path.name)
def test_what_is_said_to_be_free_of_ros_is(path):
    assert bool(imported(path) & OF_ROS) == (path.name in NEEDS_RCLPY)
    assert "torch" not in imported(path)


def test_cv_bridge_is_nowhere():
    for path in PACKAGE.rglob("*.py"):
        assert "cv_bridge" not in imported(path)
    assert "cv_bridge" not in (PACKAGE / "package.xml").read_text()


def test_package_xml():
    package = ElementTree.parse(PACKAGE / "package.xml").getroot()
    assert package.findtext("name") == "henasy_stream"
    assert package.findtext("version") == __version__
    maintainer = package.find("maintainer")
    assert maintainer is not None
    assert re.fullmatch(r"[^@]+@[^@]+\.[a-z]{2,}", maintainer.attrib["email"])
    assert package.findtext("export/build_type") == "ament_python"
    depended = {tag.text for kind in ("depend", "exec_depend", "build_depend") for tag in package.iter(kind)}
    used = {name for path in MODULE.glob("*.py") for name in imported(path)} & OF_ROS
    assert used - {"rcl_interfaces"} <= depended
    assert "rcl_interfaces" in depended


def test_the_two_distributions_have_names_that_differ():
    """Names that normalise alike hide each other's entry points."""
    setup = (PACKAGE / "setup.py").read_text(encoding="utf-8")
    name = re.search(r'\bname="([^"]+)"', setup)
    assert name is not None
    normalised = re.sub(r"[-_.]+", "-", name[1]).lower()
    assert normalised == "henasy-stream-ros"
    assert f'version="{__version__}"' in setup
    assert "extras_require" in setup, "without it colcon test runs nothing and says OK"
    done = subprocess.run(
        [sys.executable, "setup.py", "--name", "--version"], cwd=PACKAGE, capture_output=True, text=True, timeout=60
    )
    if "No module named 'setuptools'" not in done.stderr:
        assert done.stdout.split()[-2:] == ["henasy-stream-ros", __version__], done.stderr


def test_setup_cfg():
    config = configparser.ConfigParser()
    config.read(PACKAGE / "setup.cfg")
    assert config["build_scripts"]["executable"] == "/usr/bin/env python3"
    assert config["develop"]["script_dir"] == config["install"]["install_scripts"] == "$base/lib/henasy_stream"


def launch_constants() -> dict[str, Any]:
    tree = ast.parse(LAUNCH.read_text(encoding="utf-8"))
    found = {}
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            found[node.targets[0].id] = ast.literal_eval(node.value)
    return found


def test_the_launch_file_compiles_and_its_arguments_are_described():
    compile(LAUNCH.read_text(encoding="utf-8"), str(LAUNCH), "exec")
    constants = launch_constants()
    names = [name for name, _, _ in constants["ARGUMENTS"]]
    assert len(names) == len(set(names)) <= 12
    wanted = {"params_file", "image", "weights", "backend", "source", "namespace", "log_level", "autostart"}
    assert wanted <= set(names)
    for _, default, text in constants["ARGUMENTS"]:
        assert isinstance(default, str)
        assert len(text) > 10
    assert set(constants["PARAMETERS"]) <= set(names)
    assert set(constants["PARAMETERS"].values()) <= set(BY_NAME)
    functions = {node.name for node in ast.parse(LAUNCH.read_text()).body if isinstance(node, ast.FunctionDef)}
    assert "generate_launch_description" in functions


def test_the_rviz_file_shows_the_debug_image():
    loaded = yaml.safe_load((PACKAGE / "config" / "henasy.rviz").read_text(encoding="utf-8"))
    displays = loaded["Visualization Manager"]["Displays"]
    topics = [display["Topic"]["Value"] for display in displays if isinstance(display.get("Topic"), dict)]
    # RViz takes the topic without the transport's name.
    assert DEBUG_IMAGE.full_name().removesuffix("/compressed") in {t.removesuffix("/compressed") for t in topics}


def test_the_foxglove_layout_names_topics_that_there_are():
    layout = json.loads((PACKAGE / "config" / "foxglove_layout.json").read_text(encoding="utf-8"))
    known = {topic.full_name() for topic in TOPICS}
    named = set(re.findall(rf"/{NODE}/[a-z_/]+|/diagnostics", json.dumps(layout)))
    assert named
    assert named - {f"/{NODE}/set_queries"} <= known
    panels = set(re.findall(r"[A-Z][A-Za-z]+![a-z0-9]+", json.dumps(layout["layout"])))
    assert panels == set(layout["configById"])


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_python_3_10_can_read_it(path):
    ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 10))


@pytest.mark.parametrize("topic", TOPICS, ids=lambda topic: topic.name)
def test_the_documentation_says_each_topic_s_type_and_quality_of_service(topic):
    rows = (ROOT / "docs" / "ros2.md").read_text(encoding="utf-8").splitlines()
    (row,) = [row for row in rows if row.startswith(f"| `{topic.name}` |")]
    package, _, name = topic.type.split("/")
    assert f"{package}/{name}" in row
    assert ("reliable, latched" if topic.latched else f"reliable, keep last {topic.depth}") in row


def test_the_documentation_names_every_encoding():
    text = (ROOT / "docs" / "ros2.md").read_text(encoding="utf-8")
    for name in ENCODINGS:
        shown = re.sub(r"^bayer_(....)(8|16)$", r"bayer_{rggb,bggr,gbrg,grbg}{8,16}", name)
        assert f"`{shown}`" in text


def test_the_documentation_names_every_launch_argument_that_it_uses():
    text = (ROOT / "docs" / "ros2.md").read_text(encoding="utf-8")
    names = {name for name, _, _ in launch_constants()["ARGUMENTS"]}
    used = {m for line in text.splitlines() if "ros2 launch" in line for m in re.findall(r" (\w+):=", line)}
    assert used
    assert used <= names
