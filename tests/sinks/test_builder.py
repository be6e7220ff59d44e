"""What the builder sends when, and what it refuses to send."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from henasy_stream import types
from henasy_stream.sinks import messages
from henasy_stream.sinks.builder import MessageBuilder, NodeStatus
from henasy_stream.sinks.publisher import Publisher
from tests.sinks import synthetic
from tests.sinks.synthetic import RUNNING


def topics(batch: Sequence[messages.Message]) -> list[str]:
    return [m.topic.rpartition("/")[2] for m in batch]


def decode_image(part: bytes, flags: int) -> npt.NDArray[np.uint8]:
    picture = cv2.imdecode(np.frombuffer(part, np.uint8), flags)
    assert picture is not None
    return picture.astype(np.uint8, copy=False)


class Clock:
    def __init__(self) -> None:
        self.now_ns = 10**12

    def __call__(self) -> int:
        return self.now_ns


class TestBuilder:
    def test_sends_tracks_then_captions_then_masks_and_frame_at_a_hop(self) -> None:
        builder = MessageBuilder(synthetic.SPEC, masks=True, frame=True)
        closed = (synthetic.caption(2, "opens a jar", final=True),)
        batch = builder.perception(synthetic.perception(closed=closed))
        assert topics(batch) == ["tracks", "caption", "caption", "masks", "frame"]
        ended, going_on = batch[1], batch[2]
        assert isinstance(ended, messages.Caption)
        assert isinstance(going_on, messages.Caption)
        assert (ended.segment_id, ended.final) == (2, True)
        assert (going_on.segment_id, going_on.final) == (3, False)

    def test_a_step_that_cannot_be_told_uses_up_no_sequence_number_and_its_reset_is_told_by_the_next(self) -> None:
        builder = MessageBuilder(synthetic.SPEC)
        first = builder.perception(synthetic.perception())
        broken = replace(synthetic.caption(3, "opens a jar"), score=float("nan"))
        with pytest.raises(ValueError, match="finite"):
            builder.perception(synthetic.perception(caption=broken, reset="gap of 3 s"))
        second = builder.perception(synthetic.perception())
        assert [m.seq for m in first] == [0, 0]
        assert [m.seq for m in second] == [1, 1]
        assert [m.reset for m in second] == ["gap of 3 s"] * 2

    def test_masks_and_frame_only_on_request(self) -> None:
        assert topics(MessageBuilder(synthetic.SPEC).perception(synthetic.perception())) == ["tracks", "caption"]

    def test_answers_to_queries_go_with_the_tracks_or_with_the_caption_of_a_model_that_sends_none(self) -> None:
        answers = (
            types.QueryAnswer(text="cup", kind="entity", present=True, score=1.5, track_ids=(1,), track_scores=(0.5,)),
            types.QueryAnswer(text="zebra", kind="entity", present=False, score=0.25, calibrated=True),
        )
        asked = synthetic.perception(queries=answers)
        tracks, caption = MessageBuilder(synthetic.SPEC).perception(asked)
        assert isinstance(tracks, messages.Tracks)
        assert isinstance(caption, messages.Caption)
        assert [(q.text, q.present, q.score, q.track_ids) for q in tracks.queries] == [
            ("cup", True, 1.0, (1,)),
            ("zebra", False, 0.25, ()),
        ]
        assert caption.queries == ()
        (alone,) = MessageBuilder(synthetic.CAPTIONS_ONLY).perception(asked)
        assert isinstance(alone, messages.Caption)
        assert alone.queries == tracks.queries

    def test_nothing_between_two_hops(self) -> None:
        builder = MessageBuilder(synthetic.SPEC, masks=True, frame=True)
        assert builder.perception(synthetic.perception(fresh=False)) == []

    def test_a_segment_that_closed_between_two_hops_is_told(self) -> None:
        closed = (synthetic.caption(2, final=True),)
        batch = MessageBuilder(synthetic.SPEC).perception(synthetic.perception(fresh=False, closed=closed))
        assert topics(batch) == ["caption"]

    def test_a_model_without_entities_sends_no_tracks(self) -> None:
        builder = MessageBuilder(synthetic.CAPTIONS_ONLY)
        assert topics(builder.perception(synthetic.perception(tracks=(), masks=None))) == ["caption"]

    def test_tracks_are_sent_when_nothing_is_there(self) -> None:
        (message,) = MessageBuilder(synthetic.SPEC).perception(synthetic.perception(tracks=(), caption=None))
        assert isinstance(message, messages.Tracks)
        assert message.tracks == ()
        assert (message.width, message.height) == (synthetic.WIDTH, synthetic.HEIGHT)

    def test_a_removed_track_is_sent_once(self) -> None:
        builder = MessageBuilder(synthetic.SPEC)
        seen = []
        for index in range(3):
            gone = synthetic.track(2, state="removed")
            batch = builder.perception(synthetic.perception(index, tracks=(synthetic.track(1), gone), caption=None))
            seen += [[t.id for t in m.tracks] for m in batch if isinstance(m, messages.Tracks)]
        assert seen == [[1, 2], [1], [1]]

    def test_a_track_removed_between_two_hops_is_told_once(self) -> None:
        builder = MessageBuilder(synthetic.SPEC)
        gone = synthetic.perception(tracks=(synthetic.track(2, state="removed"),), fresh=False, caption=None)
        assert topics(builder.perception(gone)) == ["tracks"]
        assert builder.perception(gone) == []

    def test_a_reset_between_two_hops_is_told_once_by_each_topic(self) -> None:
        builder = MessageBuilder(synthetic.SPEC)
        assert builder.perception(synthetic.perception(0, fresh=False, reset="gap of 3.0 s")) == []
        first = builder.perception(synthetic.perception(1))
        second = builder.perception(synthetic.perception(2))
        assert [m.reset for m in first] == ["gap of 3.0 s"] * 2
        assert [m.reset for m in second] == [None] * 2

    def test_counts_each_topic_from_zero(self) -> None:
        builder = MessageBuilder(synthetic.SPEC)
        batches = [
            builder.perception(synthetic.perception(i, caption=None if i == 1 else synthetic.caption(3)))
            for i in range(3)
        ]
        assert [m.seq for b in batches for m in b if isinstance(m, messages.Tracks)] == [0, 1, 2]
        assert [m.seq for b in batches for m in b if isinstance(m, messages.Caption)] == [0, 1]

    def test_two_runs_have_two_sessions(self) -> None:
        assert MessageBuilder(synthetic.SPEC).session != MessageBuilder(synthetic.SPEC).session

    def test_frame_fields_are_those_of_the_frame(self) -> None:
        perception = synthetic.perception(9)
        for message in MessageBuilder(synthetic.SPEC, unix_ns=lambda: 77).perception(perception):
            assert message.frame_index == 9
            assert message.stamp_ns == perception.stamp_ns
            assert (message.window_start_ns, message.window_end_ns) == (
                perception.window_start_ns,
                perception.window_end_ns,
            )
            assert (message.clock, message.stamp_source) == ("media", "synthetic")
            assert (message.frame_id, message.source) == ("camera", "world?seed=7")
            assert message.published_ns == 77

    def test_embeddings_only_on_request(self) -> None:
        without = MessageBuilder(synthetic.SPEC).perception(synthetic.perception())[0]
        with_them = MessageBuilder(synthetic.SPEC, embeddings=True).perception(synthetic.perception())[0]
        assert isinstance(without, messages.Tracks)
        assert isinstance(with_them, messages.Tracks)
        assert without.tracks[0].embedding is None
        assert with_them.tracks[0].embedding == (0.5, 0.5, -0.5, 0.5)

    def test_a_box_never_leaves_the_frame(self) -> None:
        outside = synthetic.track(1, box_xyxy=(-1e-6, -3.0, 640.00006, 480.5))
        message = MessageBuilder(synthetic.SPEC).perception(synthetic.perception(tracks=(outside,)))[0]
        assert isinstance(message, messages.Tracks)
        assert message.tracks[0].box_xyxy == (0.0, 0.0, 640.0, 480.0)

    @pytest.mark.parametrize("bad", [float("nan"), float("inf")])
    def test_a_number_that_is_none_is_refused_by_name(self, bad: float) -> None:
        builder = MessageBuilder(synthetic.SPEC)
        with pytest.raises(ValueError, match="track 1: score is"):
            builder.perception(synthetic.perception(tracks=(synthetic.track(1, score=bad),)))
        with pytest.raises(ValueError, match="track 1: box is"):
            builder.perception(synthetic.perception(tracks=(synthetic.track(1, box_xyxy=(bad, 0.0, 1.0, 1.0)),)))

    def test_masks_are_a_png_of_indices_with_the_way_back_to_the_source(self) -> None:
        perception = synthetic.perception()
        message = MessageBuilder(synthetic.SPEC, masks=True).perception(perception)[-1]
        assert isinstance(message, messages.MasksHeader)
        (png,) = message.parts
        picture = decode_image(png, cv2.IMREAD_UNCHANGED)
        assert perception.masks is not None
        np.testing.assert_array_equal(picture, perception.masks.index)
        assert set(np.unique(picture)) == {0, 1, 2}
        assert (message.mask_width, message.mask_height) == (12, 12)
        np.testing.assert_array_equal(np.array(message.affine), perception.masks.to_source)

    def test_frame_is_a_jpeg_of_the_picture_in_its_colours(self) -> None:
        image = np.zeros((32, 48, 3), np.uint8)
        image[:] = (200, 40, 10)
        red = types.Frame(image=image, stamp_ns=0, index=0, source="s")
        message = MessageBuilder(synthetic.SPEC, frame=True).perception(synthetic.perception(frame=red))[-1]
        assert isinstance(message, messages.FrameHeader)
        decoded = cv2.cvtColor(decode_image(message.parts[0], cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
        assert (message.width, message.height) == (48, 32)
        assert np.abs(decoded.astype(int) - image).max() <= 4


class TestHeartbeat:
    def test_meta_and_status_once_a_second(self) -> None:
        clock = Clock()
        builder = MessageBuilder(synthetic.SPEC, monotonic_ns=clock)
        told = []
        for _ in range(31):
            told += topics(builder.heartbeat(RUNNING))
            clock.now_ns += 100_000_000
        assert told == ["meta", "status"] * 4

    def test_status_at_once_when_it_changes(self) -> None:
        builder = MessageBuilder(synthetic.SPEC, monotonic_ns=Clock())
        builder.heartbeat(RUNNING)
        assert builder.heartbeat(RUNNING) == []
        (message,) = builder.heartbeat(NodeStatus(state="SOURCE_LOST", since_ns=6, reason="camera 0: unplugged"))
        assert isinstance(message, messages.Status)
        assert (message.state, message.reason, message.since_ns) == ("SOURCE_LOST", "camera 0: unplugged", 6)

    def test_status_before_the_model_is_there_and_meta_as_soon_as_it_is(self) -> None:
        builder = MessageBuilder(monotonic_ns=Clock())
        assert topics(builder.heartbeat(NodeStatus(state="STARTING", since_ns=1))) == ["status"]
        builder.set_model(synthetic.SPEC)
        assert topics(builder.heartbeat(NodeStatus(state="STARTING", since_ns=1))) == ["meta"]

    def test_says_nothing_about_a_frame(self) -> None:
        for message in MessageBuilder(synthetic.SPEC).heartbeat(RUNNING):
            about_a_frame = (
                message.frame_index,
                message.stamp_ns,
                message.clock,
                message.stamp_source,
                message.frame_id,
            )
            assert about_a_frame == (None,) * 5
            assert (message.window_start_ns, message.window_end_ns, message.reset) == (None,) * 3

    def test_meta_holds_the_vocabulary_that_label_indices_point_into(self) -> None:
        meta = MessageBuilder(synthetic.SPEC).heartbeat(RUNNING)[0]
        assert isinstance(meta, messages.Meta)
        assert (meta.schema, meta.model_id, meta.image_size) == (1, "demo", 96)
        assert meta.capabilities == ("caption", "entities", "queries")
        assert meta.vocabulary.nouns == synthetic.SPEC.nouns
        assert re.fullmatch(r"sha256:[0-9a-f]{64}", meta.vocabulary_hash)

    def test_meta_names_the_labels_that_are_in_use(self) -> None:
        builder = MessageBuilder(synthetic.SPEC, monotonic_ns=Clock())
        builder.set_model(synthetic.SPEC, ["cup", "hand"])
        meta = builder.heartbeat(RUNNING)[0]
        assert isinstance(meta, messages.Meta)
        assert meta.vocabulary.nouns == ("cup", "hand")

    def test_the_hash_tells_vocabularies_apart(self) -> None:
        hashes = {
            m.vocabulary_hash
            for spec in (synthetic.SPEC, synthetic.CAPTIONS_ONLY)
            for m in MessageBuilder(spec).heartbeat(RUNNING)
            if isinstance(m, messages.Meta)
        }
        assert len(hashes) == 2


class Keeper:
    def __init__(self, not_sent: int = 0) -> None:
        self.not_sent = not_sent
        self.kept: list[messages.Message] = []
        self.closed = False

    def send(self, batch: Sequence[messages.Message]) -> None:
        self.kept += batch

    def close(self) -> None:
        self.closed = True


class TestPublisher:
    def test_every_sink_gets_the_same_messages_and_their_losses_are_told(self) -> None:
        first, second = Keeper(), Keeper(not_sent=3)
        publisher = Publisher(MessageBuilder(synthetic.SPEC), [first, second])
        publisher.write(synthetic.perception())
        publisher.status(RUNNING)
        assert first.kept == second.kept
        assert topics(first.kept) == ["tracks", "caption", "meta", "status"]
        status = first.kept[-1]
        assert isinstance(status, messages.Status)
        assert status.counters.messages_not_sent == 3
        publisher.close()
        assert first.closed
        assert second.closed
