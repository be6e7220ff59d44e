"""EGTEA Gaze+: action recognition over trimmed clips (`{train,test}_split1.txt`, `action_idx.txt`)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from henasy_stream.errors import UserError
from training.data.records import Clip


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelledClip:
    """One whole trimmed video and its class: the place of its action among the sorted indices."""

    clip: Clip
    action: int


def read_actions(path: Path) -> dict[int, str]:
    """The names of the actions by their own index, ascending: "Cut_Tomato 7" gives {7: "cut tomato"}.

    Raises:
        UserError: a line without an index, or an index given twice.
    """
    names: dict[int, str] = {}
    for number, line in _lines(path):
        *words, last = line.split()
        if not words or not last.isdecimal():
            raise UserError(f"{path}, row {number}: {line!r}, expected a name and its index")
        if int(last) in names:
            raise UserError(f"{path}, row {number}: index {last} is given twice")
        names[int(last)] = " ".join(words).replace("_", " ").lower()
    return dict(sorted(names.items()))


def read_split(path: Path, actions: Mapping[int, str]) -> tuple[LabelledClip, ...]:
    """The clips of a split; the video is "<first three dash-separated fields>/<clip_id>", the folder's own layout.

    Raises:
        UserError: a line that is too short, or an action that is not in the list.
    """
    places = {index: place for place, index in enumerate(sorted(actions))}
    clips = []
    for number, line in _lines(path):
        fields = line.split()
        if len(fields) < 2 or not fields[1].isdecimal():
            raise UserError(f"{path}, row {number}: {line!r}, expected a clip and the index of its action")
        key, index = fields[0], int(fields[1])
        if index not in places:
            raise UserError(f"{path}, row {number}: action {index} is not among the {len(places)} of the list")
        session = key.split("-")[:3]
        if len(session) < 3:
            raise UserError(f"{path}, row {number}: clip {key!r}, expected dash-separated fields")
        clip = Clip(video=f"{'-'.join(session)}/{key}", start=0.0, end=math.inf, texts=(actions[index],), key=key)
        clips.append(LabelledClip(clip=clip, action=places[index]))
    if not clips:
        raise UserError(f"{path}: no clips")
    return tuple(clips)


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 text (byte {error.start})") from None
    return ((i, line.strip()) for i, line in enumerate(text.splitlines(), 1) if line.strip())
