"""Videos of the synthetic world with narrations and true boxes, to try the preparation of one's own data on."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np

from henasy_stream.errors import UserError
from henasy_stream.sources.world import World, narrate
from training.data.video_index import pyav
from training.preparation.detectors import TableDetector
from training.preparation.encoding import ChunkWriter
from training.preparation.narration_files import OWN_COLUMNS


def write_example(
    out: Path,
    *,
    videos: int = 4,
    seconds: float = 12.0,
    size: tuple[int, int] = (144, 192),
    fps: float = 10.0,
    seed: int = 0,
    progress: Callable[[float], None] = lambda seconds: None,
) -> None:
    """Writes `videos/world_<n>.mp4`, `narrations.csv` and `boxes.csv`, the latter as `TableDetector` reads it.

    Args:
        out: folder; created.
        videos: how many; each has a table, a wearer and things of its own.
        seconds: length of each.
        size: (H, W), both even.
        fps: frames a second; boxes are told for each frame.
        seed: other videos for another seed.
        progress: told how many seconds of video have just been written.

    Raises:
        UserError: a number that makes no sense, or PyAV is missing.
    """
    if videos < 1 or seconds < 1 or min(size) < 16 or any(side % 2 for side in size) or fps <= 0:
        raise UserError("the example needs at least one video of a second, with even sides of 16 pixels or more")
    pyav()
    out.mkdir(parents=True, exist_ok=True)
    with (
        (out / "narrations.csv").open("w", encoding="utf-8", newline="") as narrations,
        (out / "boxes.csv").open("w", encoding="utf-8", newline="") as boxes,
    ):
        told, boxed = csv.writer(narrations, lineterminator="\n"), csv.writer(boxes, lineterminator="\n")
        told.writerow(OWN_COLUMNS)
        boxed.writerow(TableDetector.COLUMNS)
        for number in range(videos):
            video = f"world_{number}"
            world = World(1000 * seed + number, "train")
            rng = np.random.default_rng((seed, number))
            for action in world.actions_until(seconds - 0.5):
                end = min(action.end_s, seconds)
                narration = narrate(action.verb, action.noun, rng)
                told.writerow([f"{video}.mp4", f"{action.start_s:.3f}", f"{end:.3f}", narration])
            boxed.writerows(_write_video(out / "videos" / f"{video}.mp4", world, seconds, size, fps, progress))


def _write_video(
    path: Path, world: World, seconds: float, size: tuple[int, int], fps: float, progress: Callable[[float], None]
) -> list[list[object]]:
    """Writes one video; rows of `boxes.csv` for it."""
    frame_of = pyav().VideoFrame.from_ndarray
    writer = ChunkWriter(path, size=size, fps=fps)
    rows: list[list[object]] = []
    try:
        for number in range(round(seconds * fps)):
            time = number / fps
            image, _ = world.render(time, size)
            writer.add(frame_of(np.ascontiguousarray(image), format="rgb24").reformat(format="yuv420p"), time)
            truth = world.truth(time, size)
            for box, hand in zip(truth.boxes, truth.is_hand, strict=True):
                if np.isfinite(box).all():
                    kind = "hand" if hand else "object"
                    rows.append([path.stem, f"{time:.3f}", size[1], size[0], kind, *(f"{v:.1f}" for v in box), 1])
            progress(1 / fps)
    except BaseException:
        writer.abandon()
        raise
    writer.close()
    return rows
