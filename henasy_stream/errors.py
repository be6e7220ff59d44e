"""Errors that a user can act on."""

from __future__ import annotations

import os


class UserError(ValueError):
    """A mistake that the user can mend: one line that names the thing and what to do next.

    Command lines print it without a traceback and exit with code 2.
    """


def debugging() -> bool:
    """Whether the user asked for tracebacks: HENASY_DEBUG=1."""
    return os.environ.get("HENASY_DEBUG") == "1"
