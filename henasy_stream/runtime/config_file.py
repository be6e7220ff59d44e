"""`live --write-config`: a file of all options that `--config` reads."""

from __future__ import annotations

import argparse
import sys
import textwrap
from pathlib import Path
from typing import Any

import yaml

from henasy_stream._arguments import Parser
from henasy_stream.errors import UserError
from henasy_stream.runtime.options import NAMES, LiveOptions

_HEAD = """\
# Options of henasy-stream, for: live --config FILE.  What is typed on the command line wins over this file.
# A line that begins with "#" and a name shows a default; remove the "#" to change it.  null means: not set.
# File names are relative to the folder where the node is started.
"""
_WIDTH = 116


def write_config(path: Path, parser: Parser, options: LiveOptions) -> None:
    """Writes a commented YAML file; "-" is stdout.

    Args:
        path: a new file.
        parser: has the words about each option.
        options: what differs from the defaults is set in the file.

    Raises:
        UserError: the file is there already or cannot be written.
    """
    text = config_text(parser, options)
    if str(path) == "-":
        sys.stdout.write(text)
        return
    try:
        with path.expanduser().open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise UserError(f"--write-config {path}: is there already; choose another name, or remove it first") from None
    except OSError as error:
        raise UserError(f"--write-config {path}: cannot be written ({error.strerror}); check the path") from None


def config_text(parser: Parser, options: LiveOptions) -> str:
    """The content of the file, in the order of `--help`."""
    usual, paragraphs = LiveOptions(), [_HEAD]
    for title, actions in parser.sections():
        entries = [_entry(action, usual, options) for action in actions if _name(action) in NAMES]
        if entries:
            paragraphs += [f"# {f' {title} ':-^{_WIDTH - 2}}\n", *entries]
    return "\n".join(paragraphs)


def _name(action: argparse.Action) -> str:
    return action.dest.replace("_", "-")


def _entry(action: argparse.Action, usual: LiveOptions, options: LiveOptions) -> str:
    default, value = getattr(usual, action.dest), getattr(options, action.dest)
    words = textwrap.wrap(action.help or "", _WIDTH, initial_indent="# ", subsequent_indent="# ")
    form = f"  # {action.metavar}" if value is None else ""
    line = f"{'' if value != default else '#'}{_name(action)}: {_scalar(value)}{form}"
    return "\n".join([*words, line]) + "\n"


def _scalar(value: Any) -> str:
    plain = list(value) if isinstance(value, tuple) else value
    flow = _dumped(plain, allow_unicode=True)
    # Some characters that break lines come out bare, and would be read as others.
    return flow if flow.isprintable() else _dumped(plain, allow_unicode=False)


def _dumped(value: Any, *, allow_unicode: bool) -> str:
    flow = yaml.safe_dump(value, default_flow_style=True, allow_unicode=allow_unicode, width=sys.maxsize)
    return flow.removesuffix("...\n").rstrip("\n")
