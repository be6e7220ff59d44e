"""Prepare data: `python training/prepare.py own videos/ narrations.csv own/`, and each step of it alone; see --help."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])

from training.preparation.command import prepare_main  # noqa: E402 - imports start from the root

if __name__ == "__main__":
    sys.exit(prepare_main(sys.argv[1:]))
