"""Do the graphs of a bundle build for NVIDIA GPUs?  `make proof`, or `python export/proof.py BUNDLE … --rtx PYTHON`.

The real parser and builder of TensorRT for RTX run without a GPU; what they build is never executed here, and thrown
away.  Rows, also of `--json`: bundle, precision, version, graph, architecture, layers, megabytes, seconds; `error`
instead of the last three where it was refused, which the bundle "control" must be; tool and skipped (why) where the
builder is missing.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[0] = str(ROOT)

from export.proof_rows import SKIPPED, Row, Tool, keep, show  # noqa: E402 - imports start from the root
from henasy_stream._arguments import Parser  # noqa: E402
from henasy_stream.backends.bundle import open_bundle  # noqa: E402
from henasy_stream.errors import UserError  # noqa: E402

ARCHITECTURES = ("SM86", "SM89", "SM120")
BY_PRECISION = {"fp16": ("SM75", "SM80", *ARCHITECTURES), "fp8-qdq": ("SM89", "SM120")}
"""Where it is not ARCHITECTURES: older GPUs have half precision only, and no numbers of eight bits with a point."""
WORKER = ROOT / "export" / "rtx_build.py"
CONTROL = "control"
_TIMEOUT_S = 3600
"""Of all builds of a graph: one of paper size takes minutes."""


def build_all(python: Path, graph: Path, architectures: Sequence[str]) -> Iterator[Row]:
    """What became of a graph for each architecture.

    Args:
        python: of an environment that has tensorrt_rtx.
        graph: a file.
        architectures: names of `ComputeCapability`.

    Raises:
        UserError: the environment lacks it, or the builder died.
    """
    asked = json.dumps({"graph": str(graph), "architectures": list(architectures)})
    done = subprocess.run(
        [str(python), str(WORKER)], input=asked + "\n", capture_output=True, text=True, timeout=_TIMEOUT_S
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no reason"])[-1]
        raise UserError(
            f"{python} did not build {graph.name} ({last[:200]}); pip install 'tensorrt_rtx>=1.5,<1.6' there"
        )
    for line in done.stdout.splitlines():
        if line.startswith("{"):
            yield json.loads(line)


def write_control(path: Path) -> None:
    """A graph with an operator that TensorRT does not have: a proof that accepts it proves nothing."""
    from onnx import TensorProto, helper, save

    graph = helper.make_graph(
        [helper.make_node("Unique", ["x"], ["y"])],
        CONTROL,
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None])],
    )
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), str(path))


def prove(bundles: Sequence[Path], python: Path, architectures: Sequence[str] | None = None) -> list[Row]:
    """The builds of all graphs of some bundles, each file once, and of the control, which must be refused.

    Args:
        bundles: folders.
        python: of an environment that has tensorrt_rtx.
        architectures: by default all that a precision has.

    Raises:
        UserError: a bundle is none, or the builder does not run.
    """
    found: list[Row] = []
    seen: set[str] = set()
    for folder in bundles:
        bundle = open_bundle(folder)
        manifest = bundle.manifest
        for name, graph in manifest.graphs.items():
            if (content := manifest.files[graph.file].sha256) in seen:
                continue  # bundles of one text tower share it
            seen.add(content)
            precision = "fp32" if name == "text" else manifest.precision
            wanted = architectures or BY_PRECISION.get(precision, ARCHITECTURES)
            about = {"bundle": manifest.spec.model_id, "precision": precision}
            found += [about | built for built in build_all(python, bundle.path(name), wanted)]
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / f"{CONTROL}.onnx"
        write_control(path)
        found += [{"bundle": CONTROL, **built} for built in build_all(python, path, ARCHITECTURES[:1])]
    return found


def holds(found: Sequence[Row]) -> bool:
    """Everything was built but the control."""
    return bool(found) and all(("error" in built) == (built["bundle"] == CONTROL) for built in found)


def main(argv: Sequence[str]) -> int:
    """0 proved or visibly skipped, 1 not proved, or a builder that `--require` wants is missing, 2 a mistake."""
    parser = Parser(prog="proof.py", description="Do the graphs of a bundle build for NVIDIA GPUs?")
    parser.add_argument("bundles", type=Path, nargs="+")
    parser.add_argument("--rtx", type=Path, required=True, help="python of an environment with tensorrt_rtx")
    parser.add_argument("--architectures", nargs="+", metavar="SM", help="instead of all that the precision has")
    parser.add_argument("--require", action="store_true", help="a missing tensorrt_rtx is a failure")
    parser.add_argument("--json", type=Path, help="write the rows to this file as well")
    try:
        options = parser.parse_args(argv)
        tool = Tool(name="tensorrt_rtx", probe="import tensorrt_rtx", python=options.rtx, target="proof")
        if reason := tool.missing():
            rows = [tool.skip(reason)]
        else:
            rows = prove(options.bundles, options.rtx, options.architectures)
    except (UserError, OSError) as error:
        print(f"proof: {error}", file=sys.stderr)
        return 2
    columns = {
        name: name for name in ("bundle", "precision", "graph", "architecture", "layers", "megabytes", "seconds")
    }
    told = [row | {"": "refused" if "error" in row else "built"} for row in rows]
    version = rows[0].get("version", "")
    show(f"TensorRT for RTX {version}, ahead of time; nothing was executed", columns | {"": ""}, told)
    for row in rows:
        if "error" in row and row["bundle"] != CONTROL:
            print(f"{row['graph']} for {row['architecture']}: {row['error']}")
    keep(options.json, rows)
    if SKIPPED in rows[0]:
        return int(options.require)
    return 0 if holds(rows) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
