"""The `henasy` command: `henasy live …` is `python -m henasy_stream.live …`."""

from __future__ import annotations

import sys
from importlib import import_module

from henasy_stream import __version__
from henasy_stream.runtime.options import suggestion

COMMANDS = {
    "live": "watch a video stream; publish entities and captions",
    "doctor": "say what works on this machine and what does not",
    "build-engine": "build what TensorRT executes, for this GPU",
    "completion": "print what makes your shell complete these commands",
}
"""Each is a module of this package with `build_parser` and `main`."""

USAGE = "usage: henasy COMMAND [options]\n\n" + "\n".join(f"  {name:<14}{text}" for name, text in COMMANDS.items())


def module(command: str) -> str:
    """Where a command lives."""
    return f"henasy_stream.{command.replace('-', '_')}"


def main() -> int:
    """Runs the named command; exit code 2 for a command that does not exist."""
    name, arguments = (sys.argv[1], sys.argv[2:]) if len(sys.argv) > 1 else ("--help", [])
    if name in ("-h", "--help"):
        print(f"{USAGE}\n\nhenasy COMMAND --help says more.")
        return 0
    if name == "--version":
        print(f"henasy-stream {__version__}")
        return 0
    if name in COMMANDS:
        code: int = import_module(module(name)).main(arguments)
        return code
    print(f"henasy: unknown command {name!r}{suggestion(name, COMMANDS)} (see henasy --help)", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
