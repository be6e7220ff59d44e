"""The page in a real browser, with a world whose truth is known."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from henasy_stream.web.convert import hex_colour
from henasy_stream.web.page import LivePage
from tests.web.chromium import Tab
from tests.web.parts import Film, Theatre, served


@pytest.fixture
def page(film: Film) -> Iterator[LivePage]:
    with served() as made:
        theatre = Theatre(made, film)
        yield made
        theatre.close()


def test_it_loads_without_complaint_from_nowhere_else_and_the_picture_moves(tab: Tab, page: LivePage) -> None:
    tab.open(page.address.url)
    tab.wait_frames(5)
    here = f"127.0.0.1:{page.address.port}/"
    assert tab.wait(lambda: tab.text("status").startswith("Running"))
    shots = [tab.screenshot()]
    tab.wait_frames(3)
    shots.append(tab.screenshot())
    assert (np.abs(shots[0].astype(int) - shots[1]).max(-1) > 30).sum() > 500
    assert tab.complaints == []
    asked = [url for url in tab.requests if not url.startswith(("blob:", "data:", "about:"))]
    assert any(url.endswith("/live") for url in asked)
    assert all(url.partition("://")[2].startswith(here) for url in asked)
    assert tab.run("document.fonts.check('16px Inter')")


def test_all_parts_say_what_the_result_says(tab: Tab, page: LivePage, film: Film) -> None:
    tab.open(page.address.url)
    tab.wait(lambda: tab.text("caption").startswith(f"holding the {film.names[0]}"))
    assert "waiting" in tab.text("alternatives")
    rows = tab.wait(lambda: tab.run("[...document.querySelectorAll('#tracks .who')].map(e => e.textContent)"))
    assert any(film.names[0] in row for row in rows)
    # Each thumbnail shows something.
    blank = "(c => c.getContext('2d').getImageData(0, 0, c.width, c.height).data.every(v => v === 0))"
    tab.wait(lambda: not tab.run(f"[...document.querySelectorAll('#tracks canvas')].some({blank})"))
    assert "contacts" in tab.run("document.getElementById('graph').getAttribute('aria-label')")
    tab.wait(lambda: "age" in tab.run("document.getElementById('latency').getAttribute('aria-label')"))


def tinted(bare: Any, covered: Any, colour: str) -> Any:
    """(H, W) bool: where `covered` is half `bare` and half the colour of the mask."""
    half = 0.5 * bare.astype(float) + 0.5 * np.array(list(bytes.fromhex(colour[1:])))
    near = (np.abs(covered - half).max(-1) < 14).astype(np.uint8)
    return cv2.morphologyEx(near, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)).astype(bool)


def grown(mask: Any, pixels: int) -> Any:
    size = 2 * abs(pixels) + 1
    work = cv2.dilate if pixels > 0 else cv2.erode
    return work(mask.astype(np.uint8), cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))).astype(bool)


def lies_on(mask: Any, truth: Any, marks: Any) -> bool:
    """Whether a tint reaches to within 2 pixels of a silhouette's edge everywhere, and nowhere further than 2 beyond.

    `marks`: where outline, corners and label cover the tint.
    """
    beyond = mask & ~grown(truth, 2)
    short = grown(truth, -2) & ~mask & ~marks
    return bool(beyond.sum() <= 0.002 * truth.sum() and short.sum() <= 0.01 * truth.sum())


@pytest.mark.parametrize(
    ("size", "late_s", "window"),
    [
        ("640x360", 0.0, (1600, 900)),
        ("640x360", 0.3, (1600, 900)),
        ("480x360", 0.0, (1300, 700)),
        ("360x640", 0.0, (900, 800)),
    ],
)
def test_the_mask_of_a_moving_thing_lies_on_it_to_two_pixels(
    tab: Tab, size: str, late_s: float, window: tuple[int, int]
) -> None:
    film = Film(f"world?seed=5&size={size}&fps=30", frames=30)
    thing = film.largest()
    tab.resize(*window)
    with served() as made:
        theatre = Theatre(made, film, things=[thing], late_s=late_s)
        tab.open(made.address.url)
        tab.wait_frames(20)
        held = float(tab.run("performance.now()"))
        tab.wait(lambda: tab.run(f"performance.now() - {held} > 1500"))  # until pictures are held back for their masks
        tab.press(" ")
        tab.wait(lambda: tab.text("moment") != "live")
        time.sleep(0.3)
        stamp, result = tab.stamp, tab.run("document.getElementById('overlay').dataset.result")
        assert result == stamp
        covered = tab.screenshot()
        tab.press("m")
        time.sleep(0.2)
        bare = tab.screenshot()
        tab.press("m")
        left, top, width, height = tab.run(
            "(({left, top, width, height}) => [left, top, width, height])"
            "(document.getElementById('video').getBoundingClientRect())"
        )
        index = int(tab.run("document.getElementById('video').dataset.index"))
        theatre.close()
    h, w = film.size
    scale = min(width / w, height / h)
    x, y = left + (width - w * scale) / 2, top + (height - h * scale) / 2
    moves = np.array([[scale, 0, x + 0.5 * scale - 0.5], [0, scale, y + 0.5 * scale - 0.5]])
    screen = covered.shape[1], covered.shape[0]

    def on_screen(truth: Any) -> Any:
        return cv2.warpAffine(truth.astype(np.float32), moves, screen) > 0.5

    colour = hex_colour(thing + 1)
    mask, truth = tinted(bare, covered, colour), on_screen(film.truth(index, thing))
    mask &= on_screen(np.ones(film.size))  # the list of entities has the colour as well
    changed = np.abs(covered.astype(int) - bare).max(-1) > 8
    # What is neither bare nor tinted, and lies on one of the marks, is a mark.
    box = film.perception(index, [thing]).tracks[0].box_xyxy
    marks = np.zeros(truth.shape, np.uint8)
    x0, y0, x1, y1 = (round(v * scale + o) for v, o in zip(box, (x, y, x, y), strict=True))
    cv2.rectangle(marks, (x0 - 3, y0 - 3), (x1 + 3, y1 + 3), 1, 9)
    cv2.rectangle(marks, (x0 - 3, y0 - 40), (x0 + 220, y0 + 4), 1, -1)
    edge = grown(truth, 2) & ~grown(truth, -4)
    marks = (marks.astype(bool) | edge) & changed & ~mask
    assert mask.sum() > 2000
    assert lies_on(mask, truth, marks)
    moved = np.roll(truth, 5, axis=1)  # the check itself can fail: five pixels off are too many
    assert not lies_on(mask, moved, marks)
    tab.resize(1600, 900)


def test_soft_masks_are_enlarged_as_in_the_annotated_video(tab: Tab, page: LivePage) -> None:
    """By OpenCV's cubics, so that outlines on the page and in the video are the same lines."""
    tab.open(page.address.url)
    levels = np.random.default_rng(3).integers(0, 256, (12, 14)).astype(np.uint8)
    ours = tab.driver.execute_async_script(
        "const [levels, done] = arguments;"
        "import('/mask.js').then(m => done(Array.from(m.enlarge(Uint8Array.from(levels), 14, 12, 8))))",
        levels.ravel().tolist(),
    )
    theirs = cv2.resize(levels, None, fx=8, fy=8, interpolation=cv2.INTER_CUBIC)
    assert np.abs(np.array(ours).reshape(theirs.shape) - theirs).max() < 1.01


