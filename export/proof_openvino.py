"""Do other runtimes compute what the reference does?  `make proof`, or `python export/proof_openvino.py BUNDLE …`.

Every graph of some bundles runs in OpenVINO and in ONNX Runtime over a streamed synthetic clip.  A causal step starts
from the reference's state, and a free run, which feeds its own state back, is measured beside it.  Ties, empty groups,
still pictures and numbers that are none come after.  Rows, also of `--json`:

bundle, precision, graph, case, runtime, version, steps, holds: of every row; `case` is "streamed", "still pictures",
    "texts", "NaN in the state", CONTROL (holds: it was told from the network), or, where the graph is "grouping", one
    of `hard_cases.CASES`
worst, rollout {output: largest difference}, flips, wrong, tolerance, empty (part of the groups that no token chose):
    of those that were compared by the rule of `export/parity.py`
tool, skipped (why): of a tool that is missing
"""

from __future__ import annotations

import copy
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])

import numpy as np  # noqa: E402 - imports start from the root
import torch  # noqa: E402

from export.graphs import Form, forms, write_onnx  # noqa: E402
from export.hard_cases import CASES, grouping_form, grouping_steps, same, spoilt_state, still_pictures  # noqa: E402
from export.parity import HALF_TOLERANCE, STEPS, TOLERANCE, pictures  # noqa: E402
from export.proof_rows import SKIPPED, Row, Tool, keep, show  # noqa: E402
from export.recorded import Step, compare, record_causal, record_text, record_window, run_elsewhere  # noqa: E402
from henasy_stream._arguments import Parser  # noqa: E402
from henasy_stream.backends.bundle import Bundle, open_bundle  # noqa: E402
from henasy_stream.backends.torch_backend import read_network  # noqa: E402
from henasy_stream.errors import UserError  # noqa: E402
from henasy_stream.loading import weights_file  # noqa: E402
from henasy_stream.model.tokenizer import ClipTokenizer  # noqa: E402

TEXTS = ("cup", "a hand picks up the red cup", "#C C puts down the knife on the wooden cutting board", "")
STREAMED = "streamed"
CONTROL = "control: weights too large"
_STILL = 3
"""Steps of each still picture with nothing else in the window."""


def references(weights: Sequence[str]) -> dict[str, dict[str, Form]]:
    """The forms of some weights, by model and name."""
    found = {}
    for name in weights:
        model, config, model_id = read_network(weights_file(name, print))
        found[model_id] = {form.name: form for form in forms(model, config)}
    return found


def prove_bundle(
    bundle: Bundle, reference: dict[str, Form], pythons: dict[str, Path], count: int, *, text: bool = True
) -> Iterator[Row]:
    """Rows of every graph of a bundle in every runtime.

    Args:
        bundle: as exported.
        reference: forms of the weights that it was exported from.
        pythons: of the environment of each runtime.
        count: of pictures.
        text: the text graph as well.
    """
    spec, half = bundle.manifest.spec, bundle.manifest.precision == "fp16"
    about = {"bundle": spec.model_id, "precision": bundle.manifest.precision}
    record = record_causal if spec.attention == "causal" else record_window
    step = reference[spec.attention]
    streams: dict[str, tuple[str, list[Step]]] = {
        STREAMED: (spec.attention, list(record(step, pictures(spec.image_size, count), spec.num_frames))),
        "still pictures": (
            spec.attention,
            list(record(step, still_pictures(spec.image_size, spec.num_frames + _STILL), spec.num_frames)),
        ),
    }
    if text:
        tokens = ClipTokenizer(bundle.manifest.context)([*TEXTS, *spec.nouns, *spec.phrases[:16]])
        streams["texts"] = ("text", list(record_text(reference["text"], tokens)))
    for runtime, python in pythons.items():
        for case, (name, steps) in streams.items():
            graph = bundle.manifest.graphs[name]
            dtypes = {port.name: port.dtype for port in graph.inputs}
            forced, free, version = run_elsewhere(python, runtime, bundle.path(name), steps, dtypes, graph.state)
            parity = compare(steps, forced, free, HALF_TOLERANCE if half and name != "text" else TOLERANCE)
            empty, groups = (sum(step.empty[index] for step in steps) for index in (0, 1))
            precision = "fp32" if name == "text" else bundle.manifest.precision
            row = {
                **about,
                "precision": precision,
                "graph": name,
                "case": case,
                "runtime": runtime,
                "version": version,
                **asdict(parity),
            }
            yield row | {"empty": round(empty / groups, 3) if groups else None, "holds": parity.holds}
        yield {**about, "runtime": runtime, **_control(bundle, step, runtime, python)}
        if spec.attention == "causal":
            yield {
                **about,
                "runtime": runtime,
                **_spoilt(bundle, step, streams[STREAMED][1][spec.num_frames], runtime, python),
            }


