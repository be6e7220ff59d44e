"""Where a socket of the node listens: on this machine unless told otherwise, and with CURVE if there is a key."""

from __future__ import annotations

import errno
import ipaddress
import socket as system_socket
import stat
from pathlib import Path

import zmq
import zmq.auth

from henasy_stream.errors import UserError


def bind(
    socket: zmq.Socket[bytes],
    endpoint: str,
    *,
    option: str,
    allow_remote: bool,
    curve_secret_file: str | Path | None = None,
) -> None:
    """Binds `socket`.

    Args:
        socket: with all options set but those about the address and CURVE.
        endpoint: `zmq://host:port` or `tcp://host:port` (port 0 or *: any free one), or `ipc://path`.
        option: of the command line, without dashes, that names the endpoint; messages are about it, and about
            `--option-remote`.
        allow_remote: bind to an address that other machines can reach.
        curve_secret_file: the `.key_secret` file of `zmq.auth.create_certificates`.

    Raises:
        UserError: the endpoint makes no sense, is taken, is not of this machine, or is remote without `allow_remote`;
            the key cannot be read.
    """
    address = _address(endpoint, option, allow_remote=allow_remote)
    socket.setsockopt(zmq.IPV6, int(address.startswith("tcp://[")))
    if curve_secret_file is not None:
        _serve_curve(socket, Path(curve_secret_file))
    try:
        socket.bind(address)
    except zmq.ZMQError as error:
        if error.errno == errno.EADDRINUSE:
            raise UserError(
                f"{option} {endpoint}: the address is in use: stop the program that listens there, "
                f"or use another one, such as --{option} {_neighbour(address)}"
            ) from error
        raise UserError(
            f"{option} {endpoint}: {error.strerror}; name an address of this machine, such as zmq://127.0.0.1:5560"
        ) from error


def _address(endpoint: str, option: str, *, allow_remote: bool) -> str:
    """The endpoint as libzmq wants it, refused unless it makes sense and stays on this machine."""
    scheme, separator, rest = endpoint.partition("://")
    if not separator or scheme not in ("zmq", "tcp", "ipc") or not rest:
        raise UserError(
            f"{option} {endpoint}: not an endpoint; write one like zmq://127.0.0.1:5560 or ipc:///run/henasy"
        )
    if scheme == "ipc":
        _check_ipc(endpoint, option, rest)
        return endpoint
    host, separator, port = rest.rpartition(":")
    if not separator or not host or not (port == "*" or (port.isascii() and port.isdigit() and int(port) < 65536)):
        raise UserError(f"{option} {endpoint}: no port between 0 and 65535; write one like zmq://127.0.0.1:5560")
    if host == "localhost":
        host = "127.0.0.1"
    if not allow_remote and not _is_loopback(host):
        raise UserError(
            f"{option} {endpoint}: other machines could reach it; add --{option}-remote if they may, or use 127.0.0.1"
        )
    return f"tcp://{host}:{port}"


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _check_ipc(endpoint: str, option: str, path: str) -> None:
    """ZeroMQ removes whatever is at the path before it binds; that must be nothing but a socket nobody listens to."""
    place = Path(path)
    if path.startswith("@") or not place.exists():
        return
    if not stat.S_ISSOCK(place.stat().st_mode):
        raise UserError(f"{option} {endpoint}: {path} exists and is no socket; name another path")
    with system_socket.socket(system_socket.AF_UNIX) as probe:
        try:
            probe.connect(path)
        except OSError:
            return
    raise UserError(
        f"{option} {endpoint}: the address is in use: stop the program that listens there, or use another path"
    )


def _neighbour(address: str) -> str:
    host, _, port = address.rpartition(":")
    return f"zmq{host[3:]}:{int(port) % 65535 + 1}"


def _serve_curve(socket: zmq.Socket[bytes], file: Path) -> None:
    if not zmq.has("curve"):
        raise UserError("this pyzmq was built without CURVE; install the pyzmq wheel from PyPI")
    try:
        public, secret = zmq.auth.load_certificate(file)
    except (OSError, ValueError) as error:
        raise UserError(
            f"CURVE key {file}: {error}; make one with zmq.auth.create_certificates('.', 'henasy') in Python"
        ) from error
    if secret is None:
        raise UserError(f"CURVE key {file}: holds no secret key; name the file that ends in .key_secret")
    socket.setsockopt(zmq.CURVE_SERVER, 1)
    socket.setsockopt(zmq.CURVE_PUBLICKEY, public)
    socket.setsockopt(zmq.CURVE_SECRETKEY, secret)
