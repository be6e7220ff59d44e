"""Make the pictures of the README and of the concepts page with the program itself: `python docs/make_pictures.py`.

`docs/images/page.png` is a screenshot of the live page and not made here.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import torch
from matplotlib import pyplot as plt

import henasy_stream as hs
from henasy_stream._palette import colour_of
from henasy_stream.backends.torch_backend import read_network
from henasy_stream.config import HenasyConfig
from henasy_stream.loading import DEMO_WEIGHTS
from henasy_stream.model.henasy import Henasy
from henasy_stream.preprocess import View
from henasy_stream.types import Frame, Perception

FOLDER = Path(__file__).resolve().parent / "images"
URI, QUERIES = "world?seed=8&size=1280x720&fps=10", ("phone", "picks up", "zebra")
README_FRAME, CONCEPT_FRAME, TIMELINE_FRAMES = 85, 85, 300
INK, FAINT = "#1d2733", "#d7dde3"
plt.rcParams.update({"font.family": "DejaVu Sans", "font.size": 11, "text.color": INK, "axes.edgecolor": FAINT})

Picture = npt.NDArray[np.uint8]


def main() -> None:
    """Run the demo over half a minute of a world; draw one of its frames, one of its windows, and all its tracks."""
    FOLDER.mkdir(exist_ok=True)
    with hs.open_source(URI) as source:
        stream = hs.stream(hs.load("demo"), source, queries=QUERIES)
        seen = [p for p, _ in zip(stream, range(TIMELINE_FRAMES), strict=False)]
    chosen = seen[README_FRAME]
    picture = hs.annotate(chosen.frame, chosen)
    cv2.imwrite(str(FOLDER / "demo.png"), picture[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 9])
    draw_assembling([p.frame for p in seen[: CONCEPT_FRAME + 1]], seen[CONCEPT_FRAME])
    draw_timeline(seen)


def draw_assembling(frames: list[Frame], perception: Perception) -> None:
    """One window on its way through the network: patches, segments, entities, tracks."""
    network, config, _ = read_network(DEMO_WEIGHTS)
    assert isinstance(network, Henasy)
    model_view, segments, entities = _stages(network, config, frames)
    segment_colours = (np.array(plt.get_cmap("tab20").colors)[:, :3] * 255).astype(np.uint8)

    figure, axes = plt.subplots(1, 4, figsize=(14, 4.1), layout="constrained", width_ratios=(1, 1, 1, 16 / 9))
    grid = config.vision.image_size // config.vision.patch_size
    steps = (
        ("1  patches", f"the newest of {config.vision.num_frames} frames, {grid} × {grid}", model_view),
        ("2  segments", "patches that belong together", segment_colours[segments % len(segment_colours)]),
        ("3  entities", "segments that make one thing", _coloured(entities, perception)),
        ("4  tracks and caption", "named, with an id that lasts", hs.annotate(perception.frame, perception)),
    )
    for i, (axis, (title, meaning, image)) in enumerate(zip(axes, steps, strict=True)):
        side = image.shape[0]
        axis.imshow(image, extent=(0, image.shape[1], side, 0), interpolation="nearest" if i in (1, 2) else None)
        if i == 0:
            for k in range(grid + 1):
                axis.axhline(k * side / grid, color="white", linewidth=0.7, alpha=0.75)
                axis.axvline(k * side / grid, color="white", linewidth=0.7, alpha=0.75)
        axis.set_axis_off()
        axis.set_title(title, loc="left", fontsize=14, fontweight="bold", pad=24)
        axis.text(0, 1.03, meaning, transform=axis.transAxes, color="#5b6876", fontsize=11)
    _save(figure, "assembling.png")


def _stages(network: Henasy, config: HenasyConfig, frames: list[Frame]) -> tuple[Picture, Picture, Picture]:
    """What the network sees of the newest frame (S, S, 3), its segments and its entities as grids of indices."""
    last = frames[-1]
    period = config.preprocess.span_s / (config.vision.num_frames - 1)
    stamps = [last.stamp_ns - round(k * period * 1e9) for k in range(config.vision.num_frames)][::-1]
    window = [min(frames, key=lambda f: abs(f.stamp_ns - stamp)) for stamp in stamps]
    view = View.plan(last.height, last.width, config.vision.image_size, config.preprocess.resize)
    clip = np.stack([view.apply(f.image) for f in window])
    pixels = torch.from_numpy(clip).permute(0, 3, 1, 2)[None].float()
    mean, std = (torch.tensor(v).view(1, 1, 3, 1, 1) for v in (config.preprocess.mean, config.preprocess.std))
    network.eval()
    with torch.inference_mode():
        towers = network.towers.visual((pixels - mean) / std)
        out = network.assemble(towers, len(window))
    assert out.boot is not None
    grid = config.vision.image_size // config.vision.patch_size
    segments = out.boot.hard[0, -1].argmax(0).reshape(grid, grid).numpy()
    probability = out.probability[0, -1]
    fine = round(len(probability) ** 0.5)
    entities = probability.argmax(-1).reshape(fine, fine).numpy()
    return clip[-1], segments.astype(np.uint8), entities.astype(np.uint8)


def _coloured(entities: Picture, perception: Perception) -> Picture:
    """Each entity in the colour of the track that it became; grey where it became none."""
    assert perception.masks is not None
    colours = {t.mask_index: colour_of(t.id) for t in perception.tracks if t.mask_index}
    shown = np.full((*entities.shape, 3), (230, 233, 237), np.uint8)
    for entity in np.unique(entities):
        cells = entities == entity
        most = int(np.bincount(perception.masks.index[cells]).argmax())
        shown[cells] = colours.get(most, (230, 233, 237))
    return shown


def draw_timeline(seen: list[Perception]) -> None:
    """Half a minute of tracks and captions."""
    hops = [p for p in seen if p.fresh]
    start = seen[0].stamp_ns
    ids = sorted({t.id for p in hops for t in p.tracks})
    heights = (1.6, 0.4 * len(ids), 0.5)
    figure, (top, tracks, actions) = plt.subplots(
        3, 1, figsize=(14, sum(heights) + 0.8), layout="constrained", height_ratios=heights, sharex=True
    )
    seconds = (seen[-1].stamp_ns - start) / 1e9
    count = 5
    for k in range(count):
        p = seen[round((k + 0.5) / count * (len(seen) - 1))]
        top.imshow(
            cv2.resize(hs.annotate(p.frame, p), None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA),
            extent=(seconds * (k + 0.02) / count, seconds * (k + 0.98) / count, 0, 1),
            aspect="auto",
        )
    top.set_ylim(0, 1)
    step = (hops[1].stamp_ns - hops[0].stamp_ns) / 1e9
    for row, track_id in enumerate(ids):
        name = ""
        for p in hops:
            track = next((t for t in p.tracks if t.id == track_id), None)
            if track is None:
                continue
            name = track.label
            colour = np.array(colour_of(track_id)) / 255
            at = (p.stamp_ns - start) / 1e9
            tracks.barh(row, step, left=at, height=0.62, color=colour, alpha=0.25 if track.state == "lost" else 1)
        tracks.text(-0.25, row, f"{name}  {track_id}", ha="right", va="center", fontsize=12)
    tracks.set_ylim(len(ids) - 0.5, -0.5)
    for segment in _segments(seen):
        left, right = (segment.start_ns - start) / 1e9, min((segment.end_ns - start) / 1e9, seconds)
        actions.barh(0, right - left, left=left, height=0.62, color="#e6e9ed", edgecolor="white", linewidth=2)
        if right - left > 0.15 * len(segment.text):
            actions.text((left + right) / 2, 0, segment.text, ha="center", va="center", fontsize=9)
    actions.set_ylim(-0.5, 0.5)
    actions.set_xlim(0, seconds)
    actions.set_xlabel("seconds")
    for axis in (top, tracks, actions):
        axis.set_yticks([])
        axis.tick_params(length=0, colors=INK)
        for side in axis.spines.values():
            side.set_visible(False)
    _save(figure, "tracks.png")


def _segments(seen: list[Perception]) -> list[hs.Caption]:
    """Every action once, as its last message had it."""
    last = {c.segment_id: c for p in seen for c in (*p.closed, *([p.caption] if p.caption else []))}
    return list(last.values())


def _save(figure: plt.Figure, name: str) -> None:
    figure.savefig(FOLDER / name, dpi=110, facecolor="white", bbox_inches="tight")
    plt.close(figure)


if __name__ == "__main__":
    main()
