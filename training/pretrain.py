"""Pretrain HENASY: `python training/pretrain.py --recipe world_demo --seed 0 --out runs/demo`.

A run goes on from the checkpoint in --out when there is one.  Any field of the recipe is an option of its own:
`--optim.lr 5e-4 --model.num-entities 12`.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])

from training.command import pretrain_main  # noqa: E402 - imports start from the root

if __name__ == "__main__":
    sys.exit(pretrain_main(sys.argv[1:]))
