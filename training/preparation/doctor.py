"""Checks a data root: what is there, what is missing, what contradicts what, with counts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from henasy_stream.errors import UserError
from training.data.clip_table import ClipTable
from training.data.ego4d import read_moments, read_narrations, read_nlq
from training.data.egoclip import NOUNS, read_egoclip
from training.data.egomcq import INTER, read_egomcq
from training.data.egtea import read_actions, read_split
from training.data.epic import read_retrieval, read_segments
from training.data.hand_object import HandObjectBoxes, read_taxonomy
from training.data.lavila_pickles import read_lavila
from training.data.own import read_own
from training.data.records import Clip, Skips
from training.data.tables import read_json
from training.preparation.data_root import DataRoot, survey
from training.preparation.narration_files import read_clips
from training.preparation.row_files import load_rows
from training.preparation.video_check import VideoCheck, check_videos

Status = Literal["ok", "absent", "missing", "mismatch", "error"]
_BOX_SAMPLE = 500


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """status: ok; absent, nothing there; missing, in part; mismatch, it contradicts another or the published data;
    error, it cannot be read.  found: with counts.  remarks: one sentence each.
    """

    item: str
    status: Status
    found: str = ""
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class _Item:
    """A kind of data: files that it needs together, and what is made of them."""

    name: str
    files: tuple[str, ...]
    check: Callable[[_Doctor, Sequence[Path]], Finding]


def examine(root: Path, *, probe: int = 24) -> list[Finding]:
    """All findings about a data root.

    Args:
        root: searched four folders deep for the public files by their own names.
        probe: video files that are opened for each set of annotations.

    Raises:
        UserError: no such folder.
    """
    doctor = _Doctor(survey(root), probe)
    return [finding for item in _ITEMS for finding in doctor.run(item)]


class _Doctor:
    def __init__(self, root: DataRoot, probe: int) -> None:
        self.root, self.probe = root, probe

    def run(self, item: _Item) -> list[Finding]:
        paths = [self.root.one(*names.split("|")) for names in item.files]
        missing = [names.split("|")[0] for names, path in zip(item.files, paths, strict=True) if path is None]
        if len(missing) == len(paths):
            return [Finding(item=item.name, status="absent", remarks=(f"looked for {', '.join(item.files)}",))]
        if missing:
            return [Finding(item=item.name, status="missing", remarks=(f"no {', '.join(missing)}",))]
        try:
            return [item.check(self, [path for path in paths if path is not None])]
        except UserError as error:
            return [Finding(item=item.name, status="error", remarks=(str(error),))]

    def clips(self, item: str, clips: ClipTable | Sequence[Clip], skips: Skips, rows: int | None, said: str) -> Finding:
        """Finding about clips whose videos are looked for below the root."""
        table = clips if isinstance(clips, ClipTable) else ClipTable.of(clips)
        remarks = skips.lines()
        status: Status = "ok"
        if rows is not None and len(table) + sum(skips.counts.values()) < rows:
            status = "mismatch"
            remarks.append(f"the published file has {rows:,}")
        store = self.root.store(table.videos)
        seen = check_videos(store, table, self.probe) if store else VideoCheck(absent=len(table.videos))
        if seen.unreadable or seen.mismatched:
            status = "mismatch"
        elif (seen.absent or seen.chunks_missing) and status == "ok":
            status = "missing"
        return Finding(
            item=item, status=status, found=f"{said}; {seen.summary(len(table.videos))}",
            remarks=(*remarks, *seen.remarks()),
        )  # fmt: skip


def _egoclip(doctor: _Doctor, paths: Sequence[Path]) -> Finding:
    table, skips = read_egoclip(paths[0])
    return doctor.clips("EgoClip", table, skips, 3_847_723, f"{len(table):,} clips")


def _lavila(doctor: _Doctor, paths: Sequence[Path]) -> Finding:
    table, skips = read_lavila(paths[0])
    return doctor.clips("LaViLa's clips", table, skips, None, f"{len(table):,} clips")


def _egomcq(doctor: _Doctor, paths: Sequence[Path]) -> Finding:
    questions = read_egomcq(paths[0])
    inter = sum(question.kind == INTER for question in questions)
    said = f"{len(questions):,} questions ({inter:,} inter, {len(questions) - inter:,} intra)"
    clips = [clip for question in questions for clip in question.choices]
    return doctor.clips("EgoMCQ", clips, Skips(source=paths[0].name), None, said)


def _taxonomy(doctor: _Doctor, paths: Sequence[Path]) -> Finding:
    rows = len(read_taxonomy(paths[0]))
    wrong = rows != NOUNS
    remarks = (f"the published file has {NOUNS} rows",) if wrong else ()
    return Finding(item="noun taxonomy", status="mismatch" if wrong else "ok", found=f"{rows} nouns", remarks=remarks)


def _boxes(doctor: _Doctor, paths: Sequence[Path]) -> Finding:
    table, _ = read_egoclip(paths[0])
    folders = [f for f in doctor.root.folders if any(_box_files(f / video) for video in table.videos[:200])]
    if not folders:
        return Finding(item="hand and object boxes", status="absent", remarks=("no <video>/<chunk>.handobj.pkl",))
    boxes = HandObjectBoxes(root=folders[0])
    rows = np.random.default_rng(0).permutation(len(table))[:_BOX_SAMPLE]
    found = sum(boxes(table[int(row)]) is not None for row in rows)
    without = sum(not _box_files(folders[0] / video) for video in table.videos)
    remarks = [f"{without:,} videos have no box file"] if without else []
    return Finding(
        item="hand and object boxes", status="ok" if found == len(rows) else "missing",
        found=f"{found} of {len(rows)} clips tried have boxes in {folders[0]}", remarks=tuple(remarks),
    )  # fmt: skip


def _box_files(folder: Path) -> bool:
    return folder.is_dir() and any(folder.glob("*.handobj.pkl"))


def _made(name: str) -> Callable[[_Doctor, Sequence[Path]], Finding]:
    def check(doctor: _Doctor, paths: Sequence[Path]) -> Finding:
        item, facts = f"prepared {name}", read_json(paths[0])
        source = doctor.root.one(str(facts.get("source"))) if isinstance(facts, dict) else None
        if source is None:
            return Finding(item=item, status="missing", remarks=("their narrations are not here",))
        table, _ = read_clips(source)
        array, words = load_rows(paths[0].parent, name, table)
        empty = int((array[:, 0] < 0).sum())
        said = f"{len(words):,} words for {len(array):,} clips of {source.name}, {empty:,} of them without any"
        return Finding(item=item, status="ok", found=said)

    return check


def _epic(doctor: _Doctor, paths: Sequence[Path]) -> Finding:
    segments = read_segments(paths[0])
    clips = [segment.clip for segment in segments]
    return doctor.clips("EK-100 classification", clips, Skips(source=paths[0].name), 9668, f"{len(clips):,} segments")


def _epic_mir(doctor: _Doctor, paths: Sequence[Path]) -> Finding:
    data = read_retrieval(paths[0], paths[1], paths[2])
    said = f"{len(data.segments):,} videos × {len(data.sentences):,} sentences"
    clips = [segment.clip for segment in data.segments]
    return doctor.clips("EK-100 retrieval", clips, Skips(source=paths[0].name), 9668, said)


def _egtea(doctor: _Doctor, paths: Sequence[Path]) -> Finding:
    clips = [labelled.clip for labelled in read_split(paths[1], read_actions(paths[0]))]
    return doctor.clips("EGTEA", clips, Skips(source=paths[1].name), 2022, f"{len(clips):,} clips of split 1")


def _narrations(doctor: _Doctor, paths: Sequence[Path]) -> Finding:
    narrations, skips = read_narrations(paths[0])
    videos = len({narration.video for narration in narrations})
    said = f"{len(narrations):,} narrations of {videos:,} videos"
    return Finding(item="Ego4D narrations", status="ok", found=said, remarks=tuple(skips.lines()))


def _nlq(doctor: _Doctor, paths: Sequence[Path]) -> Finding:
    spans, queries, skips = read_nlq(paths[0])
    clips = [Clip(video=span.video, start=span.start, end=span.end) for span in spans]
    return doctor.clips("Ego4D NLQ", clips, skips, None, f"{len(spans):,} clips, {len(queries):,} queries")


def _moments(doctor: _Doctor, paths: Sequence[Path]) -> Finding:
    spans, moments, skips = read_moments(paths[0])
    clips = [Clip(video=span.video, start=span.start, end=span.end) for span in spans]
    return doctor.clips("Ego4D MQ", clips, skips, None, f"{len(spans):,} clips, {len(moments):,} moments")


def _own(doctor: _Doctor, paths: Sequence[Path]) -> Finding:
    own = read_own(paths[0].parent)
    store = own.store(report=lambda line: None)
    seen = check_videos(store, own.clips, doctor.probe)
    boxes = own.boxes
    boxed = sum(boxes(clip) is not None for clip in own.clips) if boxes else 0
    whole = not (seen.absent or seen.chunks_missing) and (boxes is None or boxed == len(own.clips))
    status: Status = "mismatch" if seen.unreadable or seen.mismatched else "ok" if whole else "missing"
    said = f"{len(own.clips):,} clips ({int(own.heldout.sum()):,} held out), {boxed:,} with boxes"
    return Finding(
        item="own data", status=status, found=f"{said}; {seen.summary(len(own.clips.videos))}", remarks=seen.remarks()
    )


_ITEMS = (
    _Item(name="EgoClip", files=("egoclip.csv",), check=_egoclip),
    _Item(name="LaViLa's clips", files=("ego4d_train.pkl",), check=_lavila),
    _Item(name="noun taxonomy", files=("narration_noun_taxonomy.csv",), check=_taxonomy),
    _Item(name="hand and object boxes", files=("egoclip.csv",), check=_boxes),
    _Item(name="prepared nouns", files=("nouns.json",), check=_made("nouns")),
    _Item(name="prepared verbs", files=("verbs.json",), check=_made("verbs")),
    _Item(name="EgoMCQ", files=("egomcq.json",), check=_egomcq),
    _Item(name="EK-100 classification", files=("EPIC_100_validation.csv",), check=_epic),
    _Item(
        name="EK-100 retrieval",
        files=(
            "EPIC_100_retrieval_test.csv",
            "EPIC_100_retrieval_test_sentence.csv",
            "caption_relevancy_EPIC_100_retrieval_test.pkl",
        ),
        check=_epic_mir,
    ),
    _Item(name="EGTEA", files=("action_idx.txt", "test_split1.txt"), check=_egtea),
    _Item(name="Ego4D narrations", files=("narration.json|all_narrations_redacted.json",), check=_narrations),
    _Item(name="Ego4D NLQ", files=("nlq_val.json",), check=_nlq),
    _Item(name="Ego4D MQ", files=("moments_val.json",), check=_moments),
    _Item(name="own data", files=("own.json",), check=_own),
)
