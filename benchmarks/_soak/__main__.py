"""`make soak`: exit code 1 when one of the bounds does not hold."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.__main__ import machine
from benchmarks._soak.plot import draw
from benchmarks._soak.run import soak
from henasy_stream import __version__
from henasy_stream._arguments import Parser
from henasy_stream.errors import UserError


def main(argv: Sequence[str] | None = None) -> int:
    """Runs, judges, and writes what was asked for."""
    parser = Parser(prog="make soak", description=__doc__)
    parser.add_argument("--steps", type=int, default=200_000, help="default: %(default)s; at least 1000")
    parser.add_argument("--seed", type=int, default=1, help="of the faults; default: %(default)s")
    parser.add_argument("--weights", default="demo", help="the model; default: %(default)s")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all that was measured there")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw latency and memory there (PNG)")
    parser.add_argument("--note", default="", help="kept in the JSON, such as the commit")
    try:
        arguments = parser.parse_args(argv)
        if arguments.steps < 1000:
            raise UserError(f"--steps {arguments.steps}: fewer than 1000 say nothing")
    except UserError as error:
        print(f"soak: {error}", file=sys.stderr)
        return 2
    outcome = soak(arguments.steps, arguments.seed, arguments.weights)
    for check in outcome.checks:
        print(f"{'ok  ' if check.ok else 'FAIL'} {check.name}: {check.found}")
    if arguments.json is not None:
        content = {
            "version": __version__,
            "machine": machine(),
            "note": arguments.note,
            "checks": [dataclasses.asdict(check) for check in outcome.checks],
            **outcome.measured,
        }
        arguments.json.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    if arguments.plot is not None:
        draw(outcome.measured, arguments.plot)
    return 0 if outcome.ok else 1


if __name__ == "__main__":
    sys.exit(main())
