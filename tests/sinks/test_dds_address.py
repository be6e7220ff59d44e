"""Addresses of `--publish ros2`."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from henasy_stream.errors import UserError
from henasy_stream.sinks.dds_address import DdsAddress, is_dds, parse_address


@pytest.mark.parametrize(
    ("text", "domain", "namespace"),
    [
        ("ros2", 0, "/"),
        ("ros2://", 0, "/"),
        ("ros2://robot1", 0, "/robot1"),
        ("ros2:///robot1/", 0, "/robot1"),
        ("ros2://robot1/left_eye?domain=7", 7, "/robot1/left_eye"),
        ("ros2://?domain=232", 232, "/"),
    ],
)
def test_addresses(text, domain, namespace):
    assert is_dds(text)
    assert parse_address(text, {}) == DdsAddress(text=text, domain=domain, namespace=namespace)


def test_the_domain_of_the_environment_is_that_of_every_ros_node():
    assert parse_address("ros2", {"ROS_DOMAIN_ID": "42"}).domain == 42
    assert parse_address("ros2", {"ROS_DOMAIN_ID": ""}).domain == 0
    assert parse_address("ros2://?domain=7", {"ROS_DOMAIN_ID": "42"}).domain == 7


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ros2:robot1", "not an address for ROS 2"),
        ("ros2://1x", "no namespace"),
        ("ros2://a//b", "no namespace"),
        ("ros2://a-b", "no namespace"),
        ("ros2://robot?domain=233", "domain '233'"),
        ("ros2://robot?domain=-1", "domain '-1'"),
        ("ros2://robot?domain=", "domain ''"),
        ("ros2://robot?domain=x", "domain 'x'"),
        ("ros2://robot?domian=1", "unknown option 'domian'"),
    ],
)
def test_mistakes(text, expected):
    assert is_dds(text)
    with pytest.raises(UserError, match=expected) as error:
        parse_address(text, {})
    assert "\n" not in str(error.value)


def test_a_wrong_domain_of_the_environment_is_named():
    with pytest.raises(UserError, match="ROS_DOMAIN_ID 'seven'"):
        parse_address("ros2", {"ROS_DOMAIN_ID": "seven"})


@given(st.text(max_size=30))
def test_any_text_is_an_address_or_a_mistake(text):
    try:
        address = parse_address(f"ros2://{text}", {})
    except UserError:
        return
    assert address.namespace.startswith("/")
    assert 0 <= address.domain <= 232


@pytest.mark.parametrize("text", ["zmq://127.0.0.1:5560", "ros", "ros22", "tcp://ros2:1"])
def test_what_is_another_kind_of_address(text):
    assert not is_dds(text)