def prove_grouping(pythons: dict[str, Path]) -> Iterator[Row]:
    """Rows of ties, empty groups and a NaN in every runtime: exact, or wrong."""
    form = grouping_form()
    steps = list(grouping_steps(form))
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "grouping.onnx"
        write_onnx(form, path)
        for runtime, python in pythons.items():
            found, _, version = run_elsewhere(python, runtime, path, steps, dict.fromkeys(form.inputs, "float32"))
            for case, step, one in zip(CASES, steps, found, strict=True):
                about = {"bundle": "–", "precision": "fp32", "graph": "grouping", "case": case}
                yield {**about, "runtime": runtime, "version": version, "steps": 1, "holds": same(one, step.wanted)}


def _control(bundle: Bundle, form: Form, runtime: str, python: Path) -> Row:
    """The graph against a network whose weights are a little too large: a rule that this passes proves nothing."""
    spec, wrong = bundle.manifest.spec, scaled(form)
    record = record_causal if spec.attention == "causal" else record_window
    steps = list(record(wrong, pictures(spec.image_size, spec.num_frames + 3), spec.num_frames))
    graph = bundle.manifest.graphs[form.name]
    dtypes = {port.name: port.dtype for port in graph.inputs}
    forced, _, version = run_elsewhere(python, runtime, bundle.path(form.name), steps, dtypes)
    parity = compare(steps, forced, [], HALF_TOLERANCE if bundle.manifest.precision == "fp16" else TOLERANCE)
    row = {"graph": form.name, "case": CONTROL, "version": version, **asdict(parity)}
    return row | {"holds": not parity.holds}


def scaled(form: Form, by: float = 1.05) -> Form:
    """The form of a network, the first row of each of whose matrices was scaled."""
    module = copy.deepcopy(form.module)
    with torch.no_grad():
        for weight in module.parameters():
            if weight.ndim == 2:
                weight[0] *= by
    return replace(form, module=module)


def _spoilt(bundle: Bundle, form: Form, step: Step, runtime: str, python: Path) -> Row:
    """A NaN in the state comes out as one, which the node looks for, and nowhere else than in the reference."""
    spoilt, graph = spoilt_state(form, step), bundle.manifest.graphs["causal"]
    dtypes = {port.name: port.dtype for port in graph.inputs}
    (found,), _, version = run_elsewhere(python, runtime, bundle.path("causal"), [spoilt], dtypes)
    finite = {name: np.isfinite(value) for name, value in spoilt.wanted.items()}
    holds = not finite["video_embedding"].any()
    holds &= all(bool((np.isfinite(found[name]) == value).all()) for name, value in finite.items())
    return {"graph": "causal", "case": "NaN in the state", "version": version, "steps": 1, "holds": holds}


def main(argv: Sequence[str]) -> int:
    """0 proved or visibly skipped, 1 not the reference, or a tool that `--require` wants is missing, 2 a mistake."""
    parser = Parser(prog="proof_openvino.py", description="Do other runtimes compute what the reference does?")
    parser.add_argument("bundles", type=Path, nargs="+")
    parser.add_argument("--weights", nargs="+", required=True, help="those that the bundles were exported from")
    parser.add_argument("--openvino", type=Path, required=True, help="python of an environment with openvino")
    parser.add_argument("--steps", type=int, default=STEPS, help=f"of the stream (default {STEPS})")
    parser.add_argument("--require", action="store_true", help="a missing openvino is a failure")
    parser.add_argument("--json", type=Path, help="write the rows to this file as well")
    rows: list[Row] = []
    texts: set[str] = set()
    try:
        options = parser.parse_args(argv)
        pythons = {"onnxruntime": Path(sys.executable), "openvino": options.openvino}
        tool = Tool(name="openvino", probe="import openvino", python=options.openvino, target="proof")
        if reason := tool.missing():
            rows.append(tool.skip(reason))
            del pythons["openvino"]
        found = references(options.weights)
        for folder in options.bundles:
            bundle = open_bundle(folder)
            if (name := bundle.manifest.spec.model_id) not in found:
                raise UserError(f"{folder} is of {name}; add its weights to --weights ({', '.join(found)})")
            sum_of_text = bundle.manifest.files[bundle.manifest.graphs["text"].file].sha256
            text = sum_of_text not in texts  # bundles of one tower share it
            texts.add(sum_of_text)
            rows += prove_bundle(bundle, found[name], pythons, options.steps, text=text)
        rows += prove_grouping(pythons)
    except (UserError, OSError) as error:
        print(f"proof_openvino: {error}", file=sys.stderr)
        return 2
    columns = {"bundle": "bundle", "": "precision", "graph": "graph", "case": "case", "runtime": "runtime"}
    columns |= {"steps": "steps", "largest difference": "worst", "flips": "flips", "free run": "rollout"}
    show("The same numbers in other runtimes", columns | {"empty": "empty", "holds": "holds"}, rows)
    keep(options.json, rows)
    missing = options.require and any(SKIPPED in row for row in rows)
    return 1 if missing or not all(row.get("holds", True) for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