def test_pause_step_and_live_again(tab: Tab, page: LivePage) -> None:
    tab.open(page.address.url)
    tab.wait_frames(30)
    tab.press(" ")
    tab.wait(lambda: tab.text("moment") != "live")
    time.sleep(0.2)
    here = int(tab.stamp)
    time.sleep(0.4)
    assert int(tab.stamp) == here
    tab.click("#back")
    tab.wait(lambda: int(tab.stamp) < here)
    tab.wait(lambda: tab.text("moment").startswith("−"))
    before = int(tab.stamp)
    tab.press("\ue012")  # the left arrow
    tab.wait(lambda: int(tab.stamp) < before)
    tab.press("\ue014")
    tab.wait(lambda: int(tab.stamp) == before)
    tab.press(" ")
    tab.wait(lambda: tab.text("moment") == "live")
    tab.wait(lambda: int(tab.stamp) > here)


def test_keys_theme_and_help(tab: Tab, page: LivePage) -> None:
    tab.prefer(color_scheme="light")
    tab.open(page.address.url)
    tab.wait_frames()
    assert tab.run("document.documentElement.dataset.theme") == "light"
    brightness = tab.screenshot()[-5:, -5:].mean()
    tab.press("t")
    assert tab.run("document.documentElement.dataset.theme") == "dark"
    assert tab.screenshot()[-5:, -5:].mean() < brightness - 100
    tab.run("localStorage.clear()")
    tab.prefer(color_scheme="dark")
    tab.press("?")
    assert tab.run("document.getElementById('keys').open")
    tab.press("\ue00c")
    tab.wait(lambda: not tab.run("document.getElementById('keys').open"))
    tab.press("/")
    assert tab.run("document.activeElement.id") == "query"
    tab.press("m t", "query")  # letters, not commands
    assert tab.run("document.getElementById('query').value") == "m t"
    assert tab.run("document.getElementById('masks').getAttribute('aria-pressed')") == "true"


