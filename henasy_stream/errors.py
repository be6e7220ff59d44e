"""Errors that a user can act on."""

from __future__ import annotations


class UserError(ValueError):
    """A mistake that the user can mend: one line that names the thing and what to do next.

    Command lines print it without a traceback and exit with code 2.
    """
