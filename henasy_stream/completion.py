"""`henasy completion SHELL`: prints what makes a shell complete `henasy`, its commands and their options."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module

from henasy_stream.__main__ import COMMANDS, module
from henasy_stream._arguments import Parser
from henasy_stream.errors import UserError

SHELLS = ("bash", "zsh", "fish")
EPILOG = """\
once, for every shell to come:
  bash  henasy completion bash > ~/.local/share/bash-completion/completions/henasy
  zsh   henasy completion zsh > ~/.zfunc/_henasy      (before compinit in .zshrc: fpath+=~/.zfunc)
  fish  henasy completion fish > ~/.config/fish/completions/henasy.fish

exit codes: 0 printed; 2 a mistake in the arguments
"""
_PATHS = ("FILE", "FOLDER", "BUNDLE", "URI", "DEVICE")
"""Words in a metavar that say that a path may stand there."""


def build_parser() -> Parser:
    """The arguments."""
    parser = Parser(
        prog="completion",
        description="Prints a script that completes henasy, its commands and their options.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("shell", choices=SHELLS, help="which one")
    return parser


def script(shell: str) -> str:
    """The script for one of `SHELLS`."""
    import shtab

    top = Parser(prog="henasy", description="Perception for egocentric video.")
    top.add_argument("--version", action="version", version="")
    commands = top.add_subparsers()
    for name, text in COMMANDS.items():
        parser = import_module(module(name)).build_parser()
        commands.add_parser(name, help=text, description=text, parents=[parser], add_help=False)
        for _, actions in parser.sections():
            for action in actions:
                if isinstance(action.metavar, str):
                    action.metavar = action.metavar.replace('"', "")  # shtab lets it end zsh's quotation
                    if any(word in action.metavar for word in _PATHS):
                        action.complete = shtab.FILE
    printed: str = shtab.complete(top, shell=shell)
    return printed


def main(argv: Sequence[str] | None = None) -> int:
    """0, or 2 for a shell that is not known."""
    try:
        options = build_parser().parse_args(argv)
    except UserError as error:
        print(f"completion: {error}", file=sys.stderr)
        return 2
    print(script(options.shell))
    return 0


if __name__ == "__main__":
    sys.exit(main())
