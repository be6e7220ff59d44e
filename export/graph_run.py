"""Run a graph over recorded inputs with OpenVINO or ONNX Runtime: `python export/graph_run.py`.

Runs in an environment of its own, which has the runtime and NumPy and nothing of this project.  Reads one line of JSON,
{"runtime": "openvino" or "onnxruntime", "graph": path, "state": {input: output, …}, "steps": path, "found": path}, and
writes {"version": …}.  `steps` is an .npz with the inputs of each step as `STEP/NAME`.  `found` is another, with the
outputs as `forced/STEP/NAME`, and for a graph with state those of a free run, which feeds its own state back, as
`free/STEP/NAME`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

Inputs = dict[str, Any]
Run = Callable[[Inputs], Inputs]


def openvino(graph: str) -> tuple[Run, str]:
    """A graph on the CPU in float32, one thread, and OpenVINO's version."""
    import openvino as ov

    core = ov.Core()
    settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
    compiled = core.compile_model(core.read_model(graph), "CPU", settings)
    names = [port.get_any_name() for port in compiled.outputs]

    def run(inputs: Inputs) -> Inputs:
        found = compiled(inputs)
        return {name: np.array(found[index]) for index, name in enumerate(names)}

    return run, ov.__version__.split("-")[0]


def onnxruntime(graph: str) -> tuple[Run, str]:
    """A graph on the CPU, one thread, and ONNX Runtime's version."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    names = [port.name for port in session.get_outputs()]
    return lambda inputs: dict(zip(names, session.run(names, inputs), strict=True)), ort.__version__


def main() -> None:
    """One line of JSON in, one out."""
    asked = json.loads(sys.stdin.readline())
    run, version = {"openvino": openvino, "onnxruntime": onnxruntime}[asked["runtime"]](asked["graph"])
    found: Inputs = {}
    state: Inputs = {}
    with np.load(asked["steps"]) as arrays:
        names = {name.split("/", 1)[1] for name in arrays}
        for step in range(len({name.split("/", 1)[0] for name in arrays})):
            given = {name: arrays[f"{step}/{name}"] for name in names}
            found |= {f"forced/{step}/{name}": value for name, value in run(given).items()}
            if asked["state"]:
                free = run(given | state)
                state = {into: free[out] for into, out in asked["state"].items()}
                found |= {f"free/{step}/{name}": value for name, value in free.items()}
    np.savez(asked["found"], **found)
    print(json.dumps({"version": version}))


if __name__ == "__main__":
    main()