@pytest.mark.parametrize("size", [(1920, 1080), (1280, 720), (800, 1000), (390, 844)])
def test_nothing_is_cut_off_at_the_side(tab: Tab, page: LivePage, size: tuple[int, int]) -> None:
    tab.resize(*size)
    try:
        tab.open(page.address.url)
        tab.wait_frames()
        assert tab.run("document.documentElement.scrollWidth") <= size[0]
        for name in ("video", "caption", "timeline", "tracks", "query", "graph", "latency", "rate"):
            box = tab.run(f"document.getElementById('{name}').getBoundingClientRect().toJSON()")
            assert box["width"] > 100, name
            assert box["height"] > 12, name
            assert box["left"] >= 0, name
            assert box["right"] <= size[0] + 1, name
        tab.press("s")
        rows = tab.run("[...document.querySelectorAll('#formats button')].map(b => [b.scrollHeight, b.clientHeight])")
        assert rows
        assert all(text <= row for text, row in rows), rows
    finally:
        tab.resize(1600, 900)


def test_every_control_has_a_name(tab: Tab, page: LivePage) -> None:
    tab.open(page.address.url)
    tab.wait_frames()
    nodes = tab.driver.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    controls = [n for n in nodes if n.get("role", {}).get("value") in ("button", "textbox", "img") and not n["ignored"]]
    names = [n.get("name", {}).get("value", "") for n in controls]
    assert len(names) > 12
    assert all(names), [n for n, name in zip(controls, names, strict=True) if not name]


def test_the_token_is_taken_from_the_address_or_asked_for(tab: Tab, film: Film) -> None:
    with served() as made:
        made._server._address = replace(made.address, token="s3cret")
        theatre = Theatre(made, film)
        tab.open(made.address.url)
        tab.wait(lambda: tab.run("document.getElementById('door').open"))
        tab.press("wrong\n", "token")
        tab.wait(lambda: "not right" in tab.text("door-error"))
        tab.press("s3cret\n", "token")
        tab.wait_frames()
        assert not tab.run("document.getElementById('door').open")
        tab.run("sessionStorage.clear()")
        tab.open(f"{made.address.url}#token=s3cret")
        tab.wait_frames()
        assert "s3cret" not in tab.run("location.href")
        assert not any("s3cret" in url for url in tab.requests if "#" not in url)
        theatre.close()


def test_a_page_of_somebody_else_reaches_nothing(tab: Tab, page: LivePage, tmp_path: Path) -> None:
    stranger = tmp_path / "stranger.html"
    stranger.write_text("<title>stranger</title>")
    tab.open(stranger.as_uri())
    said = tab.driver.execute_async_script(
        f"""
        const done = arguments[0], socket = new WebSocket("ws://127.0.0.1:{page.address.port}/live");
        socket.onopen = () => done("open");
        socket.onerror = () => done("refused");
        """
    )
    assert said == "refused"
    fetched = tab.driver.execute_async_script(
        f"fetch('{page.address.url}').then(() => arguments[0]('read'), () => arguments[0]('refused'))"
    )
    assert fetched == "refused"


def test_the_last_seconds_are_saved(tab: Tab, page: LivePage, tmp_path: Path) -> None:
    tab.driver.execute_cdp_cmd(
        "Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path), "eventsEnabled": False}
    )
    tab.open(page.address.url)
    tab.wait_frames(10)
    tab.press("s")
    tab.click("#formats [data-kind=mp4]")
    tab.wait(lambda: tab.text("toast").startswith("Saved"), 60)
    files = tab.wait(lambda: [p for p in tmp_path.glob("henasy-*.mp4") if p.stat().st_size > 1000])
    assert cv2.VideoCapture(str(files[0])).read()[0]


@pytest.mark.slow
def test_memory_does_not_grow(tab: Tab, page: LivePage) -> None:
    """Half a minute; `python -m tests.web.endurance --minutes 10` takes longer and looks at the whole browser."""
    tab.open(page.address.url)
    time.sleep(14)  # what is kept of frames is full
    before = tab.heap_bytes
    time.sleep(14)
    assert tab.heap_bytes - before < 4_000_000
