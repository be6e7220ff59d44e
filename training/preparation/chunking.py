"""Cuts and resizes videos into one of the three chunk layouts in use; goes on where it was interrupted."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from threading import Event

from henasy_stream.errors import UserError
from training.data.chunks import LAYOUTS
from training.data.records import VideoError
from training.data.video_index import pyav
from training.preparation.encoding import CODECS, ChunkWriter, VideoReader, resized, upright

LOG = "chunks.jsonl"


SHORT_SIDES = {"lavila": 288, "avion": 288, "egovlp": 256}
"""Layouts that can be made, with the short side in pixels that goes with each."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ChunkSettings:
    """layout: a key of `SHORT_SIDES`.  seconds, short_side: 0 for the layout's own.  codec: one of `CODECS`.

    Raises:
        UserError: a value that makes no sense; named as the command line's option.
    """

    layout: str = "lavila"
    seconds: int = 0
    short_side: int = 0
    codec: str = "mpeg4"

    def __post_init__(self) -> None:
        for option, value, known in (("--layout", self.layout, SHORT_SIDES), ("--codec", self.codec, CODECS)):
            if value not in known:
                raise UserError(f"{option} {value}: one of {', '.join(known)}")
        # Readers tell start seconds from chunk numbers by their distance.
        shortest = 5 if LAYOUTS[self.layout].by_start else 1
        if self.chunk_s < shortest:
            raise UserError(f"--chunk-seconds {self.seconds}: give a whole number from {shortest}")
        if self.short_side and self.short_side < 16:
            raise UserError(f"--short-side {self.short_side}: give at least 16 pixels")

    @property
    def chunk_s(self) -> int:
        """Seconds of a chunk."""
        return self.seconds or int(LAYOUTS[self.layout].chunk_s)

    @property
    def pixels(self) -> int:
        """Short side of the chunks' pictures."""
        return self.short_side or SHORT_SIDES[self.layout]

    def path(self, video: str, number: int) -> Path:
        """Where chunk `number` of a video lies, relative to the root of all videos."""
        if LAYOUTS[self.layout].by_start:
            return Path(f"{video}.mp4") / f"{number * self.chunk_s}.mp4"
        return Path(video) / f"{number}.mp4"

    def __str__(self) -> str:
        return f"{self.layout} {self.chunk_s} s {self.pixels} px {self.codec}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Chunked:
    """What became of one video.

    source: the file, its bytes beside it.  chunks: their numbers; a gap in a video's times leaves some out.  seconds:
    from the first frame to the end of the last; declared: what the file says of itself, 0 if nothing.  size: (H, W) of
    the chunks.  settings: what was asked for, to see whether a later run may keep the chunks.
    """

    video: str
    source: str
    bytes: int
    chunks: tuple[int, ...]
    frames: int
    seconds: float
    declared: float
    fps: float
    size: tuple[int, int]
    settings: str

    @property
    def ends_early(self) -> bool:
        """Whether more than a second of what the file promises could not be decoded."""
        return self.declared - self.seconds > 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class ChunkReport:
    """done: by video, those kept from an earlier run included.  kept: how many those are.  errors: by source file."""

    done: dict[str, Chunked]
    kept: int
    errors: dict[str, str]


def total_seconds(videos: Mapping[str, Path]) -> float:
    """Length of all files together as they say themselves; those that cannot be read count nothing."""
    total = 0.0
    for path in videos.values():
        with suppress(VideoError), VideoReader(path) as reader:
            total += reader.facts().seconds
    return total


def chunk_videos(
    videos: Mapping[str, Path],
    out: Path,
    settings: ChunkSettings,
    *,
    workers: int = 1,
    progress: Callable[[float], None] = lambda seconds: None,
) -> ChunkReport:
    """Chunks every video that a former run with these settings has not finished.

    Args:
        videos: files by id.
        out: root of the layout; `chunks.jsonl` there says which videos are finished.
        settings: layout and codec.
        workers: videos at a time.
        progress: told, from any thread, how many seconds of video have just been done.

    Returns:
        The report; a video that cannot be read is among its errors and leaves no chunk of its own.
    """
    pyav()
    out.mkdir(parents=True, exist_ok=True)
    former = read_log(out)
    kept = {
        video: former[video] for video, path in videos.items() if _still_there(former.get(video), path, out, settings)
    }
    progress(sum(entry.seconds for entry in kept.values()))
    done, errors = dict(kept), {}
    todo = {video: path for video, path in videos.items() if video not in kept}
    stop = Event()
    with ThreadPoolExecutor(max(1, workers)) as pool, (out / LOG).open("a", encoding="utf-8") as log:
        jobs = {pool.submit(_chunk, video, path, out, settings, progress, stop): path for video, path in todo.items()}
        try:
            for job in as_completed(jobs):
                try:
                    result = job.result()
                except VideoError as error:
                    errors[str(jobs[job])] = error.reason
                    continue
                done[result.video] = result
                log.write(json.dumps(asdict(result)) + "\n")
                log.flush()
        except BaseException:
            stop.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return ChunkReport(done=dict(sorted(done.items())), kept=len(kept), errors=errors)


def read_log(out: Path) -> dict[str, Chunked]:
    """Finished videos of a root by id; a line that was cut off when a run was killed is passed over."""
    path = out / LOG
    if not path.exists():
        return {}
    found: dict[str, Chunked] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        with suppress(ValueError, TypeError):
            entry = Chunked(**json.loads(line))
            found[entry.video] = replace(entry, size=(entry.size[0], entry.size[1]), chunks=tuple(entry.chunks))
    return found


def _still_there(entry: Chunked | None, path: Path, out: Path, settings: ChunkSettings) -> bool:
    if entry is None or entry.settings != str(settings) or entry.bytes != path.stat().st_size:
        return False
    return all((out / settings.path(entry.video, number)).exists() for number in entry.chunks)


def _chunk(
    video: str, path: Path, out: Path, settings: ChunkSettings, progress: Callable[[float], None], stop: Event
) -> Chunked:
    with VideoReader(path) as reader:
        facts = reader.facts()
    size = resized(facts.size, settings.pixels)
    writer: ChunkWriter | None = None
    numbers: list[int] = []
    frames, time, told = 0, 0.0, 0.0
    try:
        with VideoReader(path) as reader:
            for time, frame in reader.frames():
                if stop.is_set():
                    raise InterruptedError(f"{path}: interrupted")
                number = int(time // settings.chunk_s)
                if writer is None or number != numbers[-1]:
                    if writer:
                        writer.close()
                    numbers.append(number)
                    writer = ChunkWriter(
                        out / settings.path(video, number), size=size, fps=facts.fps, codec=settings.codec
                    )
                writer.add(upright(frame, size), time - number * settings.chunk_s)
                frames += 1
                if time - told >= 1.0:
                    progress(time - told)
                    told = time
        if writer:
            writer.close()
    except BaseException:
        if writer:
            writer.abandon()
        _remove([out / settings.path(video, number) for number in numbers])
        raise
    seconds = time + (1 / facts.fps if facts.fps else 0.0)
    progress(seconds - told)
    return Chunked(
        video=video, source=str(path), bytes=path.stat().st_size, chunks=tuple(numbers), frames=frames,
        seconds=round(seconds, 3), declared=round(facts.seconds, 3), fps=round(facts.fps, 3), size=size,
        settings=str(settings),
    )  # fmt: skip


def _remove(paths: Sequence[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)
    if paths:
        with suppress(OSError):
            paths[0].parent.rmdir()
