"""`make bench`: runs every module of this folder and prints one table."""

from __future__ import annotations

import dataclasses
import importlib
import json
import os
import pkgutil
import platform
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

import benchmarks
from benchmarks import Result
from henasy_stream import __version__
from henasy_stream._arguments import Parser
from henasy_stream._progress import Bar
from henasy_stream.errors import UserError


def modules() -> list[str]:
    """Names of the modules that measure something."""
    return sorted(m.name for m in pkgutil.iter_modules(benchmarks.__path__) if not m.name.startswith("_"))


def machine() -> str:
    """The processor, as the system names it, and how many cores this process may use."""
    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line.split(":", 1)[1].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line]
        name = names[0] if names else name
    return f"{name}, {len(os.sched_getaffinity(0))} cores"


def table(results: dict[str, list[Result]]) -> Table:
    """All results, one module after the other."""
    rows = Table(title=f"henasy-stream {__version__} on {machine()}", title_justify="left")
    for heading, justify in (("what", "left"), ("value", "right"), ("unit", "left"), ("note", "left")):
        rows.add_column(heading, justify=justify, overflow="fold")  # type: ignore[arg-type]
    for found in results.values():
        for result in found:
            rows.add_row(result.name, f"{result.value:.4g}", result.unit, result.note)
        rows.add_section()
    return rows


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the named modules, or all; 1 when one of them failed."""
    parser = Parser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("only", nargs="*", metavar="MODULE", help=f"of {', '.join(modules())} (default: all)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results there as well")
    try:
        arguments = parser.parse_args(argv)
        if unknown := set(arguments.only) - set(modules()):
            raise UserError(f"no benchmark {', '.join(sorted(unknown))}; there are {', '.join(modules())}")
    except UserError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 2
    console, results, failed = Console(), {}, False
    for name in arguments.only or modules():
        started = time.monotonic()
        try:
            with Bar(name, counted="time"):
                results[name] = list(importlib.import_module(f"benchmarks.{name}").run())
        except Exception as error:  # noqa: BLE001 - the other modules' results are still wanted
            failed = True
            print(f"{name} failed: {type(error).__name__}: {error}", file=sys.stderr)
        else:
            print(f"{name}: {time.monotonic() - started:.0f} s", file=sys.stderr)
    console.print(table(results), soft_wrap=not console.is_terminal)
    if arguments.json is not None:
        rows = {name: [dataclasses.asdict(result) for result in found] for name, found in results.items()}
        content = {"version": __version__, "machine": machine(), "python": platform.python_version(), "results": rows}
        arguments.json.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
