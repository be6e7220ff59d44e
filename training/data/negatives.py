"""Scene-aware hard negatives: for a clip, another one of the same video close by in time."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from training.data.clip_table import ClipTable

Rows = npt.NDArray[np.int64]


class SceneNegatives:
    """Draws a hard negative for any row of a table.

    It comes from the anchor's video and window of `window_s` seconds, windows being counted by the time of the
    narration (the clip's middle where the table has none).  Failing that it is the nearest clip of the video, and
    failing that any clip of another video.  It is never the anchor, nor a clip of the very same start and end.
    `note` says how many anchors have which.
    """

    def __init__(self, table: ClipTable, window_s: float = 60.0) -> None:
        """Raises ValueError for a table of fewer than two clips, or a window that isn't positive."""
        if len(table) < 2 or not window_s > 0:
            raise ValueError(f"{len(table)} clips and windows of {window_s} s: there is nothing to draw from")
        self._start, self._end, self._video = table.start, table.end, table.video
        finite_end = np.where(np.isfinite(table.end), table.end, table.start)
        self._time = np.where(np.isnan(table.time), (table.start + finite_end) / 2, table.time)
        window = np.floor(self._time / window_s).astype(np.int64)
        self._order = np.lexsort((np.arange(len(table)), self._time, table.video))
        self._place = np.empty(len(table), np.int64)
        self._place[self._order] = np.arange(len(table))
        video, window = table.video[self._order], window[self._order]
        new_video = np.flatnonzero(np.diff(video, prepend=-1))
        new_scene = np.flatnonzero((np.diff(video, prepend=-1) != 0) | (np.diff(window, prepend=window[0]) != 0))
        self._video_bounds = np.append(new_video, len(table))
        self._scene_bounds = np.append(new_scene, len(table))
        alone_in_scene = np.diff(self._scene_bounds) == 1
        alone_in_video = np.diff(self._video_bounds) == 1
        self.note = (
            f"hard negatives: {len(table):,} clips, {int(alone_in_scene.sum()):,} of them alone in {window_s:g} s, "
            f"{int(alone_in_video.sum()):,} alone in their video"
        )

    def draw(self, row: int, rng: np.random.Generator) -> int:
        """The row of a hard negative for this row.

        Raises:
            ValueError: every clip of the table has this one's video, start and end.
        """
        scene = self._others(row, self._slice(self._scene_bounds, row))
        if len(scene):
            return int(scene[rng.integers(len(scene))])
        first, end = self._slice(self._video_bounds, row)
        video = self._others(row, (first, end))
        if len(video):
            return int(video[np.abs(self._time[video] - self._time[row]).argmin()])
        elsewhere = len(self._order) - (end - first)
        if not elsewhere:
            raise ValueError(f"row {row}: no clip differs from it")
        place = int(rng.integers(elsewhere))
        return int(self._order[place if place < first else place + end - first])

    def _slice(self, bounds: Rows, row: int) -> tuple[int, int]:
        at = int(np.searchsorted(bounds, self._place[row], side="right"))
        return int(bounds[at - 1]), int(bounds[at])

    def _others(self, row: int, places: tuple[int, int]) -> Rows:
        rows = self._order[slice(*places)]
        return rows[(self._start[rows] != self._start[row]) | (self._end[rows] != self._end[row])]
