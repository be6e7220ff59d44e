"""A folder of videos and one csv into a folder that training reads: chunks, nouns, verbs, phrases, boxes, a split."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from henasy_stream.errors import UserError
from training.data.hand_object import read_taxonomy
from training.data.own import COLUMNS, read_own
from training.data.records import Clip, Skips
from training.data.tables import checksum
from training.preparation.boxes import BoxReport, detect_boxes
from training.preparation.chunking import Chunked, ChunkReport, ChunkSettings, chunk_videos, total_seconds
from training.preparation.detectors import Detector
from training.preparation.llm import Completer
from training.preparation.narration_files import read_own_csv
from training.preparation.nouns import find_nouns, named_things, open_dictionary, word_rows
from training.preparation.parser import load_parser
from training.preparation.progress import Stage
from training.preparation.row_files import write_whole
from training.preparation.verbs import VerbReport, verb_phrases
from training.preparation.video_files import find_videos


@dataclass(frozen=True, kw_only=True)
class OwnSettings:
    """heldout: share of the videos that is held out, 0 to below 1.  taxonomy: csv of nouns, None makes a dictionary of
    the nouns that are named at least `min_count` times.  seed: draws the held-out videos.
    """

    chunks: ChunkSettings = field(default_factory=ChunkSettings)
    heldout: float = 0.2
    seed: int = 0
    taxonomy: Path | None = None
    min_count: int = 1
    workers: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.heldout < 1:
            raise UserError(f"--heldout {self.heldout:g}: give a share from 0 to below 1")


@dataclass(frozen=True, kw_only=True)
class OwnReport:
    """clips, heldout_clips: usable ones.  heldout: ids of held-out videos.  remarks: what was left out or mended."""

    clips: int
    heldout_clips: int
    heldout: tuple[str, ...]
    chunks: ChunkReport
    verbs: VerbReport
    nouns: int
    without_noun: int
    boxes: BoxReport | None
    remarks: tuple[str, ...]


def prepare_own(
    videos: Path,
    narrations: Path,
    out: Path,
    settings: OwnSettings,
    *,
    cache: Path,
    detector: Detector | None = None,
    model: Completer | None = None,
    stage: Stage,
) -> OwnReport:
    """Makes the folder that `training.data.own.read_own` reads; a second run does only what is missing.

    Args:
        videos: folder of video files.
        narrations: csv with the columns video, start, end, narration.
        out: the folder to make.
        settings: how.
        cache: of action phrases.
        detector: finds hands and objects; None leaves boxes out.
        model: lists action phrases; None leaves them to the parser.
        stage: shows progress.

    Raises:
        UserError: nothing usable, or a mistake in the arguments.
    """
    table, skips = read_own_csv(narrations)
    load_parser()
    taxonomy = read_taxonomy(settings.taxonomy) if settings.taxonomy else None
    files = find_videos(videos)
    named = [video for video in table.videos if video in files]
    if not named:
        raise UserError(f"{narrations}: none of its {len(table.videos)} videos (e.g. {table.videos[0]}) is in {videos}")
    sources = {video: files[video] for video in named}
    tell = stage("videos", total_seconds(sources))
    chunked = chunk_videos(sources, out / "videos", settings.chunks, workers=settings.workers, progress=tell)
    for path, reason in chunked.errors.items():
        skips.add("video can't be read", f"{path}: {reason}")
    usable = (_within(clip, chunked.done, files, skips) for clip in table)
    clips = [clip for clip in usable if clip is not None]
    if not clips:
        raise UserError("; ".join([f"{narrations}: no clip is left", *skips.lines()]))
    texts = [clip.text for clip in clips]
    phrases, verbs = verb_phrases(
        texts, cache=cache, model=model, workers=settings.workers, progress=stage("phrases", len(set(texts)))
    )
    things, words = _nouns(texts, taxonomy, settings.min_count)
    verb_words = open_dictionary([_verbs(phrases[text]) for text in texts])
    places = {verb: place for place, verb in enumerate(verb_words)}
    clips = [
        replace(clip, nouns=nouns, verbs=tuple(places[verb] for verb in _verbs(phrases[clip.text])))
        for clip, nouns in zip(clips, things, strict=True)
    ]
    heldout = hold_out(sorted({clip.video for clip in clips}), settings.heldout, settings.seed)
    write_whole(out / "nouns.txt", "".join(f"{word}\n" for word in words))
    write_whole(out / "verbs.txt", "".join(f"{word}\n" for word in verb_words))
    write_whole(out / "clips.csv", _csv(clips, phrases, heldout))
    about: dict[str, Any] = {
        "version": 1, "layout": settings.chunks.layout, "chunk_s": settings.chunks.chunk_s,
        "chunks": str(settings.chunks), "narrations": narrations.name, "narrations_sha256": checksum(narrations),
        "taxonomy": settings.taxonomy.name if settings.taxonomy else None, "heldout": sorted(heldout),
        "phrases_by": model.name if model else "parser", "boxes_by": detector.name if detector else None,
        "verbs": asdict(verbs), "left_out_or_mended": dict(skips.counts),
    }  # fmt: skip
    write_whole(out / "own.json", json.dumps(about, indent=1) + "\n")
    own = read_own(out)
    boxes = None
    if detector:
        boxes = detect_boxes(
            own.clips, own.store(lambda line: None), detector, out / "boxes", progress=stage("boxes", len(own.clips))
        )
    remarks = skips.lines()
    remarks += [
        f"{entry.video}: ends earlier than its file says" for entry in chunked.done.values() if entry.ends_early
    ]
    if settings.heldout and not heldout:
        remarks.append("nothing is held out: there is only one video")
    return OwnReport(
        clips=len(clips), heldout_clips=sum(clip.video in heldout for clip in clips), heldout=tuple(sorted(heldout)),
        chunks=chunked, verbs=verbs, nouns=len(words), without_noun=sum(not nouns for nouns in things), boxes=boxes,
        remarks=tuple(remarks),
    )  # fmt: skip


def hold_out(videos: Sequence[str], share: float, seed: int) -> frozenset[str]:
    """The held-out ones: those with the smallest hashes, at least one if the share is not 0, never all of them."""
    count = min(max(round(share * len(videos)), 1), len(videos) - 1) if share else 0
    return frozenset(sorted(videos, key=lambda video: hashlib.sha256(f"{seed}/{video}".encode()).digest())[:count])


def _within(clip: Clip, done: Mapping[str, Chunked], files: Mapping[str, Path], skips: Skips) -> Clip | None:
    """The clip as far as its video reaches; None, counted, where there is nothing of it."""
    where = f"row {clip.key}: {clip.video} {clip.start:g}-{clip.end:g} s"
    if clip.video not in done:
        if clip.video not in files:
            skips.add("video not in the folder", where)
        else:
            skips.add("clip of a video that can't be read", where)
        return None
    seconds = done[clip.video].seconds
    if clip.start >= seconds:
        skips.add("starts beyond the video's end", f"{where} of {seconds:g} s")
        return None
    if clip.end > seconds:
        skips.add("end beyond the video set to the video's end", f"{where} of {seconds:g} s")
    return replace(clip, end=min(clip.end, seconds))


def _nouns(
    texts: Sequence[str], taxonomy: tuple[tuple[str, ...], ...] | None, min_count: int
) -> tuple[list[tuple[int, ...]], tuple[str, ...]]:
    """Places of the nouns of each text, and the words that the places stand for."""
    if taxonomy is not None:
        rows = word_rows(taxonomy)
        return [find_nouns(text, rows) for text in texts], tuple(group[0].replace("_", " ") for group in taxonomy)
    things = list(named_things(texts, load_parser()))
    words = open_dictionary(things, min_count)
    places = {word: place for place, word in enumerate(words)}
    return [tuple(places[thing] for thing in named if thing in places) for named in things], words


def _verbs(phrases: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(phrase.split()[0] for phrase in phrases))


def _csv(clips: Sequence[Clip], phrases: Mapping[str, tuple[str, ...]], heldout: frozenset[str]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for clip in clips:
        split = "heldout" if clip.video in heldout else "train"
        lists = [str(list(values)) for values in (clip.nouns, clip.verbs, phrases[clip.text])]
        writer.writerow([clip.video, f"{clip.start:.3f}", f"{clip.end:.3f}", clip.text, *lists, split])
    return text.getvalue()
