"""`python -m tests.life.slow_live …`: the live node with a network that takes a second for a window."""

from __future__ import annotations

import sys
import time

from henasy_stream import live, loading
from tests.runtime.parts import fake_model

loading.load = lambda *args, **kwargs: fake_model(lambda window: time.sleep(1.0))

if __name__ == "__main__":
    sys.exit(live.main())
