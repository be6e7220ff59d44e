"""Features of clips: `python training/extract.py nlq --annotations nlq_val.json --videos V --weights W --out D`.

`torchrun --nproc-per-node 4 training/extract.py …` shares the clips out; the same command goes on where one stopped.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])

from training.extraction.command import extract_main  # noqa: E402 - imports start from the root

if __name__ == "__main__":
    sys.exit(extract_main(sys.argv[1:]))
