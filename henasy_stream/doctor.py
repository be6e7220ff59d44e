"""`python -m henasy_stream.doctor`: what works on this machine, what does not, and what to do about it."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import sys
from collections.abc import Iterator, Sequence

from henasy_stream import __version__
from henasy_stream._arguments import Parser
from henasy_stream.checks.finding import Check, Finding, isolated
from henasy_stream.errors import UserError

BACKENDS = ("tensorrt", "onnxruntime", "torch")
"""In the order in which `--backend auto` tries them for the demo weights."""
CHECKS = (
    Check(about="system", function="machine.system"),
    Check(about="libraries", function="runtimes.libraries"),
    Check(about="node", function="runtimes.node", limit_s=60),
    *(Check(about=name, function="runtimes.backend", argument=name, limit_s=120) for name in BACKENDS),
    Check(about="torch-tensorrt", function="runtimes.backend", argument="torch-tensorrt", limit_s=600),  # it compiles
    Check(about="gpu", function="runtimes.gpu"),
    Check(about="camera", function="cameras.cameras", limit_s=60),
    Check(about="display", function="machine.display", limit_s=30),
    Check(about="port", function="machine.ports"),
    Check(about="cache", function="machine.cache"),
    Check(about="disk", function="machine.here"),
    Check(about="ros", function="ros.ros"),
    Check(about="dds", function="ros.dds"),
    Check(about="udp", function="ros.buffers"),
    Check(about="shm", function="ros.shared_memory"),
)
_COLOURS = {"ok": "32", "note": "33", "problem": "31"}


def build_parser() -> Parser:
    """The arguments."""
    parser = Parser(
        prog="doctor",
        description="Looks at this machine: libraries, what executes the network, cameras, display, ports, disk, ROS.",
        epilog="Exit codes: 0 the node can run here; 1 it cannot, the line that says why begins with 'problem'; 2 a "
        "mistake in the arguments; 130 interrupted.",
        allow_abbrev=False,
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of lines")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """0 where the node can run, 1 where it cannot, 2 for wrong arguments, 130 interrupted."""
    try:
        options = build_parser().parse_args(argv)
    except UserError as error:
        print(f"doctor: {error}", file=sys.stderr)
        return 2
    sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr] # a camera's name may be anything
    try:
        return _tell(as_json=options.json)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # `| head` has read enough; the interpreter would complain when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _tell(*, as_json: bool) -> int:
    found = []
    for finding in diagnose():
        found.append(finding)
        if not as_json:
            print(_line(finding), flush=True)
    backend, runs = verdict(found)
    if as_json:
        findings = [dataclasses.asdict(finding) for finding in found]
        told = json.dumps({"version": __version__, "runs": runs, "backend": backend, "findings": findings}, indent=1)
    elif runs:
        told = f"The node can run here; --backend auto takes {backend} for the demo weights."
    else:
        told = "The node cannot run here: see the lines that begin with 'problem'."
    print(told, flush=True)
    return 0 if runs else 1


def diagnose() -> Iterator[Finding]:
    """All findings, each as soon as it is known."""
    for check in CHECKS:
        with _waiting_for(check.about):
            found = isolated(check)
        yield from found


@contextlib.contextmanager
def _waiting_for(about: str) -> Iterator[None]:
    """Says on a terminal what is looked at, by hand: the library that draws bars may be what is missing."""
    at_terminal = sys.stderr.isatty()
    if at_terminal:
        print(f"… {about}", end="", file=sys.stderr, flush=True)
    try:
        yield
    finally:
        if at_terminal:
            print("\r\x1b[2K", end="", file=sys.stderr, flush=True)


def verdict(found: Sequence[Finding]) -> tuple[str | None, bool]:
    """What executes the demo weights, and whether the node can run at all."""
    backend = next((f.about for name in BACKENDS for f in found if f.about == name and f.mark == "ok"), None)
    complete = any(f.about == "node" and f.mark == "ok" for f in found)
    return backend, complete and backend is not None


def _line(finding: Finding) -> str:
    mark = f"{finding.mark:<8}"
    if sys.stdout.isatty() and not os.environ.get("NO_COLOR"):
        mark = f"\x1b[{_COLOURS[finding.mark]}m{mark}\x1b[0m"
    remedy = f"\n{'':<23}→ {finding.remedy}" if finding.remedy else ""
    return f"{mark}{finding.about:<15}{finding.text}{remedy}"


if __name__ == "__main__":
    sys.exit(main())
