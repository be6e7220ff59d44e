"""A root of Ego4D as EgoClip's users have it, tiny: chunks, annotations, taxonomy, boxes and prepared phrases."""

from __future__ import annotations

import csv
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tests.training.videos import write_frames
from training.data.egoclip import read_egoclip
from training.preparation.row_files import save_rows

FPS, CHUNK_S, VIDEOS, CLIPS = 4, 15, 3, 8
NOUNS = (("apple", "apples"), ("hand", "hands"), ("knife",), ("chopping board", "board"))
PHRASES = ("cutting the apple", "taking the knife", "moving a hand")
HEADER = (
    "clip_idx", "video_uid", "video_dur", "narration_source", "narration_ind", "narration_time", "clip_start",
    "clip_end", "clip_text", "tag_verb", "tag_noun",
)  # fmt: skip
SAID = (
    ("#C C cuts the apple with a knife", [5], [0, 2]),
    ("#C C takes the knife with his hand", [9], [2, 1]),
    ("#C C moves his hand", [7], [1]),
    ("#C C puts the apples on the chopping board", [3], [0, 3]),
)


@dataclass(frozen=True, kw_only=True)
class Ego4dFiles:
    root: Path

    @property
    def annotations(self) -> Path:
        return self.root / "egoclip.csv"

    @property
    def pickle(self) -> Path:
        return self.root / "ego4d_train.pkl"

    def arguments(self, *, annotations: Path | None = None) -> list[str]:
        """Of `pretrain.py --recipe henasy_base_egoclip`."""
        return [
            "--data.annotations", str(annotations or self.annotations), "--data.videos", str(self.root / "videos"),
            "--data.boxes", str(self.root / "boxes"), "--data.phrases", str(self.root / "prepared"),
            "--data.taxonomy", str(self.root / "taxonomy.csv"), "--data.workers", "0",
        ]  # fmt: skip


def write_ego4d(root: Path) -> Ego4dFiles:
    """3 videos of two chunks of 15 s, 8 clips of each, one of them across the border of the chunks."""
    files = Ego4dFiles(root=root)
    root.mkdir(parents=True, exist_ok=True)
    rows: list[tuple[Any, ...]] = []
    for video in range(VIDEOS):
        for chunk in range(2):
            path = root / "videos" / f"v{video}.mp4" / f"{chunk * CHUNK_S}.mp4"
            write_frames(path, FPS * CHUNK_S, fps=FPS, first=1000 * video + chunk * FPS * CHUNK_S)
        boxes: dict[float, dict[Any, Any]] = {}
        for clip in range(CLIPS):
            start = 3.5 * clip
            text, verbs, nouns = SAID[(clip + video) % len(SAID)]
            rows.append((len(rows), f"v{video}", 30, "pass_1", clip, start + 1, start, start + 2, text, verbs, nouns))
            frame: Any = {
                "hand_dets": np.array([[0, 0, 32, 16, 0.9]], np.float32),
                "obj_dets": np.array([[48, 16, 96, 32, 0.8], [0, 0, 96, 32, 0.1]], np.float32),
            }
            boxes[round(start, 3)] = dict.fromkeys(range(4), frame) | {"info": {"height": 32, "width": 96}}
        (root / "boxes" / f"v{video}").mkdir(parents=True)
        (root / "boxes" / f"v{video}" / "0.handobj.pkl").write_bytes(pickle.dumps(boxes))
    with files.annotations.open("w", newline="") as file:
        csv.writer(file, delimiter="\t").writerows([HEADER, *rows])
    with (root / "taxonomy.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("label", "group"), *((group[0], list(group)) for group in NOUNS)])
    clips = [(row[1], float(row[6]), float(row[7]), row[8]) for row in rows]
    files.pickle.write_bytes(pickle.dumps(clips))
    table, _ = read_egoclip(files.annotations)
    places = [[PHRASES.index(phrase) for phrase in PHRASES if phrase.split()[-1] in row[8]] for row in rows]
    save_rows(root / "prepared", "verbs", table, places, PHRASES, width=3, about={"engine": "the test"})
    return files
