from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from henasy_stream.preprocess import View
from henasy_stream.stream.entities import Vocabulary, detect, mask_to_source, soft_iou
from henasy_stream.types import NetworkOutput
from tests.stream.fake import BACKGROUND, NOUNS, WIDTH, text_vector

VOCABULARY = Vocabulary(
    labels=NOUNS,
    embeddings=np.stack([text_vector(noun) for noun in NOUNS]),
    background=text_vector(BACKGROUND),
    temperature=0.05,
)


def output(slots, grid=12, frames=3):
    """Slots of (text, (x0, y0, x1, y1) in mask cells, height); what they leave goes to a background slot."""
    probability = np.zeros((len(slots) + 1, frames, grid, grid), np.float32)
    for slot, (_, (x0, y0, x1, y1), peak) in enumerate(slots):
        probability[slot, :, y0:y1, x0:x1] = peak
    probability[-1] = np.maximum(0, 1 - probability[:-1].sum(0))
    texts = [text for text, _, _ in slots] + [BACKGROUND]
    return NetworkOutput(
        video_embedding=text_vector("holds"),
        entity_embeddings=np.stack([text_vector(text) for text in texts]),
        entity_probability=np.moveaxis(probability, 0, -1),
    )


@pytest.mark.parametrize("rotate", [0, 90, 180, 270])
@pytest.mark.parametrize("mode", ["crop", "squash", "letterbox"])
def test_boxes_are_in_source_pixels(mode, rotate):
    view = View.plan(480, 640, 96, mode, rotate)
    found = detect(output([("cup", (4, 5, 7, 9), 1.0)]), VOCABULARY, view, 0.5)
    assert len(found) == 1
    assert NOUNS[found.labels[0].argmax()] == "cup"
    expected = view.boxes_to_source([[32, 40, 56, 72]])[0]
    np.testing.assert_allclose(found.boxes[0], expected, atol=480 / 12 / 8 + 0.1)


@given(st.integers(0, 2**31), st.sampled_from(["crop", "squash", "letterbox"]))
def test_boxes_stay_inside_any_frame(seed, mode):
    rng = np.random.default_rng(seed)
    height, width = (int(v) for v in rng.integers(1, 900, 2))
    noise = rng.dirichlet(np.full(6, 0.05), (3, 12, 12)).astype(np.float32)
    embeddings = rng.normal(size=(6, WIDTH)).astype(np.float32)
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    result = NetworkOutput(video_embedding=embeddings[0], entity_embeddings=embeddings, entity_probability=noise)
    found = detect(result, VOCABULARY, View.plan(height, width, 96, mode), 0.1)
    assert (found.boxes >= 0).all()
    assert (found.boxes <= [width, height, width, height]).all()
    assert (found.boxes[:, 2:] > found.boxes[:, :2]).all()


def test_a_partly_covered_cell_moves_the_box_by_less_than_a_cell():
    """Masks are soft: half a covered cell has half the probability and moves the edge by about half a cell."""
    view = View.plan(96, 96, 96)
    edges = []
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        out = output([("cup", (4, 4, 7, 8), 1.0)])
        probability = out.entity_probability.copy()
        probability[:, 4:8, 7, 0], probability[:, 4:8, 7, 1] = share, 1 - share
        result = NetworkOutput(
            video_embedding=out.video_embedding,
            entity_embeddings=out.entity_embeddings,
            entity_probability=probability,
        )
        edges.append(detect(result, VOCABULARY, view, 0.5).boxes[0, 2] / 8)
    np.testing.assert_allclose(edges, [7.0, 7.25, 7.5, 7.75, 8.0], atol=0.3)
    assert (np.diff(edges) >= 0).all()


def test_background_faint_tiny_and_all_covering_slots_are_left_out():
    view = View.plan(96, 96, 96)
    left_out = [
        (BACKGROUND, (2, 2, 5, 5), 1.0),
        ("cup", (2, 2, 5, 5), 0.2),
        ("cup", (0, 0, 12, 12), 0.9),
        ("cup", (5, 5, 5, 5), 1.0),
    ]
    for slot in left_out:
        assert len(detect(output([slot]), VOCABULARY, view, 0.5)) == 0, slot
    assert len(detect(output([("cup", (2, 2, 5, 5), 0.9)]), VOCABULARY, view, 0.5)) == 1


