"""`python -m tests.life.stepping_clock …`: the live node on a wall clock that a file sets, as a time server does.

The file is named by the variable `CLOCK` and holds seconds to add.  libfaketime cannot do it: it breaks Python's sleep.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from henasy_stream import live
from tests.runtime import fake_live  # noqa: F401 - its network takes the place of the real one

_real_ns = time.time_ns


def _stepped_ns() -> int:
    return _real_ns() + int(Path(os.environ["CLOCK"]).read_text() or "0") * 1_000_000_000


def main() -> int:
    time.time_ns = _stepped_ns
    time.time = lambda: _stepped_ns() / 1e9
    return live.main()


if __name__ == "__main__":
    sys.exit(main())
