"""The address of `--publish ros2`: which DDS domain, which namespace."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl

from henasy_stream.errors import UserError

SCHEME = "ros2"
MAX_DOMAIN = 232
"""The ports of higher domains would lie above 65535."""
_NAMESPACE = re.compile(r"(/[A-Za-z_][A-Za-z0-9_]*)+")
_EXAMPLES = "write ros2, or one like ros2://robot1?domain=7"


@dataclass(frozen=True, kw_only=True, slots=True)
class DdsAddress:
    """Where to publish.  `namespace` starts with a slash, and is nothing else for none."""

    text: str
    domain: int
    namespace: str = "/"


def is_dds(text: str) -> bool:
    """Whether an address is meant for ROS 2, right or wrong."""
    return text == SCHEME or text.startswith(f"{SCHEME}:")


def parse_address(text: str, environment: Mapping[str, str]) -> DdsAddress:
    """The address in a text such as `ros2`, `ros2://robot1/head` or `ros2://?domain=7`.

    Args:
        text: as the user wrote it.
        environment: ROS_DOMAIN_ID there is the domain, if the address names none; else 0, as for every ROS node.

    Raises:
        UserError: it is no such address.
    """
    if text == SCHEME:
        place, question = "", ""
    else:
        scheme, _, rest = text.partition("://")
        place, _, question = rest.partition("?")
        if scheme != SCHEME:
            raise UserError(f"publish {text}: not an address for ROS 2; {_EXAMPLES}")
    namespace = "/" + place.strip("/")
    if namespace != "/" and not _NAMESPACE.fullmatch(namespace):
        raise UserError(f"publish {text}: {namespace!r} is no namespace of ROS (letters, digits, _); {_EXAMPLES}")
    options = dict(parse_qsl(question, keep_blank_values=True))
    domain = options.pop("domain", None)
    if options:
        raise UserError(f"publish {text}: unknown option {next(iter(options))!r}, there is domain; {_EXAMPLES}")
    if domain is not None:
        number = _domain(domain, f"publish {text}: domain")
    else:
        number = _domain(environment.get("ROS_DOMAIN_ID") or "0", "ROS_DOMAIN_ID")
    return DdsAddress(text=text, domain=number, namespace=namespace)


def _domain(text: str, what: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) <= MAX_DOMAIN):
        raise UserError(f"{what} {text!r}: give a whole number from 0 to {MAX_DOMAIN}")
    return int(text)
