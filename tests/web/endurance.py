"""`python -m tests.web.endurance --minutes 10`: a browser looks at a page all the while; does its memory grow?

Prints the memory of the browser's processes and of JavaScript every ten seconds.  A browser frees in bursts, so peaks
are compared: exit code 1 if that of the second half is over that of the first by 5 % and 20 MB, or if the console
complains.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import time
from collections.abc import Sequence

import psutil

from tests.web.chromium import Tab, browsing
from tests.web.parts import Film, Theatre, served

EVERY_S = 10.0


def memory(tab: Tab) -> tuple[float, float]:
    """MB of the browser with all its processes (what is theirs alone), and of JavaScript after a collection."""
    service = psutil.Process(tab.driver.service.process.pid)
    own = 0
    for process in service.children(recursive=True):
        with contextlib.suppress(psutil.Error):  # it may have ended
            own += process.memory_full_info().uss
    return own / 1e6, tab.heap_bytes / 1e6


def grows(values: Sequence[float]) -> bool:
    """Whether the peak of the second half is clearly over that of the first."""
    middle = len(values) // 2
    before, after = max(values[:middle]), max(values[middle:])
    print(f"peak of the first half {before:.0f} MB, of the second {after:.0f} MB")
    return after > before * 1.05 and after > before + 20


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.web.endurance", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    arguments = parser.parse_args(argv)
    whole: list[float] = []
    with browsing() as tab, served() as page:
        theatre = Theatre(page, Film())
        tab.open(page.address.url)
        tab.wait_frames()
        begun = time.monotonic()
        while time.monotonic() < begun + arguments.minutes * 60:
            time.sleep(EVERY_S)
            browser, heap = memory(tab)
            whole.append(browser)
            print(
                f"{time.monotonic() - begun:5.0f} s  browser {browser:5.0f} MB  JavaScript {heap:5.1f} MB  "
                f"{tab.text('link')}",
                flush=True,
            )
        complaints = tab.complaints
        theatre.close()
    print("\n".join(complaints[:10]))
    return int(grows(whole) or bool(complaints))


if __name__ == "__main__":
    sys.exit(main())
