"""Quantise a graph with nvidia-modelopt on a CPU.

Runs in an environment of its own: `make modelopt`.  Reads one line of JSON, {"graph": path, "mode": "int8" or "fp8",
"calibration": path of an .npz with the inputs by name, one sample after the other along the first axis, "out": path},
and writes {"version": …}.
"""

from __future__ import annotations

import json
import sys

import modelopt
import numpy as np
from modelopt.onnx.quantization import quantize


def main() -> None:
    """One line of JSON in, one out."""
    asked = json.loads(sys.stdin.readline())
    with np.load(asked["calibration"]) as arrays:
        calibration = dict(arrays)
    quantize(
        asked["graph"],
        quantize_mode=asked["mode"],
        calibration_data=calibration,
        calibration_eps=["cpu"],
        # Products only: TensorRT for RTX 1.5 builds no convolution of whole numbers.
        op_types_to_quantize=["MatMul"],
        high_precision_dtype="fp16",
        output_path=asked["out"],
        log_level="ERROR",
    )
    print(json.dumps({"version": modelopt.__version__}))


if __name__ == "__main__":
    main()
