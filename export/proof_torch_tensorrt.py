"""Does Torch-TensorRT take the networks in one piece?  `make proof`, or `python export/proof_torch_tensorrt.py …`.

Of every network: its operators that Torch-TensorRT converts, the pieces that it cuts the network into, the lowered
network against the one that it was made of, the conversion, and the build for a GPU that is not there.  The control
chooses groups by a scatter and must fall apart.  Nothing that was built is executed.  Rows, also of `--json`:

bundle, precision, version, graph, supported, operators, subgraphs, left_to_torch, unsupported, steps, worst {output:
    largest difference of the lowered network}, flips, equal: of every row
layers, architecture, megabytes, seconds: where it was converted and, but for `--no-build`, built; else error
control: true for the control
tool, skipped (why): where Torch-TensorRT is missing
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[0] = str(ROOT)

from export.proof_rows import SKIPPED, Row, Tool, keep, show  # noqa: E402 - imports start from the root
from henasy_stream._arguments import Parser  # noqa: E402
from henasy_stream.errors import UserError  # noqa: E402

WORKER = ROOT / "export" / "torch_tensorrt_lower.py"
ARCHITECTURE = "SM86"
_STEPS = 8
_TIMEOUT_S = 3600


def look(
    python: Path, weights: str, precision: str, steps: int, *, build: bool, scatter: bool = False
) -> Iterator[Row]:
    """The rows of some weights; with `scatter`, of the control.

    Raises:
        UserError: the environment lacks Torch-TensorRT, or it died.
    """
    asked = {"weights": weights, "precision": precision, "steps": steps, "scatter": scatter}
    line = json.dumps(asked | {"build": ARCHITECTURE if build else None})
    done = subprocess.run(
        [str(python), str(WORKER)], input=line + "\n", capture_output=True, text=True, timeout=_TIMEOUT_S
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no reason"])[-1]
        raise UserError(f"Torch-TensorRT did not look at {weights} in {precision} ({last[:200]})")
    for told in done.stdout.splitlines():
        if told.startswith("{"):
            yield {**json.loads(told), "control": scatter}


def whole(row: Row) -> bool:
    """Every operator in one piece, equal to what it was made of, and converted."""
    one = row["supported"] == row["operators"] and row["subgraphs"] == 1 and not row["left_to_torch"]
    return one and row["equal"] and "error" not in row


def holds(rows: Sequence[Row]) -> bool:
    """Networks are whole, and the control is the same network but not whole."""
    networks, controls = ([row for row in rows if row["control"] == kind] for kind in (False, True))
    fell = all(row["equal"] and row["supported"] < row["operators"] and row["subgraphs"] > 1 for row in controls)
    return bool(networks) and bool(controls) and fell and all(whole(row) for row in networks)


def main(argv: Sequence[str]) -> int:
    """0 proved or visibly skipped, 1 not proved, or a tool that `--require` wants is missing, 2 a mistake."""
    parser = Parser(prog="proof_torch_tensorrt.py", description="Does Torch-TensorRT take the networks in one piece?")
    parser.add_argument("--weights", nargs="+", required=True, help="names or .safetensors files")
    parser.add_argument("--precision", nargs="+", choices=("fp32", "fp16"), default=["fp32", "fp16"])
    parser.add_argument("--torchtrt", type=Path, required=True, help="python of an environment with torch_tensorrt")
    parser.add_argument("--steps", type=int, default=_STEPS, help=f"to compare (default {_STEPS})")
    parser.add_argument("--no-build", action="store_true", help=f"convert, but do not build for {ARCHITECTURE}")
    parser.add_argument("--require", action="store_true", help="a missing Torch-TensorRT is a failure")
    parser.add_argument("--json", type=Path, help="write the rows to this file as well")
    try:
        options = parser.parse_args(argv)
        probe = "from importlib.metadata import version; version('torch-tensorrt-rtx'); import tensorrt_rtx"
        tool = Tool(name="torch_tensorrt", probe=probe, python=options.torchtrt, target="proof")
        if reason := tool.missing():
            rows = [tool.skip(reason)]
        else:
            rows = list(_rows(options))
    except (UserError, OSError) as error:
        print(f"proof_torch_tensorrt: {error}", file=sys.stderr)
        return 2
    columns = {name: name for name in ("bundle", "precision", "graph", "operators", "supported", "subgraphs")}
    columns |= {"largest difference": "worst", "flips": "flips", "layers": "layers", "MB": "megabytes", "": "said"}
    version = rows[0].get("version", "")
    show(f"Torch-TensorRT {version}; nothing was executed", columns, [row | {"said": _said(row)} for row in rows])
    keep(options.json, rows)
    if SKIPPED in rows[0]:
        return int(options.require)
    return 0 if holds(rows) else 1


def _rows(options: Any) -> Iterator[Row]:
    for weights in options.weights:
        for precision in options.precision:
            yield from look(options.torchtrt, weights, precision, options.steps, build=not options.no_build)
    yield from look(options.torchtrt, options.weights[0], "fp32", 2, build=False, scatter=True)


def _said(row: Row) -> str:
    if SKIPPED in row:
        return ""
    return ("control: " if row["control"] else "") + (row.get("error") or ("one piece" if whole(row) else "NO"))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
