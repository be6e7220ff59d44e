"""`python -m tests.life.troubled_live …`: the live node; its network does what the file named by TROUBLE says.

`hang`: the next window never ends.  `fail`: windows raise.  Else they work.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from henasy_stream import live, loading
from tests.runtime.parts import fake_model


def trouble(window: int) -> None:
    wanted = Path(os.environ["TROUBLE"]).read_text()
    if wanted == "hang":
        time.sleep(600)
    if wanted == "fail":
        raise RuntimeError("the device is lost")


loading.load = lambda *args, **kwargs: fake_model(trouble)

if __name__ == "__main__":
    sys.exit(live.main())
