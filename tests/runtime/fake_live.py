"""`python -m tests.runtime.fake_live …`: the live node with a network that sees coloured squares."""

from __future__ import annotations

import sys

from henasy_stream import live, loading
from tests.runtime.parts import fake_model

loading.load = lambda *args, **kwargs: fake_model()

if __name__ == "__main__":
    sys.exit(live.main())
