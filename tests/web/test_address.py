"""Where the page listens and whom it admits."""

from __future__ import annotations

import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from henasy_stream.errors import UserError
from henasy_stream.web.address import Address, listen, parse_address


def test_the_page_stays_on_this_machine_and_needs_no_token_there() -> None:
    for text in ("8420", "localhost:8420", "127.0.0.1:8420", "[::1]:8420"):
        address = parse_address(text)
        assert address.loopback
        assert address.token is None
        assert address.secret_url == address.url


def test_an_address_that_others_reach_has_a_token_of_its_own_behind_the_hash() -> None:
    first, second = parse_address("0.0.0.0:8420"), parse_address("192.168.1.5:8420")
    assert first.token
    assert first.token != second.token
    assert second.url == "http://192.168.1.5:8420/"
    assert second.secret_url == f"http://192.168.1.5:8420/#token={second.token}"
    assert second.admits_token(second.token)
    assert not second.admits_token(first.token)
    assert not second.admits_token(None)
    assert not second.admits_token("ünsinn")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "no port"),
        ("example", "no port"),
        ("127.0.0.1:70000", "no port between 0 and 65535"),
        ("robot.local:8420", "'robot.local' is no IP address"),
        ("0.0.0.0:", "no port"),
        ("٣", "no port"),
    ],
)
def test_a_mistake_is_one_line(text: str, expected: str) -> None:
    with pytest.raises(UserError, match="--view-address") as error:
        parse_address(text)
    assert expected in str(error.value)
    assert "\n" not in str(error.value)


@given(st.text(max_size=40))
def test_any_text_is_an_address_or_a_mistake(text: str) -> None:
    try:
        address = parse_address(text)
    except UserError:
        return
    assert (address.token is None) == address.loopback


def test_a_port_that_is_taken_is_told_with_another_to_try() -> None:
    with listen(Address(host="127.0.0.1", port=0)) as first:
        port = first.getsockname()[1]
        with pytest.raises(UserError, match=f"the port is taken, .*--view-address {port % 65535 + 1}"):
            listen(Address(host="127.0.0.1", port=port))
    listen(Address(host="127.0.0.1", port=port)).close()


def test_an_address_of_another_machine_is_told() -> None:
    with pytest.raises(UserError, match=r"192\.0\.2\.1.*name an address of this machine"):
        listen(Address(host="192.0.2.1", port=0))


@pytest.mark.parametrize("host", ["localhost", "localhost:8420", "127.0.0.1:9000", "[::1]:8420", "127.0.0.2"])
def test_a_page_on_loopback_goes_by_the_names_of_loopback(host: str) -> None:
    assert Address(host="127.0.0.1", port=8420).admits_host(host)


@pytest.mark.parametrize(
    "host",
    [
        None,
        "",
        "evil.example",
        "evil.example:8420",
        "192.168.1.5:8420",
        "localhost.evil.example",
        "127.0.0.1.evil",
        "::1",
        "127.0.0.1:8420, x",
    ],
)
def test_a_page_on_loopback_goes_by_no_other_name(host: str | None) -> None:
    assert not Address(host="127.0.0.1", port=8420).admits_host(host)


def test_a_page_for_others_goes_by_addresses_and_its_own_name() -> None:
    address = Address(host="0.0.0.0", port=8420, token="t")
    assert address.admits_host("192.168.1.5:8420")
    own = socket.gethostname().partition(".")[0]
    for name in (own, f"{own}.local", f"{own.upper()}.lan:8420"):
        assert address.admits_host(name)
    assert not address.admits_host("evil.example:8420")


@given(st.text(max_size=60))
def test_no_name_makes_trouble(host: str) -> None:
    if Address(host="127.0.0.1", port=8420).admits_host(host):
        assert host.lower().startswith(("localhost", "127.", "[", "::"))
