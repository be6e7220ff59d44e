"""The live page of a node: opens it, tells where it is, shows it in a browser."""

from __future__ import annotations

import contextlib
import os
import sys
import webbrowser
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from henasy_stream.cache import cache_folder
from henasy_stream.runtime.options import LiveOptions
from henasy_stream.runtime.report import Reporter
from henasy_stream.sources._live import LiveSource
from henasy_stream.web.address import DEFAULT_PORT, parse_address
from henasy_stream.web.page import About, LivePage

if TYPE_CHECKING:
    from henasy_stream.runtime.control import QueryDesk
    from henasy_stream.runtime.monitor import Monitor
    from henasy_stream.sources.base import Source
    from henasy_stream.types import ModelSpec

_TEXT_BROWSERS = ("lynx", "w3m", "links", "elinks", "www-browser")


def open_page(options: LiveOptions, report: Callable[[str], None]) -> LivePage:
    """The page, listening.

    Raises:
        UserError: the address makes no sense, is taken, or is not one of this machine.
    """
    return LivePage(parse_address(options.view_address or str(DEFAULT_PORT)), report=report)


def show_node(
    options: LiveOptions,
    reporter: Reporter,
    page: LivePage,
    source: Source,
    spec: ModelSpec,
    monitor: Monitor,
    desk: QueryDesk | None,
) -> None:
    """Has the page show the node, and a browser the page."""
    tapped = isinstance(source, LiveSource)
    if isinstance(source, LiveSource):
        source.on_frame = page.see
    answer = None if desk is None or "queries" not in spec.capabilities else desk.answer
    about = About(monitor=monitor, spec=spec, source=source.uri, rotate=options.rotate, answer=answer)
    page.attend(about, tapped=tapped)
    _tell(reporter, page)
    if page.address.token is None and not options.headless:
        _browse(reporter, page.address.url)


def _tell(reporter: Reporter, page: LivePage) -> None:
    address = page.address
    if address.token is None:
        reporter.say("page", address.url)
    elif sys.stderr.isatty():
        reporter.say("page", f"{address.secret_url}  (shown once; whoever has it can look and ask)")
    else:  # what is no terminal is kept, and a token must not be
        file = cache_folder() / "page-token"
        _write_secret(file, address.secret_url)
        reporter.say("page", f"{address.url} with the token in {file}")
    if address.token is not None:
        reporter.warn("the page is not encrypted: use a network that you trust, or a tunnel (ssh -L)")


def _browse(reporter: Reporter, url: str) -> None:
    """Opens a browser where there is a display, but none that writes to this terminal.

    An address with a token is never handed over: whoever lists processes would read it.
    """
    if sys.platform.startswith("linux") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return
    with contextlib.suppress(webbrowser.Error, OSError):
        browser = webbrowser.get()
        if getattr(browser, "basename", getattr(browser, "name", "")) not in _TEXT_BROWSERS and browser.open(url):
            return
    reporter.say("page", "no browser could be opened; open the address above in one")


def _write_secret(file: Path, text: str) -> None:
    file.unlink(missing_ok=True)
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        stream.write(text + "\n")
