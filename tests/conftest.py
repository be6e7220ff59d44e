from __future__ import annotations

import signal

import pytest


def pytest_configure() -> None:
    # A background job of a shell ignores Ctrl-C, and so would every node that a test starts and interrupts.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory, monkeypatch):
    """No test reads or writes the user's cache."""
    monkeypatch.setenv("HENASY_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
