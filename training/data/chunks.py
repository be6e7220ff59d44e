"""Where the frames of a video lie: one file, or chunks in one of the layouts that are in use.

| layout | path | chunk |
| --- | --- | --- |
| lavila | `<video>.mp4/<start second>.mp4` | 300 s |
| avion | `<video>.mp4/<start second>.mp4` (EPIC: `P01/P01_01.MP4/15.MP4`) | 15 s |
| egovlp | `<video>/<index>.mp4` | 600 s |
| whole | `<video>.mp4` (EPIC as downloaded: `P01/videos/P01_01.MP4`) | the file |
"""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from henasy_stream.errors import UserError
from training.data.decoding import Video
from training.data.records import VideoError

LayoutName = Literal["auto", "lavila", "avion", "egovlp", "whole"]
VIDEO_SUFFIXES = (".mp4", ".MP4", ".mkv", ".mov", ".MOV", ".avi", ".webm")
_PROBED = 12
_SHORTEST_CHUNK = 5
"""Seconds; names with smaller steps are indices."""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How chunks are named.  `chunk_s`: seconds of a chunk, infinite for whole files; `by_start`: named by second."""

    name: str
    chunk_s: float
    by_start: bool


LAYOUTS = {
    "lavila": Layout(name="lavila", chunk_s=300, by_start=True),
    "avion": Layout(name="avion", chunk_s=15, by_start=True),
    "egovlp": Layout(name="egovlp", chunk_s=600, by_start=False),
    "whole": Layout(name="whole", chunk_s=math.inf, by_start=False),
}


class Found(NamedTuple):
    """What there is of a video: the pattern of its place, and its files by the number in their names (whole: 0)."""

    pattern: str
    files: dict[int, Path]


_FOLDERS = {"<video>.mp4/": "{}.mp4", "<video>.MP4/": "{}.MP4", "<video>/": "{}"}


@dataclass(frozen=True, kw_only=True)
class VideoStore:
    """The videos below `root`, all in one layout; `note` says what was found when it was opened."""

    root: Path
    layout: Layout
    note: str = ""
    _listed: dict[str, dict[int, Path]] = field(default_factory=dict, compare=False, repr=False)

    @staticmethod
    def open(
        root: Path,
        videos: Iterable[str],
        *,
        layout: LayoutName = "auto",
        chunk_s: float | None = None,
        report: Callable[[str], None] = print,
    ) -> VideoStore:
        """Find out how the videos below a folder are laid out, and report it in one line.

        Args:
            root: the folder.
            videos: ids of the annotations; a dozen of them, spread evenly, are looked up.
            layout: "auto" tells from the names found.
            chunk_s: seconds of a chunk where they are not those of the layout.
            report: receives the line.

        Raises:
            UserError: no such folder, none of the videos in it, videos in different layouts, or chunks of another
                length than their layout says.
        """
        if not root.is_dir():
            raise UserError(f"{root}: no such folder; expected the videos there")
        some = _spread(sorted(set(videos)))
        found = {video: one for video in some if (one := _find(root, video))}
        if not found:
            wanted = some[0] if some else "<video>"
            raise UserError(
                f"{root}: none of the {len(some)} videos looked for is there; expected {wanted}.mp4/<second>.mp4, "
                f"{wanted}/<index>.mp4 or {wanted}.mp4"
            )
        chosen = _detect(root, found) if layout == "auto" else LAYOUTS[layout]
        for video, one in found.items():
            if (one.pattern == "whole files") != (chosen.name == "whole"):
                raise UserError(f"{root}: {video} is there as {one.pattern}, which is not the layout {chosen.name}")
        if chunk_s is not None:
            chosen = Layout(name=chosen.name, chunk_s=chunk_s, by_start=chosen.by_start)
        store = VideoStore(root=root, layout=chosen)
        note = f"{root}: {store._describe(found)}; {len(found)} of {len(some)} videos looked for are there"
        report(note)
        return VideoStore(root=root, layout=chosen, note=note)

    def chunks(self, video: str) -> dict[int, Path]:
        """The files of a video by the number of the chunk, ascending; {0: file} for a whole one, empty when absent."""
        if video not in self._listed:
            one = _find(self.root, video)
            files = sorted(one.files.items()) if one else []
            step = self.layout.chunk_s if self.layout.by_start else 1
            self._listed[video] = {int(number // step): path for number, path in files if number % step == 0}
        return self._listed[video]

    def expected(self, video: str, chunk: int) -> Path:
        """Where a chunk should lie, for messages about one that doesn't."""
        if self.layout.name == "whole":
            return self.root / f"{video}.mp4"
        number = int(chunk * self.layout.chunk_s) if self.layout.by_start else chunk
        there = self.chunks(video)
        folder = next(iter(there.values())).parent if there else self.root / f"{video}.mp4"
        return folder / f"{number}.mp4"

    def _describe(self, found: dict[str, Found]) -> str:
        """The layout, the pictures' size and rate.

        Lengths are checked against chunks that have a successor; a few damaged or cut ones don't hide the layout.
        """
        unreadable, wrong = "", ""
        for path, followed in self._probes(found):
            if wrong and not followed:
                break
            try:
                with Video(path) as file:
                    index = file.index
            except VideoError as error:
                unreadable = unreadable or str(error)
                continue
            if not followed or abs(index.duration - self.layout.chunk_s) <= max(1.0, 0.02 * self.layout.chunk_s):
                return f"{self._name()}, {index.width} x {index.height}, {index.fps:.3f} fps"
            wrong = wrong or f"{path} lasts {index.duration:.1f} s and another chunk follows; name the chunks' length"
        raise UserError(f"{self.root}: {self._name()}? {wrong or unreadable or 'there are no such chunks'}")

    def _probes(self, found: dict[str, Found]) -> list[tuple[Path, bool]]:
        """The first chunks of each video and whether another one follows; those that one follows come first."""
        probes = []
        for video in found:
            chunks = self.chunks(video)
            probes += [(path, chunk + 1 in chunks) for chunk, path in islice(chunks.items(), 3)]
        return sorted(probes, key=lambda probe: not probe[1])

    def _name(self) -> str:
        if self.layout.name == "whole":
            return "whole files"
        named = "start second" if self.layout.by_start else "index"
        return f"layout {self.layout.name}, chunks of {self.layout.chunk_s:g} s named by {named}"


