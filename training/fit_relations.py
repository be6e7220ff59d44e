"""Fits what evidence of a relation weighs and writes henasy_stream/stream/relation_weights.py anew.

    python training/fit_relations.py                 # some minutes on one thread
    python training/fit_relations.py --streams 2 --out weights.py

On streams of the synthetic world's split "validation", which neither training nor the scores of `evaluate.py relations`
see.  Run it when the weights that ship with the package change.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])

from training.evaluation.relation_weights import fit_main  # noqa: E402 - imports start from the root

if __name__ == "__main__":
    sys.exit(fit_main(sys.argv[1:]))
