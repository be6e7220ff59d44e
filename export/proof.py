"""Do the graphs of a bundle build for NVIDIA GPUs?  `make proof`, or `python export/proof.py BUNDLE … --rtx PYTHON`.

The real parser and builder of TensorRT for RTX run without a GPU; what they build is never executed here.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[0] = str(ROOT)

from rich.console import Console  # noqa: E402 - imports start from the root
from rich.table import Table  # noqa: E402

from henasy_stream._arguments import Parser  # noqa: E402
from henasy_stream.backends.bundle import open_bundle  # noqa: E402
from henasy_stream.errors import UserError  # noqa: E402

ARCHITECTURES = ("SM86", "SM89", "SM120")
HALF_ONLY = ("SM75", "SM80")
"""Besides the others, for half precision."""
WORKER = ROOT / "export" / "rtx_build.py"
CONTROL = "control"
_TIMEOUT_S = 1800


def build_all(python: Path, graphs: Sequence[Path], architectures: Sequence[str]) -> Iterator[dict[str, Any]]:
    """What became of each graph for each architecture.

    Args:
        python: of an environment that has tensorrt_rtx.
        graphs: files.
        architectures: names of `ComputeCapability`.

    Raises:
        UserError: the environment lacks it, or the builder died.
    """
    asked = json.dumps({"graphs": [str(path) for path in graphs], "architectures": list(architectures)})
    done = subprocess.run(
        [str(python), str(WORKER)], input=asked + "\n", capture_output=True, text=True, timeout=_TIMEOUT_S
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no reason"])[-1]
        raise UserError(f"{python} did not build ({last[:200]}); pip install 'tensorrt_rtx>=1.5,<1.6' there")
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


def prove(bundles: Sequence[Path], python: Path, architectures: Sequence[str]) -> list[dict[str, Any]]:
    """The builds of all graphs of some bundles, and of the control, which must be refused.

    Raises:
        UserError: a bundle is none, or the builder does not run.
    """
    found: list[dict[str, Any]] = []
    for folder in bundles:
        bundle = open_bundle(folder)
        paths = [bundle.path(name) for name in bundle.manifest.graphs]
        manifest = bundle.manifest
        wanted = [*HALF_ONLY, *architectures] if manifest.precision == "fp16" else architectures
        about = {"bundle": manifest.spec.model_id, "precision": manifest.precision}
        found += [about | built for built in build_all(python, paths, wanted)]
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / f"{CONTROL}.onnx"
        write_control(path)
        found += [{"bundle": CONTROL, **built} for built in build_all(python, [path], architectures[:1])]
    return found


def holds(found: Sequence[dict[str, Any]]) -> bool:
    """Everything was built but the control."""
    return bool(found) and all(("error" in built) == (built["bundle"] == CONTROL) for built in found)


def main(argv: Sequence[str]) -> int:
    """0 proved, 1 not, 2 a mistake in the arguments."""
    parser = Parser(prog="proof.py", description="Do the graphs of a bundle build for NVIDIA GPUs?")
    parser.add_argument("bundles", type=Path, nargs="+")
    parser.add_argument("--rtx", type=Path, required=True, help="python of an environment with tensorrt_rtx")
    parser.add_argument("--architectures", nargs="+", default=list(ARCHITECTURES), metavar="SM")
    parser.add_argument("--json", type=Path, help="write the builds to this file as well")
    try:
        options = parser.parse_args(argv)
        found = prove(options.bundles, options.rtx, options.architectures)
    except (UserError, OSError) as error:
        print(f"proof: {error}", file=sys.stderr)
        return 2
    version = found[0]["version"] if found else "?"
    table = Table(title=f"TensorRT for RTX {version}, ahead of time; nothing was executed")
    for title in ("bundle", "precision", "graph", "architecture", "layers", "MB", "seconds", ""):
        table.add_column(title)
    for built in found:
        numbers = [str(built.get(name, "–")) for name in ("layers", "megabytes", "seconds")]
        said = "refused" if "error" in built else "built"
        about = (built["bundle"], built.get("precision", "–"), built["graph"], built["architecture"])
        table.add_row(*about, *numbers, said)
    Console().print(table)
    for built in found:
        if "error" in built and built["bundle"] != CONTROL:
            print(f"{built['graph']} for {built['architecture']}: {built['error']}")
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(found, indent=1) + "\n")
    return 0 if holds(found) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
