"""Turn weights into a bundle that runs without PyTorch: `python export/export.py --weights demo --out bundle/`."""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path[0] = str(Path(__file__).resolve().parents[1])

from rich.console import Console  # noqa: E402 - imports start from the root
from rich.table import Table  # noqa: E402

from henasy_stream._arguments import Parser  # noqa: E402
from henasy_stream.errors import UserError, debugging  # noqa: E402

if TYPE_CHECKING:
    from export.bundle import Written


def main(argv: Sequence[str]) -> int:
    """0 written, 2 a mistake or a graph that is not the network, 130 interrupted."""
    parser = Parser(prog="export.py", description="Turn weights into a bundle.", allow_abbrev=False)
    parser.add_argument("--weights", default="demo", help="a name, a .safetensors or a LaViLa .pth (default demo)")
    parser.add_argument("--out", type=Path, required=True, help="folder of the bundle; one that is there is replaced")
    parser.add_argument(
        "--precision", choices=("fp32", "fp16", "int8"), default="fp32", help="of the network (default fp32)"
    )
    parser.add_argument("--steps", type=int, default=100, help="steps to compare with the reference (default 100)")
    parser.add_argument(
        "--opset", type=int, default=20, help="of ONNX, 18 to 20 (default 20, the latest of TensorRT 10)"
    )
    parser.add_argument("--parts", action="store_true", help="each part of the network as a graph of its own, besides")
    parser.add_argument("--program", action="store_true", help="a program for torch.export.load, besides")
    parser.add_argument("--dynamic-batch", action="store_true", help="graphs that take any number of streams at once")
    parser.add_argument(
        "--text-of", metavar="BUNDLE", help="share the text tower of this bundle, which lies beside --out"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="add what was measured to this file as well")
    console, started = Console(stderr=True), time.monotonic()
    try:
        options = parser.parse_args(argv)
        if options.steps < 8:
            raise UserError(f"--steps {options.steps}: compare at least 8")
        from export.bundle import write_bundle
        from henasy_stream._progress import Bar
        from henasy_stream.loading import weights_file

        def tell(line: str) -> None:
            console.print(line, markup=False, highlight=False)

        weights = weights_file(options.weights, tell)
        with Bar("exporting", counted="time", console=console):
            written = write_bundle(
                weights,
                options.out,
                precision=options.precision,
                steps=options.steps,
                opset=options.opset,
                batch=options.dynamic_batch,
                text_of=options.text_of,
                parts=options.parts,
                program=options.program,
                report=tell,
            )
        if options.json is not None:
            _add(options.json, written, time.monotonic() - started)
    except (UserError, OSError) as error:
        if debugging():
            raise
        print(f"export: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("export: interrupted; nothing was written", file=sys.stderr)
        return 130
    Console().print(_table(written))
    if written.half is not None:
        half = written.half
        print(
            f"half precision: similarities within {half.error:.1e} of their range; {half.flips} of {half.tokens} "
            f"tokens in another group ({half.rate:.2%}), each where the reference was undecided"
        )
    if written.scores is not None:
        before, after = written.scores.before, written.scores.after
        told = ", ".join(f"{name} {before[name]:.3f} → {after[name]:.3f}" for name in before)
        print(f"scores on held-out clips of the synthetic world, float32 → int8: {told}")
        slow, fast = written.scores.clip_ms
        print(f"CPU time of a clip, float32 → int8: {slow:.1f} → {fast:.1f} ms")
    return 0


def _table(written: Written) -> Table:
    table = Table(title=f"{written.folder}: {written.manifest.spec.model_id}")
    for title in ("graph", "MB", "operators", "steps", "largest difference", "flips", "free run"):
        table.add_column(title, justify="left" if title == "graph" else "right")
    for name, graph in written.manifest.graphs.items():
        parity = written.parity[name]
        size = written.manifest.files[graph.file].size / 1e6
        rollout = f"{max(parity.rollout.values()):.1e}" if parity.rollout else "–"
        worst = f"{max(parity.worst.values()):.1e}" if parity.worst else "–"
        operators = sum(graph.operators.values())
        table.add_row(name, f"{size:.1f}", f"{operators}", f"{parity.steps}", worst, f"{parity.flips}", rollout)
    return table


def _add(path: Path, written: Written, seconds: float) -> None:
    """What was measured, beside that of other bundles in the same file."""
    manifest = written.manifest
    graphs: dict[str, Any] = {
        name: {
            "megabytes": round(manifest.files[graph.file].size / 1e6, 1),
            "operators": sum(graph.operators.values()),
            **dataclasses.asdict(written.parity[name]),
        }
        for name, graph in manifest.graphs.items()
    }
    half = written.half and dataclasses.asdict(written.half)
    found = {
        "made_by": f"{manifest.made_by} ({manifest.commit})",
        "seconds": round(seconds),
        "half": half,
        "graphs": graphs,
    }
    if written.scores is not None:
        found["scores"] = dataclasses.asdict(written.scores)
    before = json.loads(path.read_text()) if path.exists() else {}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(before | {f"{manifest.spec.model_id} {manifest.precision}": found}, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
