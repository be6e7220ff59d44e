"""The argument parser of all command lines."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import NoReturn

from henasy_stream.errors import UserError


class Parser(argparse.ArgumentParser):
    """argparse that raises its errors as a UserError, which is one line."""

    def error(self, message: str) -> NoReturn:
        """Raises UserError."""
        raise UserError(f"{message.removeprefix('argument ')} (see {self.prog} --help)")

    def options(self) -> list[str]:
        """All option strings."""
        return [name for action in self._actions for name in action.option_strings]

    def sections(self) -> Iterator[tuple[str, list[argparse.Action]]]:
        """Title and arguments of each group, in the order of `--help`."""
        for group in self._action_groups:
            yield group.title or "", group._group_actions
