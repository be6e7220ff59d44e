"""The single steps of `prepare.py`: nouns, verbs and boxes of any list of clips."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from henasy_stream.cache import cache_folder
from henasy_stream.errors import UserError
from training.data.chunks import VideoStore
from training.data.clip_table import ClipTable
from training.data.hand_object import PADDING, narration_nouns, read_taxonomy
from training.preparation.actions import MAX_PHRASES
from training.preparation.boxes import detect_boxes
from training.preparation.detectors import Detector, HandObjectDetector, OnnxDetector, TableDetector
from training.preparation.llm import LanguageModel
from training.preparation.narration_files import read_clips
from training.preparation.nouns import MAX_NOUNS, find_nouns, named_things, open_dictionary, word_rows
from training.preparation.parser import load_parser, parser_name
from training.preparation.progress import Outcome, Stage
from training.preparation.row_files import save_rows
from training.preparation.verbs import verb_phrases


def make_nouns(options: argparse.Namespace, stage: Stage) -> Outcome:
    """Writes `nouns.npy`, `nouns.txt` and `nouns.json`."""
    table, skips = read_clips(options.narrations)
    if options.taxonomy:
        taxonomy = read_taxonomy(options.taxonomy)
        rows = _by_taxonomy(table, taxonomy, stage("clips", len(table)))
        words = [group[0] for group in taxonomy]
        engine = options.taxonomy.name
    else:
        parser = load_parser()
        texts = [clip.text for clip in table]
        distinct = list(dict.fromkeys(texts))
        tell = stage("narrations", len(distinct))
        things = {}
        for text, named in zip(distinct, named_things(distinct, parser), strict=True):
            things[text] = named
            tell(1)
        words = list(open_dictionary([things[text] for text in texts], options.min_count))
        places = {word: place for place, word in enumerate(words)}
        rows = [[places[thing] for thing in things[text] if thing in places] for text in texts]
        engine = parser_name()
    about = {"engine": engine, "source": options.narrations.name, "without any": sum(not row for row in rows)}
    save_rows(options.out, "nouns", table, rows, words, width=MAX_NOUNS, about=about)
    return {"clips": len(table), "words": len(words), **about, "left out or mended": skips.lines()}, {}


def _by_taxonomy(
    table: ClipTable, taxonomy: tuple[tuple[str, ...], ...], tell: Callable[[float], None]
) -> list[Sequence[int]]:
    """By HelpingHands' rule where the clips are tagged with nouns, else by all rows of the taxonomy."""
    words = word_rows(taxonomy)
    tagged = len(table.nouns.values) > 0
    rows: list[Sequence[int]] = []
    for clip in table:
        if tagged:
            nouns = narration_nouns(clip.text, clip.nouns, taxonomy, limit=MAX_NOUNS)
            rows.append([int(noun) for noun in nouns if noun != PADDING])
        else:
            rows.append(find_nouns(clip.text, words))
        tell(1)
    return rows


def make_verbs(options: argparse.Namespace, stage: Stage) -> Outcome:
    """Writes `verbs.npy`, `verbs.txt` (the phrases) and `verbs.json`."""
    table, skips = read_clips(options.narrations)
    texts = [clip.text for clip in table]
    model = model_of(options.llm)
    phrases, report = verb_phrases(
        texts, cache=options.cache or cache_folder() / "phrases.sqlite", model=model, workers=options.workers,
        progress=stage("narrations", len(set(texts))),
    )  # fmt: skip
    words = list(dict.fromkeys(phrase for text in texts for phrase in phrases[text]))
    places = {word: place for place, word in enumerate(words)}
    rows = [[places[phrase] for phrase in phrases[text]] for text in texts]
    width = max(1, min(MAX_PHRASES, max(map(len, rows))))
    about = {"engine": model.name if model else parser_name(), "source": options.narrations.name, **asdict(report)}
    save_rows(options.out, "verbs", table, rows, words, width=width, about=about)
    return {"clips": len(table), "phrases": len(words), **about, "left out or mended": skips.lines()}, {}


def make_boxes(options: argparse.Namespace, stage: Stage) -> Outcome:
    """Writes `<out>/<video>.npz`; clips whose frames can't be read have none."""
    table, skips = read_clips(options.narrations)
    detector = detector_of(options)
    if detector is None:
        raise UserError("boxes need --hands or --detections")
    notes: list[str] = []
    store = VideoStore.open(options.videos, table.videos, chunk_s=options.chunk_seconds, report=notes.append)
    report = detect_boxes(table, store, detector, options.out, progress=stage("clips", len(table)))
    counts = {**asdict(report), "unreadable": sum(report.unreadable.values())}
    facts = {"videos": notes[0], "detector": detector.name, **counts, "left out or mended": skips.lines()}
    return facts, clips_by_file(report.unreadable)


def clips_by_file(unreadable: Mapping[str, int]) -> dict[str, str]:
    """What to say of files that some clips could not be read from."""
    return {path: f"frames of {count} clips can't be read" for path, count in unreadable.items()}


def detector_of(options: argparse.Namespace) -> Detector | None:
    """What the options say, None for no detector; UserError for a file that is none."""
    if options.detections:
        return TableDetector(options.detections)
    if options.objects and not options.hands:
        raise UserError("--objects goes with --hands")
    if not options.hands:
        return None
    hands = OnnxDetector(options.hands, min_score=options.min_score)
    objects = OnnxDetector(options.objects, min_score=options.min_score, skipped=options.skip_labels) if (
        options.objects
    ) else None  # fmt: skip
    return HandObjectDetector(hands, objects)


def model_of(path: Path | None) -> LanguageModel | None:
    """The language model of a folder, None for none."""
    return LanguageModel(path) if path else None
