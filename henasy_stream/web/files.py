"""The page's own files, read once, and the headers that every answer has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from http import HTTPStatus
from importlib.resources import files
from types import MappingProxyType

from websockets.datastructures import Headers
from websockets.http11 import Response

_TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
    "txt": "text/plain; charset=utf-8",
    "woff2": "font/woff2",
}
_SAFE = {
    # Nothing from elsewhere, no inline script or style, in nobody's frame.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "font-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "Cache-Control": "no-cache",
}


@dataclass(frozen=True, kw_only=True)
class Asset:
    """A file of the page."""

    type: str
    body: bytes


@cache
def assets() -> Mapping[str, Asset]:
    """All files by the path that a browser asks for; `/` is the page.  Only these exist: no path reaches the disk."""
    found: dict[str, Asset] = {}
    for item in files("henasy_stream.web").joinpath("static").iterdir():
        suffix = item.name.rpartition(".")[2]
        if suffix in _TYPES:
            found[f"/{item.name}"] = Asset(type=_TYPES[suffix], body=item.read_bytes())
    found["/"] = found["/index.html"]
    return MappingProxyType(found)


def answer(status: HTTPStatus, body: bytes, content_type: str, **more: str) -> Response:
    """An HTTP answer with the headers that keep the page safe."""
    headers = Headers(_SAFE)
    headers["Content-Type"] = content_type
    headers["Content-Length"] = str(len(body))
    headers["Connection"] = "close"
    for name, value in more.items():
        headers[name.replace("_", "-")] = value
    return Response(status.value, status.phrase, headers, body)


def refusal(status: HTTPStatus, why: str, **more: str) -> Response:
    """An HTTP answer that says no."""
    return answer(status, f"{why}\n".encode(), _TYPES["txt"], **more)
