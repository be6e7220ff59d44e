"""Where the page of a node is told, and what is opened to show it."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from henasy_stream.errors import UserError
from henasy_stream.runtime.monitor import Monitor
from henasy_stream.runtime.options import LiveOptions
from henasy_stream.runtime.report import Reporter
from henasy_stream.runtime.viewing import open_page, show_node
from henasy_stream.web.page import LivePage
from tests.runtime.parts import ScriptedSource
from tests.sinks.synthetic import SPEC


@pytest.fixture
def opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file in which a browser of ours writes what it is told to open, on a display that is said to be there."""
    file, browser = tmp_path / "opened", tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" >> {file}\n')
    browser.chmod(0o755)
    monkeypatch.setattr("webbrowser._tryorder", None)
    monkeypatch.setattr("webbrowser._browsers", {})
    monkeypatch.setenv("BROWSER", str(browser))
    monkeypatch.setenv("DISPLAY", ":99")
    monkeypatch.setenv("HENASY_CACHE", str(tmp_path))
    return file


def shown(options: LiveOptions) -> tuple[str, LivePage]:
    """What is said, and the page, which is closed again."""
    log = io.StringIO()
    reporter = Reporter(Console(file=log, soft_wrap=True))
    page = open_page(options, reporter.warn)
    try:
        source = ScriptedSource([])
        show_node(options, reporter, page, source, SPEC, Monitor(source), None)
    finally:
        page.close()
    return log.getvalue(), page


def test_a_browser_is_opened_where_there_is_a_display(opened: Path) -> None:
    said, page = shown(LiveOptions(source="script", view=True, view_address="0"))
    assert page.address.url in said
    assert opened.read_text().split() == [page.address.url]


def test_none_is_opened_for_headless_or_without_a_display(opened: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown(LiveOptions(source="script", view=True, view_address="0", headless=True))
    monkeypatch.delenv("DISPLAY")
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    shown(LiveOptions(source="script", view=True, view_address="0"))
    assert not opened.exists()


def test_a_browser_that_fails_is_told(opened: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BROWSER", "/nonexistent/browser")
    monkeypatch.setattr("webbrowser.register_standard_browsers", lambda: None)
    monkeypatch.setattr("webbrowser._tryorder", [])
    said, _ = shown(LiveOptions(source="script", view=True, view_address="0"))
    assert "no browser could be opened" in said


def test_a_token_is_given_to_no_process(opened: Path) -> None:
    said, page = shown(LiveOptions(source="script", view=True, view_address="0.0.0.0:0"))
    assert not opened.exists()
    assert page.address.token
    assert page.address.token not in said
    assert page.address.token in (opened.parent / "page-token").read_text()


def test_an_address_needs_a_page() -> None:
    with pytest.raises(UserError, match="no port"):
        open_page(LiveOptions(source="script", view=True, view_address="nowhere"), print)
