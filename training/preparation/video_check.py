"""Whether the videos that clips need are there, whole and alike."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from training.data.chunks import VideoStore
from training.data.clip_table import ClipTable
from training.data.decoding import Video
from training.data.records import VideoError


@dataclass(frozen=True, kw_only=True)
class VideoCheck:
    """layout: what the store says of itself.  absent: videos without any file, the first of them.  chunks: needed;
    chunks_missing: of them not there, the first.  opened: files; unreadable: of them, with the reason of the first.
    mismatched: opened files with another rate or short side than most.
    """

    layout: str = "none of their videos found"
    absent: int = 0
    first_absent: str = ""
    chunks: int = 0
    chunks_missing: int = 0
    first_missing: str = ""
    opened: int = 0
    unreadable: tuple[str, ...] = ()
    mismatched: tuple[str, ...] = ()

    def summary(self, videos: int) -> str:
        """Counts in one line."""
        there = self.chunks - self.chunks_missing
        return f"{videos - self.absent:,} of {videos:,} videos, {there:,} of {self.chunks:,} files that clips start in"

    def remarks(self) -> tuple[str, ...]:
        """One sentence for each thing that is not as it should be, the layout first."""
        out = [self.layout]
        if self.first_absent:
            out.append(f"{self.absent:,} videos absent (first: {self.first_absent})")
        if self.chunks_missing:
            out.append(f"{self.chunks_missing:,} chunks missing (first: {self.first_missing})")
        for kind, found in (("unreadable", self.unreadable), ("unlike the others", self.mismatched)):
            if found:
                out.append(f"{len(found)} of {self.opened} opened files {kind} (first: {found[0]})")
        return tuple(out)


def check_videos(store: VideoStore, table: ClipTable, probe: int) -> VideoCheck:
    """Looks up every file that a clip starts in and opens `probe` of them, spread evenly."""
    length = store.layout.chunk_s
    chunk = np.zeros(len(table), np.int64) if math.isinf(length) else (table.start // length).astype(np.int64)
    needed = np.unique(np.stack([table.video.astype(np.int64), chunk], 1), axis=0)
    absent = [video for video in table.videos if not store.chunks(video)]
    gone = set(absent)
    there, missing = [], []
    for place, number in needed.tolist():
        video = table.videos[place]
        if video in gone:
            continue
        path = store.chunks(video).get(number)
        if path is None:
            missing.append(str(store.expected(video, number)))
        else:
            there.append(path)
    opened = [there[k] for k in np.unique(np.linspace(0, len(there) - 1, min(probe, len(there))).astype(int))]
    facts: dict[Path, tuple[int, int]] = {}
    unreadable = [error for path in opened if (error := _open(path, facts))]
    usual = Counter(facts.values()).most_common(1)[0][0] if facts else None
    odd = [f"{path}: short side {s}, {f} fps; most have {usual}" for path, (s, f) in facts.items() if (s, f) != usual]
    return VideoCheck(
        layout=store.note, absent=len(absent), first_absent=next(iter(absent), ""), opened=len(opened),
        chunks=len(there) + len(missing), chunks_missing=len(missing), first_missing=next(iter(missing), ""),
        unreadable=tuple(unreadable), mismatched=tuple(odd),
    )  # fmt: skip


def _open(path: Path, facts: dict[Path, tuple[int, int]]) -> str:
    """Notes short side and rate of a file and decodes its last frame; says what is wrong with it, if anything."""
    try:
        with Video(path) as video:
            video.frames([len(video.index) - 1])
            facts[path] = (min(video.index.height, video.index.width), round(video.index.fps))
    except VideoError as error:
        return str(error)
    return ""
