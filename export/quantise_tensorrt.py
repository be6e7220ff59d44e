"""A bundle for TensorRT whose products are of eight bits: `python export/quantise_tensorrt.py BUNDLE --mode int8 …`.

nvidia-modelopt (`make modelopt`, an environment of its own) measures ranges on clips of the synthetic world that
training may have seen, and puts quantisation into the graph; what stays is half precision.  Held-out clips decide, as
for int8 on CPUs: where a score loses more than a point, nothing is written.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[0] = str(ROOT)

import msgspec  # noqa: E402 - imports start from the root
import numpy as np  # noqa: E402
import torch  # noqa: E402

from export import contents  # noqa: E402
from export.int8 import CLIPS, LARGEST_LOSS, Scores, compare_scores  # noqa: E402
from export.proof_rows import Tool  # noqa: E402
from export.recorded import Step, record_causal, record_window  # noqa: E402
from export.reference import Reference, read_reference  # noqa: E402
from henasy_stream._arguments import Parser  # noqa: E402
from henasy_stream.backends.bundle import (  # noqa: E402
    EMBEDDINGS,
    GOLDEN,
    INITIAL,
    Bundle,
    Manifest,
    open_bundle,
    place_of,
)
from henasy_stream.backends.onnxruntime_backend import OnnxRuntimeBackend  # noqa: E402
from henasy_stream.errors import UserError  # noqa: E402
from henasy_stream.loading import weights_file  # noqa: E402
from henasy_stream.model.henasy import Henasy  # noqa: E402
from training.data.world_pool import open_pool  # noqa: E402

WORKER = ROOT / "export" / "modelopt_quantise.py"
CALIBRATION_CLIPS = 32
_TIMEOUT_S = 3600


def quantise(bundle: Bundle, reference: Reference, folder: Path, mode: str, tool: Tool) -> tuple[Manifest, str]:
    """Writes a copy of a bundle whose step is quantised, golden step included; its manifest and modelopt's version.

    Args:
        bundle: in float32.
        reference: of its weights.
        folder: an empty one.
        mode: "int8" or "fp8".
        tool: the environment of modelopt.

    Raises:
        UserError: modelopt is missing or does not take the graph.
    """
    if reason := tool.missing():
        raise UserError(reason)
    spec, name = reference.spec, reference.spec.attention
    text = bundle.manifest.graphs["text"]
    for file in (GOLDEN, EMBEDDINGS, INITIAL, text.file):
        if file in bundle.manifest.files:
            shutil.copy(place_of(bundle.folder, file, bundle.manifest), folder / file)
    with tempfile.TemporaryDirectory() as scratch:
        calibration = Path(scratch) / "calibration.npz"
        _calibrate(calibration, reference)
        copy = shutil.copy(bundle.path(name), scratch)  # it writes shapes into the file that it is given
        asked = {"graph": str(copy), "mode": mode, "calibration": str(calibration)}
        line = json.dumps(asked | {"out": str(folder / bundle.manifest.graphs[name].file)})
        done = subprocess.run(
            [str(tool.python), str(WORKER)], input=line + "\n", capture_output=True, text=True, timeout=_TIMEOUT_S
        )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no reason"])[-1]
        raise UserError(f"nvidia-modelopt did not quantise {name} ({last[:200]})")
    version = json.loads(done.stdout.splitlines()[-1])["version"]
    import onnx

    operators = Counter(node.op_type for node in onnx.load(str(folder / bundle.manifest.graphs[name].file)).graph.node)
    graph = msgspec.structs.replace(
        bundle.manifest.graphs[name], operators=dict(sorted(operators.items())), parity=None
    )
    manifest = msgspec.structs.replace(
        bundle.manifest,
        precision=f"{mode}-qdq",
        graphs={name: graph, "text": text},
        program=None,
        files=contents.sums(folder, {}),
    )
    contents.write_manifest(folder, manifest)
    quantised = OnnxRuntimeBackend.from_bundle(folder)
    frames = reference.frames[: spec.num_frames]
    contents.write_golden(folder / GOLDEN, reference.step, reference.forms["text"], frames, quantised)
    manifest = msgspec.structs.replace(manifest, files=contents.sums(folder, {}))
    contents.write_manifest(folder, manifest)
    return manifest, version


def _calibrate(path: Path, reference: Reference) -> None:
    """Inputs of the steps of some clips, each clip from the start."""
    record = record_causal if reference.spec.attention == "causal" else record_window
    with tempfile.TemporaryDirectory() as folder:
        pool = open_pool(Path(folder), reference.config, split="train", clips=CALIBRATION_CLIPS, seed=2)
        clips = [[np.array(frame) for frame in clip] for clip in pool.frames]
    steps: list[Step] = [step for clip in clips for step in record(reference.step, clip, reference.spec.num_frames)]
    np.savez(path, **{name: np.concatenate([step.inputs[name] for step in steps]) for name in steps[0].inputs})


def main(argv: Sequence[str]) -> int:
    """0 written, 1 it loses too much, 2 a mistake, or modelopt is missing."""
    parser = Parser(prog="quantise_tensorrt.py", description="A bundle for TensorRT whose products are of eight bits.")
    parser.add_argument("bundle", type=Path, help="a bundle in float32")
    parser.add_argument("--weights", required=True, help="those that the bundle was exported from")
    parser.add_argument("--mode", choices=("int8", "fp8"), default="int8", help="fp8 needs SM89 or newer")
    parser.add_argument("--modelopt", type=Path, default=ROOT / ".venv-modelopt" / "bin" / "python")
    parser.add_argument("--out", type=Path, required=True, help="folder of the new bundle")
    parser.add_argument("--clips", type=int, default=CLIPS, help=f"that are scored (default {CLIPS})")
    parser.add_argument("--json", type=Path, metavar="FILE", help="add the scores to this file as well")
    try:
        options = parser.parse_args(argv)
        bundle = open_bundle(options.bundle)
        if bundle.manifest.precision != "fp32":
            raise UserError(f"{options.bundle} is {bundle.manifest.precision}; give one that was exported in fp32")
        if options.out.exists():
            raise UserError(f"{options.out} exists; choose another --out")
        reference = read_reference(weights_file(options.weights, print), frames=8, batch=False)
        if reference.spec != bundle.manifest.spec:
            raise UserError(f"{options.bundle} is of {bundle.manifest.spec.model_id}, --weights are others")
        model = reference.model
        if not (isinstance(model, Henasy) and reference.spec.synthetic):
            raise UserError(f"{reference.spec.model_id} does not know the synthetic world, whose scores decide")
        tool = Tool(name="nvidia-modelopt", probe="import modelopt", python=options.modelopt, target="modelopt")
        options.out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=options.out.parent, prefix=".quantising-") as scratch:
            building = Path(scratch) / "bundle"
            building.mkdir()
            manifest, version = quantise(bundle, reference, building, options.mode, tool)
            backends = [OnnxRuntimeBackend(bundle), OnnxRuntimeBackend.from_bundle(building)]
            with torch.no_grad():
                scores = compare_scores(model, backends[0], backends[1], clips=options.clips)
            if scores.holds:
                building.replace(options.out)
    except (UserError, OSError) as error:
        print(f"quantise_tensorrt: {error}", file=sys.stderr)
        return 2
    for name, before in scores.before.items():
        print(f"{name:10} {before:.3f} → {scores.after[name]:.3f}")
    if options.json is not None:
        _add(options.json, f"{manifest.spec.model_id} {manifest.precision}", version, scores)
    if not scores.holds:
        told = f"{options.mode} loses {scores.loss:.3f} of a score, more than {LARGEST_LOSS}"
        print(f"quantise_tensorrt: {told}; nothing was written", file=sys.stderr)
        return 1
    return 0


def _add(path: Path, name: str, version: str, scores: Scores) -> None:
    before = json.loads(path.read_text()) if path.exists() else {}
    found = {"modelopt": version, "holds": scores.holds, "loss": round(scores.loss, 4), **asdict(scores)}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(before | {name: found}, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
