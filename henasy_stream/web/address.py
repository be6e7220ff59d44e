"""Where the page listens, who may ask for it, and the address that people are given."""

from __future__ import annotations

import errno
import ipaddress
import re
import secrets
import socket
from dataclasses import dataclass

from henasy_stream.errors import UserError

DEFAULT_PORT = 8420
_BACKLOG = 32
_EXAMPLE = "127.0.0.1:8420, or 0.0.0.0:8420 for other machines"


@dataclass(frozen=True, kw_only=True)
class Address:
    """A host as the user named it (an IP address), and a port; port 0 is any free one.

    `token` is what a viewer has to show; None on loopback, which no other machine reaches.
    """

    host: str
    port: int
    token: str | None = None

    @property
    def loopback(self) -> bool:
        """Whether this machine alone can reach it."""
        return ipaddress.ip_address(self.host).is_loopback

    @property
    def url(self) -> str:
        """What to type into a browser, without the token."""
        host = socket.gethostname() if ipaddress.ip_address(self.host).is_unspecified else self.host
        return f"http://[{host}]:{self.port}/" if ":" in host else f"http://{host}:{self.port}/"

    @property
    def secret_url(self) -> str:
        """The same with the token behind a `#`: browsers never send that part, so no server and no proxy logs it."""
        return self.url if self.token is None else f"{self.url}#token={self.token}"

    def admits_host(self, host: str | None) -> bool:
        """Whether a request's `Host` is a name of this page; one of somebody else's is DNS rebinding.

        The port is not looked at: a tunnel (`ssh -L 9000:localhost:8420`) changes it, and rebinding cannot fake a name.
        """
        match = re.fullmatch(r"(\[[0-9a-fA-F:.]+\]|[\w.-]+)(:\d{1,5})?", host or "", re.ASCII)
        if match is None:
            return False
        name = match[1].strip("[]").lower()
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            # In whatever domain (robot.local, robot.lan): beyond loopback it is the token that protects.
            own = socket.gethostname().lower().partition(".")[0]
            return name == "localhost" or (not self.loopback and name.partition(".")[0] == own)
        return address.is_loopback or not self.loopback

    def admits_token(self, token: str | None) -> bool:
        """Whether this is the token, compared in constant time."""
        return self.token is None or secrets.compare_digest((token or "").encode(), self.token.encode())


def parse_address(text: str) -> Address:
    """`PORT` or `HOST:PORT`; an address that other machines can reach comes with a new token.

    Raises:
        UserError: it makes no sense.
    """
    host, separator, port = text.strip().rpartition(":")
    host = (host if separator else "127.0.0.1").strip("[]")
    host = "127.0.0.1" if host == "localhost" else host
    if not (port.isascii() and port.isdigit() and int(port) < 65536):
        raise UserError(f"--view-address {text}: no port between 0 and 65535; write one like {_EXAMPLE}")
    try:
        is_local = ipaddress.ip_address(host).is_loopback
    except ValueError:
        raise UserError(f"--view-address {text}: {host!r} is no IP address; write one like {_EXAMPLE}") from None
    return Address(host=host, port=int(port), token=None if is_local else secrets.token_urlsafe(24))


def listen(address: Address) -> socket.socket:
    """A socket that listens there.

    Raises:
        UserError: the port is taken, or the address is not one of this machine.
    """
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address.host, address.port))
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        where = f"--view-address {address.host}:{address.port}"
        if error.errno == errno.EADDRINUSE:
            raise UserError(
                f"{where}: the port is taken, perhaps by another node; "
                f"stop it, or add --view-address {address.port % 65535 + 1}"
            ) from error
        if error.errno == errno.EACCES:
            raise UserError(f"{where}: ports below 1024 are for root; choose a higher one") from error
        raise UserError(f"{where}: {error.strerror}; name an address of this machine, such as {_EXAMPLE}") from error
    listener.setblocking(False)
    return listener
