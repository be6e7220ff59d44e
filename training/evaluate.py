"""Scores beside the paper's.

    python training/evaluate.py egomcq egomcq.json --videos DIR --weights lavila.pth
    python training/evaluate.py ek100-mir epic-kitchens-100-annotations --videos DIR --weights weights.safetensors
    python training/evaluate.py ek100-cls epic-kitchens-100-annotations --videos DIR --weights …
    python training/evaluate.py egtea DIR --videos cropped_clips --weights …
    python training/evaluate.py grounding labels.json --videos DIR --weights …
    python training/evaluate.py own FOLDER --weights …
    python training/evaluate.py world
    python training/evaluate.py stream record.jsonl
    python training/evaluate.py tracking
    python training/evaluate.py segmentation
    python training/evaluate.py relations
    python training/evaluate.py queries

The last six are about the synthetic world, which needs no data.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])

from training.evaluation.command import evaluate_main  # noqa: E402 - imports start from the root

if __name__ == "__main__":
    sys.exit(evaluate_main(sys.argv[1:]))
