"""Parse and build ONNX graphs with TensorRT for RTX, ahead of time, without a GPU.

Runs in an environment of its own, which has tensorrt_rtx and nothing of this project: `make proof`.  Reads one line of
JSON, {"graph": path, "architectures": ["SM86", …]}, and writes a line for each architecture.  Engines are thrown away:
their bytes differ from build to build, and what cannot run here proves no more than that it was built.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

import tensorrt_rtx as trt

_MOST_TEXTS, _MOST_TOKENS = 256, 77


def build(path: Path, architecture: str) -> dict[str, Any]:
    """Seconds, megabytes and layers of an engine, or why there is none."""
    errors: list[str] = []

    class Log(trt.ILogger):  # type: ignore[misc]
        def log(self, severity: Any, message: str) -> None:
            if severity <= trt.ILogger.Severity.ERROR:
                errors.append(" ".join(message.split())[:300])

    started = time.perf_counter()
    log = Log()
    builder = trt.Builder(log)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, log)
    found: dict[str, Any] = {"graph": path.name, "architecture": architecture}
    if not parser.parse(path.read_bytes()):
        return {**found, "error": next(iter(errors), "refused without a reason")}
    config = builder.create_builder_config()
    config.num_compute_capabilities = 1
    config.set_compute_capability(getattr(trt.ComputeCapability, architecture), 0)
    inputs = [network.get_input(index) for index in range(network.num_inputs)]
    if any(-1 in tuple(one.shape) for one in inputs):  # texts
        profile = builder.create_optimization_profile()
        for one in inputs:
            profile.set_shape(one.name, (1, 2), (4, 8), (_MOST_TEXTS, _MOST_TOKENS))
        config.add_optimization_profile(profile)
    engine = builder.build_serialized_network(network, config)
    if engine is None:
        return {**found, "error": next(iter(errors), "not built, without a reason")}
    seconds, size = time.perf_counter() - started, engine.nbytes
    return {**found, "layers": network.num_layers, "seconds": round(seconds, 1), "megabytes": round(size / 1e6, 1)}


def main() -> None:
    """One line of JSON for each build."""
    asked = json.loads(sys.stdin.readline())
    for architecture in asked["architectures"]:
        print(json.dumps({"version": trt.__version__, **build(Path(asked["graph"]), architecture)}), flush=True)


if __name__ == "__main__":
    main()