def test_presence_is_the_softmax_against_background():
    mixed = text_vector("cup") + text_vector(BACKGROUND)
    mixed /= np.linalg.norm(mixed)
    out = output([("cup", (2, 2, 5, 5), 1.0)])
    out.entity_embeddings[0] = mixed
    found = detect(out, VOCABULARY, View.plan(96, 96, 96), 0.3)
    assert found.presence[0] == pytest.approx(0.5, abs=0.01)
    assert found.labels[0].sum() == pytest.approx(1.0)
    assert len(detect(out, VOCABULARY, View.plan(96, 96, 96), 0.6)) == 0


def test_without_a_vocabulary_presence_comes_from_the_mask():
    bare = Vocabulary(labels=(), embeddings=np.zeros((0, WIDTH), np.float32), background=None, temperature=0.05)
    found = detect(output([("cup", (2, 2, 6, 6), 0.9)]), bare, View.plan(96, 96, 96), 0.5)
    assert len(found) == 1
    assert found.labels.shape == (1, 0)
    assert 0.6 < found.presence[0] <= 0.9


def test_one_entity_in_two_slots_is_found_once():
    view = View.plan(96, 96, 96)
    shared = [("cup", (3, 3, 7, 7), 0.5), ("cup", (3, 3, 7, 7), 0.45)]
    found = detect(output(shared), VOCABULARY, view, 0.5)
    assert len(found) == 1
    assert found.masks[0, -1, 4, 4] == pytest.approx(0.95)
    assert len(detect(output([shared[0], ("book", (3, 3, 7, 7), 0.45)]), VOCABULARY, view, 0.5)) == 2
    assert len(detect(output([shared[0], ("cup", (8, 8, 11, 11), 0.9)]), VOCABULARY, view, 0.5)) == 2


def test_a_stray_part_is_left_out_and_a_large_one_is_another_entity():
    out = output([("cup", (3, 3, 7, 7), 1.0)])
    out.entity_probability[:, 10, 10, 0], out.entity_probability[:, 10, 10, 1] = 1.0, 0.0
    found = detect(out, VOCABULARY, View.plan(96, 96, 96), 0.5)
    np.testing.assert_allclose(found.boxes, [[24, 24, 56, 56]], atol=2)
    out.entity_probability[:, 9:12, 8:12, 0], out.entity_probability[:, 9:12, 8:12, 1] = 1.0, 0.0
    found = detect(out, VOCABULARY, View.plan(96, 96, 96), 0.5)
    np.testing.assert_allclose(found.boxes, [[24, 24, 56, 56], [64, 72, 96, 96]], atol=2)
    np.testing.assert_array_equal(found.slots, [0, 0])
    np.testing.assert_array_equal(found.labels[0], found.labels[1])
    whole = out.entity_probability[..., 0]
    np.testing.assert_array_equal(found.masks.sum(0), whole)  # shared out, nothing twice
    assert not (found.masks[0] * found.masks[1]).any()


def test_an_output_without_entities_is_refused():
    with pytest.raises(ValueError, match="no entities"):
        detect(NetworkOutput(video_embedding=text_vector("cup")), VOCABULARY, View.plan(9, 9, 9), 0.5)


def test_masks_map_to_the_source():
    view = View.plan(480, 640, 96)
    affine = mask_to_source(view, 12)
    np.testing.assert_allclose(affine @ [0, 0, 1], [80, 0])
    np.testing.assert_allclose(affine @ [12, 12, 1], [560, 480])


def test_soft_iou():
    a = np.zeros((2, 2, 2), np.float32)
    a[0, 0] = 1
    np.testing.assert_allclose(soft_iou(a, a), [[1.0, 0.0], [0.0, 0.0]])
    np.testing.assert_allclose(soft_iou(a[:1], a[:1] * np.float32(0.5)), [[0.5]])
    assert soft_iou(a[:0], a).shape == (0, 2)
