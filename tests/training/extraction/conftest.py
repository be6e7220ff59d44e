"""Ego4D in small: three videos in chunks, and annotations of clips in them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.training.evaluation.conftest import henasy_weights  # noqa: F401 - a fixture
from tests.training.videos import write_frames

FPS, CHUNK_S = 8, 15
SPANS = {
    "inside": ("a", 1.0, 6.0),
    "across": ("a", 12.3, 33.1),
    "to-the-end": ("a", 30.0, 37.2),
    "short": ("b", 3.0, 3.2),
    "other": ("b", 0.0, 14.0),
}


def annotated(spans: dict[str, tuple[str, float, float]]) -> dict[str, Any]:
    """NLQ's file; MQ's readers find no labels in it."""
    queries = [{"query": "Where is the cup?"}, {"query": None}, {"query": "What did I put into the red box?"}]
    videos = [
        {
            "video_uid": video,
            "clips": [
                {
                    "clip_uid": clip,
                    "video_start_sec": start,
                    "video_end_sec": end,
                    "annotations": [{"language_queries": [*queries, {"query": f"When did I see {clip}?"}]}],
                }
                for clip, (where, start, end) in spans.items()
                if where == video
            ],
        }
        for video in dict.fromkeys(video for video, _, _ in spans.values())
    ]
    return {"version": "1", "videos": videos}


def write_annotations(path: Path, spans: dict[str, tuple[str, float, float]]) -> Path:
    path.write_text(json.dumps(annotated(spans)))
    return path


@pytest.fixture(scope="session")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """a: three chunks, the last of 7 s.  b: one chunk.  bad: its second chunk is damaged.  Frames are numbered."""
    root = tmp_path_factory.mktemp("videos")
    for name, lengths in {"a": (120, 119, 56), "b": (112,), "bad": (120, 120)}.items():
        for chunk, frames in enumerate(lengths):
            path = root / f"{name}.mp4" / f"{CHUNK_S * chunk}.mp4"
            write_frames(path, frames, fps=FPS, first=CHUNK_S * FPS * chunk)
    damaged = root / "bad.mp4" / "15.mp4"
    damaged.write_bytes(damaged.read_bytes()[:700])
    return root


@pytest.fixture(scope="session")
def nlq(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_annotations(tmp_path_factory.mktemp("nlq") / "nlq_val.json", SPANS)
