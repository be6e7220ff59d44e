"""Turn weights into a bundle that runs without PyTorch: `python export/export.py --weights demo --out bundle/`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])

from rich.console import Console  # noqa: E402 - imports start from the root
from rich.table import Table  # noqa: E402

from henasy_stream.errors import UserError, debugging  # noqa: E402


def main(argv: Sequence[str]) -> int:
    """0 written, 2 a mistake or a graph that is not the network, 130 interrupted."""
    parser = argparse.ArgumentParser(prog="export.py", description="Turn weights into a bundle.", allow_abbrev=False)
    parser.add_argument("--weights", default="demo", help="a name, a .safetensors or a LaViLa .pth (default demo)")
    parser.add_argument("--out", type=Path, required=True, help="folder of the bundle; one that is there is replaced")
    parser.add_argument("--precision", choices=("fp32", "fp16"), default="fp32", help="of the network (default fp32)")
    parser.add_argument("--steps", type=int, default=100, help="steps to compare with the reference (default 100)")
    options = parser.parse_args(argv)
    console = Console(stderr=True)
    try:
        if options.steps < 8:
            raise UserError(f"--steps {options.steps}: compare at least 8")
        from export.bundle import write_bundle
        from henasy_stream.loading import weights_file

        def tell(line: str) -> None:
            console.print(line, markup=False, highlight=False)

        written = write_bundle(
            weights_file(options.weights, tell),
            options.out,
            precision=options.precision,
            steps=options.steps,
            report=tell,
        )
    except (UserError, OSError) as error:
        if debugging():
            raise
        print(f"export: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("export: interrupted; nothing was written", file=sys.stderr)
        return 130
    table = Table(title=f"{options.out}: {written.manifest.spec.model_id}")
    for title in ("graph", "MB", "operators", "steps", "largest difference", "flips", "free run"):
        table.add_column(title, justify="left" if title == "graph" else "right")
    for name, graph in written.manifest.graphs.items():
        parity = written.parity[name]
        size = written.manifest.files[graph.file].size / 1e6
        rollout = f"{max(parity.rollout.values()):.1e}" if parity.rollout else "–"
        worst = f"{max(parity.worst.values()):.1e}" if parity.worst else "–"
        operators = sum(graph.operators.values())
        table.add_row(name, f"{size:.1f}", f"{operators}", f"{parity.steps}", worst, f"{parity.flips}", rollout)
    Console().print(table)
    if written.half is not None:
        half = written.half
        print(
            f"half precision: similarities within {half.error:.1e} of their range; {half.flips} of {half.tokens} "
            f"tokens in another group ({half.rate:.2%}), each where the reference was undecided"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
