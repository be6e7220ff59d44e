"""What the readers of annotation files return."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from henasy_stream.errors import UserError


@dataclass(frozen=True, kw_only=True, slots=True)
class Clip:
    """A stretch of one video and what is said of it.

    video: id as `VideoStore` takes it.  start, end: seconds from the start of the whole video, 0 <= start <= end; an
    infinite end is the end of the file.  texts: narration first, then rephrasings.  time: second of the narration, NaN
    where the file has none.  nouns, verbs: taxonomy rows.  key: how the file itself names the clip.
    """

    video: str
    start: float
    end: float
    texts: tuple[str, ...] = ()
    time: float = float("nan")
    nouns: tuple[int, ...] = ()
    verbs: tuple[int, ...] = ()
    key: str = ""

    @property
    def text(self) -> str:
        """The narration; empty where there is none."""
        return self.texts[0] if self.texts else ""


class VideoError(UserError):
    """A file that gives no pictures: missing, cut off or damaged."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(path, reason)
        self.path, self.reason = path, reason

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


class ClipError(UserError):
    """A clip whose frames can't be had, with the file that is to blame.

    `clip` is the clip that was asked for, `path` the file, `reason` what is wrong with it.
    """

    def __init__(self, clip: Clip, path: str, reason: str) -> None:
        super().__init__(clip, path, reason)
        self.clip, self.path, self.reason = clip, path, reason

    def __str__(self) -> str:
        return (
            f"clip {self.clip.video} {self.clip.start:g}-{self.clip.end:g} s can't be read: {self.path}: {self.reason}"
        )


@dataclass(kw_only=True)
class Skips:
    """Entries of one file that a reader left out or mended: how many for which reason, and the first of each."""

    source: str
    counts: Counter[str] = field(default_factory=Counter)
    first: dict[str, str] = field(default_factory=dict)

    def add(self, reason: str, where: str) -> None:
        """Count one entry; `where` finds it in the file, e.g. "row 7"."""
        self.counts[reason] += 1
        self.first.setdefault(reason, where)

    def lines(self) -> list[str]:
        """One sentence for each reason, most frequent first; none when nothing was left out."""
        return [
            f"{self.source}: {count:,} × {reason} (first: {self.first[reason]})"
            for reason, count in self.counts.most_common()
        ]
