"""The paper's ablations on the synthetic world: `python training/ablation.py`, or `make ablation`.

`--table demo` trains the rows of the demo weights' card instead.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])

from training.ablations.command import ablation_main  # noqa: E402 - imports start from the root

if __name__ == "__main__":
    sys.exit(ablation_main(sys.argv[1:]))
