"""The `henasy` command: `henasy live …` is `python -m henasy_stream.live …`."""

from __future__ import annotations

import sys

from henasy_stream import __version__
from henasy_stream.runtime.options import suggestion

COMMANDS = {
    "live": "watch a video stream; publish entities and captions",
    "doctor": "say what works on this machine and what does not",
}

USAGE = "usage: henasy COMMAND [options]\n\n" + "\n".join(f"  {name:<8}{text}" for name, text in COMMANDS.items())


def main() -> int:
    """Runs the named command; exit code 2 for a command that does not exist."""
    name, arguments = (sys.argv[1], sys.argv[2:]) if len(sys.argv) > 1 else ("--help", [])
    if name in ("-h", "--help"):
        print(f"{USAGE}\n\nhenasy COMMAND --help says more.")
        return 0
    if name == "--version":
        print(f"henasy-stream {__version__}")
        return 0
    if name == "live":
        from henasy_stream.live import main as live

        return live(arguments)
    if name == "doctor":
        from henasy_stream.doctor import main as doctor

        return doctor(arguments)
    print(f"henasy: unknown command {name!r}{suggestion(name, COMMANDS)} (see henasy --help)", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
