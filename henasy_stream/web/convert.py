"""From the stream's value objects to the page's messages."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from henasy_stream._palette import colour_of
from henasy_stream.preprocess import View
from henasy_stream.sinks.convert import finite, query_message, relation_message, track_message
from henasy_stream.web.messages import Action, MaskLayout, Result
from henasy_stream.web.upright import turn, upright

if TYPE_CHECKING:
    from henasy_stream.types import Caption, Masks, Perception


def hex_colour(track_id: int) -> str:
    """The colour that the annotated video gives a track, as CSS writes it."""
    return "#{:02x}{:02x}{:02x}".format(*colour_of(track_id))


def result_message(perception: Perception, view: View) -> tuple[Result, bytes]:
    """A perception in pixels of the upright frame, and the bytes of its masks.

    Args:
        perception: its picture does not matter.
        view: what the model sees of the frame, and how that has to be turned.

    Raises:
        ValueError: something in it is no finite number.
    """
    frame = perception.frame
    sees_all = view.region == (0, 0, frame.width, frame.height)
    affine = turn(frame.width, frame.height, view.rotate)
    seen = view.visible_polygon @ affine[:2, :2].T + affine[:2, 2]
    perception = upright(perception, view.rotate)
    width, height = perception.frame.width, perception.frame.height
    tracks = tuple(track_message(t, width=width, height=height, with_embedding=False) for t in perception.tracks)
    layout, payload = (None, b"") if perception.masks is None else _masks(perception.masks)
    message = Result(
        index=perception.frame.index,
        stamp_ns=perception.stamp_ns,
        window_end_ns=perception.window_end_ns,
        width=width,
        height=height,
        tracks=tracks,
        colours={track.id: hex_colour(track.id) for track in tracks},
        relations=tuple(relation_message(r) for r in perception.relations),
        queries=tuple(query_message(q) for q in perception.queries),
        caption=None if perception.caption is None else action(perception.caption),
        closed=tuple(action(caption) for caption in perception.closed),
        reset=perception.reset,
        notice=perception.notice,
        visible=None if sees_all else tuple(map(tuple, seen.tolist())),
        masks=layout,
    )
    return message, payload


def action(caption: Caption) -> Action:
    """A caption's segment."""
    where = f"segment {caption.segment_id}"
    return Action(
        segment_id=caption.segment_id,
        text=caption.text,
        score=finite(caption.score, where),
        start_ns=caption.start_ns,
        end_ns=caption.end_ns,
        final=caption.final,
        track_ids=tuple(caption.track_ids),
        alternatives=tuple((a.text, finite(a.score, where)) for a in caption.alternatives),
    )


def _masks(masks: Masks) -> tuple[MaskLayout | None, bytes]:
    count, height, width = masks.probability.shape
    if not count:
        return None, b""
    levels = np.clip(np.nan_to_num(masks.probability) * 255 + 0.5, 0, 255).astype(np.uint8)
    affine = tuple(tuple(finite(v, "affine") for v in row) for row in masks.to_source)
    return MaskLayout(count=count, height=height, width=width, affine=affine), levels.tobytes()
