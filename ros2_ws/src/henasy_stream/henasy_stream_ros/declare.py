"""Parameters as rclpy knows them.  Needs rclpy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.exceptions import InvalidParameterTypeException, InvalidParameterValueException
from rclpy.node import Node

from henasy_stream.errors import UserError
from henasy_stream.runtime.options import suggestion
from henasy_stream_ros.parameters import BY_NAME, PARAMETERS, Parameter, checked

_OF_ROS = ("use_sim_time", "start_type_description_service", "qos_overrides.")


def declare(node: Node) -> tuple[dict[str, Any], dict[str, str]]:
    """Declares all parameters; a value that does not fit leaves the default in place.

    Returns:
        The values by name, as they came, and what was wrong by name, in one line each.
    """
    values: dict[str, Any] = {}
    wrong: dict[str, str] = {}
    for parameter in PARAMETERS:
        default = _as_ros(parameter.default)
        try:
            # Of any type for rclpy, so that 0 may stand for 0.0; `checked` looks at it.
            value = node.declare_parameter(parameter.name, default, descriptor(parameter)).value
            values[parameter.name] = checked(parameter, value)
        except (UserError, InvalidParameterTypeException, InvalidParameterValueException) as error:
            wrong[parameter.name] = _told(parameter.name, error)
            if not node.has_parameter(parameter.name):
                node.declare_parameter(parameter.name, default, descriptor(parameter), ignore_override=True)
    return values, wrong


def unknown(overrides: Mapping[str, Any]) -> list[str]:
    """Remarks about values for parameters that there are not, which ROS passes over in silence.

    Args:
        overrides: what launch file, YAML and command line gave, by name.
    """
    names = [name for name in overrides if name not in BY_NAME and not name.startswith(_OF_ROS)]
    return [
        f"the value of {name!r} is not used, there is no such parameter{suggestion(name, BY_NAME)}" for name in names
    ]


def descriptor(parameter: Parameter) -> ParameterDescriptor:
    """What `ros2 param describe` shows."""
    constraints = [f"type {parameter.kind}"]
    if parameter.choices:
        constraints.append(f"one of {', '.join(repr(choice) for choice in parameter.choices)}")
    if not parameter.dynamic:
        constraints.append("read when the node is configured")
    found = ParameterDescriptor(
        name=parameter.name,
        description=parameter.text,
        additional_constraints="; ".join(constraints),
        dynamic_typing=True,
    )
    if parameter.low is not None and parameter.high is not None:
        if parameter.kind == "double":
            found.floating_point_range = [FloatingPointRange(from_value=parameter.low, to_value=parameter.high)]
        else:
            found.integer_range = [IntegerRange(from_value=int(parameter.low), to_value=int(parameter.high), step=1)]
    return found


def _as_ros(default: Any) -> Any:
    # An empty list has no type there.
    return (list(default) or [""]) if isinstance(default, tuple) else default


def _told(name: str, error: Exception) -> str:
    return str(error) if isinstance(error, UserError) else f"{name}: {' '.join(str(error).split())}"
