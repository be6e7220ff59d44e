"""Make `docs/images/page.png`, a screenshot of the live page after 75 s: `python docs/make_page_picture.py`."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from PIL import Image

sys.path[0] = str(Path(__file__).resolve().parents[1])

from tests.web.chromium import Tab, browsing  # noqa: E402

IMAGE = Path(__file__).resolve().parent / "images" / "page.png"
SOURCE, QUERIES, SECONDS = "world?seed=7&size=1280x720&fps=12&realtime=1", ("plate", "picks up", "zebra"), 75
SIZE = (1600, 900)


def main() -> None:
    """Run the node, ask for three things, wait until the timeline is full and something is touched."""
    command = [sys.executable, "-m", "henasy_stream.live", "--source", SOURCE, "--view", "--headless"]
    with subprocess.Popen([*command, "--view-address", "0"], stderr=subprocess.PIPE, text=True) as node:
        try:
            assert node.stderr is not None
            said = iter(node.stderr)
            address = next(m[0] for line in said if (m := re.search(r"http://127\.0\.0\.1:\d+/", line)))
            with browsing(*SIZE) as tab:
                tab.prefer(color_scheme="dark")
                tab.open(address)
                tab.wait_frames()
                for text in QUERIES:
                    tab.press(f"{text}\n", "query")
                    time.sleep(1.5)
                tab.run("document.activeElement.blur()")
                time.sleep(SECONDS)
                tab.wait(lambda: _worth_it(tab), 60)
                _save(tab.screenshot())
        finally:
            node.terminate()


def _worth_it(tab: Tab) -> bool:
    """Whether something is touched, three things at least are seen, and the plate is found."""
    touched = "contacts" in tab.run("document.getElementById('graph').getAttribute('aria-label')")
    found = tab.run("document.querySelector('#answers li[data-text=plate][data-present=yes]') !== null")
    return touched and found and int(tab.text("count")[0]) >= 4


def _save(picture: np.ndarray) -> None:
    Image.fromarray(picture).save(IMAGE, optimize=True)


if __name__ == "__main__":
    main()
