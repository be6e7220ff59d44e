"""ros2 launch henasy_stream node.launch.py image:=/camera/image_raw"""

import shutil
from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

# Name, default, description.  An empty one leaves what the file of parameters says.
ARGUMENTS = (
    ("params_file", "", "file of parameters; empty: the package's config/params.yaml"),
    ("image", "", "topic of the images, such as /camera/image_raw"),
    ("transport", "", "raw or compressed"),
    ("source", "", "watch this in place of a topic: camera:0, rtsp://…, a video file, world"),
    ("weights", "", "demo, lavila, a .safetensors or .pth file, or the folder of a bundle"),
    ("backend", "", "what executes the network: auto, onnxruntime, torch, …"),
    ("namespace", "", "namespace of the node"),
    ("use_sim_time", "false", "take the time from /clock, as with `ros2 bag play --clock`"),
    ("autostart", "true", "configure and activate at start; false leaves that to a manager"),
    ("log_level", "info", "debug, info, warn, error"),
    ("python", "", "Python that has henasy-stream, such as /path/to/venv/bin/python; empty: the one in PATH"),
)
PARAMETERS = {"image": "image_topic", "transport": "transport", "source": "source", "weights": "weights"}
PARAMETERS["backend"] = "backend"
YES, NO = ("true", "1", "yes", "on"), ("false", "0", "no", "off")
LEVELS = ("debug", "info", "warn", "error", "fatal")


def start(context: LaunchContext) -> list[Node]:
    """The node, by what the arguments say."""
    given = {name: LaunchConfiguration(name).perform(context) for name, _, _ in ARGUMENTS}
    share = Path(get_package_share_directory("henasy_stream"))
    overrides: dict[str, object] = {PARAMETERS[name]: given[name] for name in PARAMETERS if given[name]}
    for name in ("autostart", "use_sim_time"):
        if given[name].lower() not in YES + NO:
            raise ValueError(f"{name}: {given[name]!r} does not fit, give true or false")
        overrides[name] = given[name].lower() in YES
    # rclpy says it with a traceback.
    if given["log_level"].rpartition(":=")[2].lower() not in LEVELS:
        raise ValueError(f"log_level: {given['log_level']!r} does not fit, choose one of {', '.join(LEVELS)}")
    # launch warns of a file that is not there and starts without it.
    if given["params_file"] and not Path(given["params_file"]).is_file():
        raise ValueError(f"params_file: no file {given['params_file']}")
    if given["python"] and shutil.which(given["python"]) is None:
        raise ValueError(f"python: no program {given['python']}")
    return [
        Node(
            package="henasy_stream",
            executable="node",
            name="henasy_stream",
            namespace=given["namespace"],
            parameters=[given["params_file"] or str(share / "config" / "params.yaml"), overrides],
            arguments=["--ros-args", "--log-level", given["log_level"]],
            prefix=[given["python"]] if given["python"] else None,
            output="screen",
            emulate_tty=True,
            sigterm_timeout="15",  # longer than the node waits for the step that runs
        )
    ]


def generate_launch_description() -> LaunchDescription:
    """What `ros2 launch` runs."""
    declared = [DeclareLaunchArgument(name, default_value=value, description=text) for name, value, text in ARGUMENTS]
    return LaunchDescription([*declared, OpaqueFunction(function=start)])
