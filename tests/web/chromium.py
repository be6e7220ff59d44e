"""A real browser, Debian's Chromium without a window, and what a person would look for on its screen."""

from __future__ import annotations

import base64
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import cv2
import numpy as np
import pytest

from henasy_stream.types import UInt8Array

T = TypeVar("T")
_FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--force-device-scale-factor=1",
)


def why_not() -> str | None:
    """What is missing for a browser, or None."""
    try:
        import selenium  # noqa: F401
    except ImportError:
        return "selenium is not installed"
    missing = [name for name in ("chromium", "chromedriver") if shutil.which(name) is None]
    return f"no {' and no '.join(missing)}: apt-get install chromium chromium-driver" if missing else None


@contextmanager
def browsing(width: int = 1600, height: int = 900) -> Iterator[Tab]:
    """A browser with a profile of its own; skips the test where there is none."""
    reason = why_not()
    if reason is not None:
        pytest.skip(reason)
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = str(shutil.which("chromium"))
    for flag in _FLAGS:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    with tempfile.TemporaryDirectory(prefix="henasy-chromium-", ignore_cleanup_errors=True) as profile:
        options.add_argument(f"--user-data-dir={profile}")
        driver = webdriver.Chrome(options=options, service=Service(str(shutil.which("chromedriver"))))
        try:
            tab = Tab(driver)
            tab.resize(width, height)
            yield tab
        finally:
            driver.quit()


class Tab:
    """One tab."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver

    def resize(self, width: int, height: int) -> None:
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)

    def prefer(self, **features: str) -> None:
        """Media features, as `color_scheme="light"`."""
        wanted = [{"name": f"prefers-{name.replace('_', '-')}", "value": value} for name, value in features.items()]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": wanted})

    def open(self, url: str) -> None:
        self.driver.get("about:blank")
        self.driver.get_log("browser")
        self.driver.get_log("performance")
        self.driver.get(url)

    def run(self, script: str) -> Any:
        """The value of a JavaScript expression."""
        return self.driver.execute_script(f"return {script}")

    def text(self, name: str) -> str:
        return str(self.run(f"document.getElementById('{name}').textContent"))

    def press(self, keys: str, name: str = "") -> None:
        """Keys into an element, or into the page."""
        from selenium.webdriver.common.by import By

        place = self.driver.find_element(By.ID, name) if name else self.driver.find_element(By.TAG_NAME, "body")
        place.send_keys(keys)

    def click(self, selector: str) -> None:
        from selenium.webdriver.common.by import By

        self.driver.find_element(By.CSS_SELECTOR, selector).click()

    def wait(self, what: Callable[[], T], timeout_s: float = 30.0) -> T:
        """The first value of `what` that counts as true."""
        deadline = time.monotonic() + timeout_s
        while True:
            value = what()
            if value:
                return value
            assert time.monotonic() < deadline, f"waited {timeout_s:g} s; the status says {self.text('status')!r}"
            time.sleep(0.05)

    def wait_frames(self, count: int = 3) -> None:
        """Until so many different frames were shown."""
        seen: set[str] = set()
        self.wait(lambda: seen.add(self.stamp) or len(seen - {""}) >= count)  # type: ignore[func-returns-value]

    @property
    def stamp(self) -> str:
        """Of the frame on the screen, in nanoseconds."""
        return str(self.run("document.getElementById('video').dataset.stamp ?? ''"))

    def screenshot(self) -> UInt8Array:
        """(H, W, 3) RGB, as it is on the screen."""
        shot = self.driver.execute_cdp_cmd("Page.captureScreenshot", {"format": "png"})
        picture = cv2.imdecode(np.frombuffer(base64.b64decode(shot["data"]), np.uint8), cv2.IMREAD_COLOR)
        assert picture is not None
        return np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), np.uint8)

    @property
    def complaints(self) -> list[str]:
        """Warnings and errors of the console since the last call."""
        return [str(entry["message"]) for entry in self.driver.get_log("browser") if entry["level"] != "INFO"]

    @property
    def requests(self) -> list[str]:
        """Addresses that were asked for since the last call."""
        import json

        events = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        sent = [e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"]
        return [*sent, *(e["params"]["url"] for e in events if e["method"] == "Network.webSocketCreated")]

    @property
    def heap_bytes(self) -> int:
        """What JavaScript holds after a collection."""
        self.driver.execute_cdp_cmd("HeapProfiler.enable", {})
        self.driver.execute_cdp_cmd("HeapProfiler.collectGarbage", {})
        return int(self.driver.execute_cdp_cmd("Runtime.getHeapUsage", {})["usedSize"])
