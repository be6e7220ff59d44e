"""Fits how sure answers to queries are and writes that into the weights' .json.

    python training/calibrate.py                     # the weights that ship; a few minutes on one thread
    python training/calibrate.py --weights out/weights.safetensors --streams 5

On streams of the synthetic world's split "validation", which neither training nor the scores of `evaluate.py queries`
see.  Run it when weights were trained anew: until then their scores are not calibrated.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])

from training.evaluation.query_calibration import calibrate_main  # noqa: E402 - imports start from the root

if __name__ == "__main__":
    sys.exit(calibrate_main(sys.argv[1:]))