def _spread(videos: list[str]) -> list[str]:
    places = np.linspace(0, len(videos) - 1, min(_PROBED, len(videos))).astype(int)
    return [videos[place] for place in places]


def _find(root: Path, video: str) -> Found | None:
    for pattern, folder in _FOLDERS.items():
        path = root / folder.format(video)
        if path.is_dir():
            with os.scandir(path) as entries:
                paths = [Path(entry.path) for entry in entries]
            files = {int(p.stem): p for p in paths if p.stem.isdecimal() and p.suffix in VIDEO_SUFFIXES}
            return Found(pattern, files) if files else None
    bare = root / video
    for stem in (bare, bare.parent / "videos" / bare.name):
        for suffix in ("", *VIDEO_SUFFIXES):
            path = stem.with_name(stem.name + suffix)
            if path.is_file():
                return Found("whole files", {0: path})
    return None


def _detect(root: Path, found: dict[str, Found]) -> Layout:
    counts = Counter(one.pattern for one in found.values())
    if len(counts) > 1:
        first = {one.pattern: video for video, one in reversed(found.items())}
        told = ", ".join(f"{count} as {pattern} (e.g. {first[pattern]})" for pattern, count in counts.most_common())
        raise UserError(f"{root}: videos are laid out in different ways: {told}; name the layout")
    pattern = next(iter(counts))
    if pattern == "whole files":
        return LAYOUTS["whole"]
    step = math.gcd(*(number for one in found.values() for number in one.files))
    if step >= _SHORTEST_CHUNK:
        known = {layout.chunk_s: layout for layout in LAYOUTS.values() if layout.by_start}
        return known.get(step, Layout(name="by start second", chunk_s=step, by_start=True))
    if step == 0 and pattern == "<video>.mp4/":
        return LAYOUTS["lavila"]  # every video has one chunk: its length doesn't matter
    return LAYOUTS["egovlp"]
