"""What an HTTP request is answered: with a file, with a refusal, or by letting a WebSocket be opened."""

from __future__ import annotations

from http import HTTPStatus

from websockets.http11 import Request, Response

from henasy_stream.web.address import Address
from henasy_stream.web.files import answer, assets, refusal

SOCKET_PATH, SAVE_PATH = "/live", "/save"


def respond(request: Request, address: Address) -> Response | None:
    """The answer to a request; None where it may go on as a WebSocket.

    A request by another name (DNS rebinding) or from the page of another site is refused, whatever it is for.
    """
    headers = request.headers
    hosts, origins = headers.get_all("Host"), headers.get_all("Origin")
    if len(hosts) != 1 or not address.admits_host(hosts[0]):
        return refusal(
            HTTPStatus.MISDIRECTED_REQUEST, "this page has another name; use the address that the node printed"
        )
    own = ([f"http://{hosts[0]}"], [f"https://{hosts[0]}"])  # the second behind a proxy that encrypts
    if origins and origins not in own:
        return refusal(HTTPStatus.FORBIDDEN, "requests from other pages are refused")
    if getattr(request, "method", "GET") != "GET":  # earlier than 16, websockets itself refuses all others
        return refusal(HTTPStatus.METHOD_NOT_ALLOWED, "GET only", Allow="GET")
    path = request.path.partition("?")[0]
    if path in (SOCKET_PATH, SAVE_PATH):
        return None
    asset = assets().get(path)
    return (
        refusal(HTTPStatus.NOT_FOUND, "no such file")
        if asset is None
        else answer(HTTPStatus.OK, asset.body, asset.type)
    )
