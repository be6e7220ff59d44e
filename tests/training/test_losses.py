from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file

from training.losses import (
    LOSSES,
    PAPER_LOSSES,
    LossInputs,
    ego_nce,
    multi_positive_nce,
    noun_entity_nce,
    positive_mask,
    projection_loss,
    verb_entities_nce,
)
from training.losses_helpinghands import ego_nce_mean_log, mean_log_nce, word_contrastive
from training.rasters import box_fill

GOLDEN = Path(__file__).parents[1] / "golden"
EGO = load_file(GOLDEN / "egonce_cases.safetensors")
HELPING_HANDS = load_file(GOLDEN / "helpinghands_losses.safetensors")
BOXINST = dict(np.load(GOLDEN / "boxinst_projection.npz"))
EGO_CASES = [case["name"] for case in json.loads((GOLDEN / "egonce_cases.json").read_text())["cases"]]
BOXINST_CASES = sorted(key.removesuffix("_scores") for key in BOXINST if key.endswith("_scores"))
MODES = ["noun_and_verb", "noun_only", "verb_only"]


@pytest.fixture(autouse=True)
def fixed_seed() -> None:
    torch.manual_seed(0)


def close(actual: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(actual, expected.reshape(actual.shape), rtol=2e-5, atol=1e-5)


# ---- the paper's losses against the public code they come from


@pytest.mark.parametrize("name", EGO_CASES)
@pytest.mark.parametrize("mode", MODES)
def test_ego_nce_equals_egovlp(name: str, mode: Any) -> None:
    case = {key.removeprefix(f"{name}."): value for key, value in EGO.items() if key.startswith(f"{name}.")}
    positives = positive_mask(case["in.noun_vec"], case["in.verb_vec"], mode)
    assert torch.equal(positives, case[f"egonce.{mode}.positive_mask"].bool())

    v2t, t2v = ego_nce(case["in.text_embeds"], case["in.video_embeds"], positives)
    close(v2t + t2v, case[f"egonce.{mode}.loss"])

    sim = case["sim"].clone().requires_grad_()
    (multi_positive_nce(sim, positives) + multi_positive_nce(sim.T, positives.T)).backward()
    torch.testing.assert_close(sim.grad, case[f"egonce.{mode}.grad_sim"], rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", EGO_CASES)
def test_the_identity_mask_gives_plain_infonce(name: str) -> None:
    text, video = EGO[f"{name}.in.text_embeds"], EGO[f"{name}.in.video_embeds"]
    positives = positive_mask(EGO[f"{name}.in.noun_vec"], EGO[f"{name}.in.verb_vec"], "identity")
    v2t, t2v = ego_nce(text, video, positives)
    close(v2t + t2v, EGO[f"{name}.normsoftmax.loss"])


@pytest.mark.parametrize("name", EGO_CASES)
@pytest.mark.parametrize("mode", MODES)
def test_the_mean_log_variant_equals_helpinghands(name: str, mode: Any) -> None:
    positives = positive_mask(EGO[f"{name}.in.noun_vec"], EGO[f"{name}.in.verb_vec"], mode)
    text, video = EGO[f"{name}.in.text_embeds"], EGO[f"{name}.in.video_embeds"]
    close(ego_nce_mean_log(text, video, positives, 0.05), EGO[f"{name}.hh_egonce.{mode}.loss"])
    sim = EGO[f"{name}.sim"].clone().requires_grad_()
    mean_log_nce(sim, positives, 0.05).backward()
    torch.testing.assert_close(sim.grad, EGO[f"{name}.hh_egonce.{mode}.grad_sim"], rtol=0, atol=1e-5)


def test_the_mean_log_variant_takes_several_captions_a_video() -> None:
    sim = HELPING_HANDS["hh_multi.in.sim_text_by_video"].clone().requires_grad_()
    kept = HELPING_HANDS["hh_multi.in.pad_mask"][:, 0] > 0
    loss = mean_log_nce(sim[kept], HELPING_HANDS["hh_multi.positive_mask"].bool())
    loss.backward()
    torch.testing.assert_close(loss, HELPING_HANDS["hh_multi.loss"][0], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(sim.grad, HELPING_HANDS["hh_multi.grad_sim"], rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", ["word_a", "word_b"])
def test_word_contrastive_equals_helpinghands(name: str) -> None:
    entities = HELPING_HANDS[f"{name}.in.pred_noun_embeds"].clone().requires_grad_()
    dictionary = HELPING_HANDS[f"{name}.in.noun_embeds"].clone().requires_grad_()
    nouns = HELPING_HANDS[f"{name}.in.noun_gt_inds"]
    loss = word_contrastive(entities, torch.where(nouns == 0, -1, nouns), dictionary)
    loss.backward()
    torch.testing.assert_close(loss.detach(), HELPING_HANDS[f"{name}.loss"][0], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(entities.grad, HELPING_HANDS[f"{name}.grad_pred"], rtol=0, atol=1e-5)
    torch.testing.assert_close(dictionary.grad, HELPING_HANDS[f"{name}.grad_noun"], rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", BOXINST_CASES)
def test_projection_equals_boxinst(name: str) -> None:
    scores = torch.from_numpy(BOXINST[f"{name}_scores"]).requires_grad_()
    loss = projection_loss(scores[:, 0], torch.from_numpy(BOXINST[f"{name}_gt"])[:, 0])
    terms = BOXINST[f"{name}_term_max_over_height_per_instance"] + BOXINST[f"{name}_term_max_over_width_per_instance"]
    np.testing.assert_allclose(loss.detach().numpy(), terms, atol=1e-6)
    loss.mean().backward()
    assert scores.grad is not None
    np.testing.assert_allclose(loss.mean().item(), BOXINST[f"{name}_loss"].item(), atol=1e-6)
    np.testing.assert_allclose(scores.grad.numpy(), BOXINST[f"{name}_grad"], atol=1e-6)


@pytest.mark.parametrize("name", [n for n in BOXINST_CASES if f"{n}_boxes_xyxy_pixels" in BOXINST])
def test_box_fill_equals_boxinst(name: str) -> None:
    expected = BOXINST[f"{name}_gt"][:, 0]
    stride = {"stride4": 4, "grid14": 16}.get(name, 1)
    h, w = expected.shape[1:]
    filled = box_fill(torch.from_numpy(BOXINST[f"{name}_boxes_xyxy_pixels"]), h * stride, w * stride, stride)
    np.testing.assert_array_equal(filled.numpy(), expected)


# ---- what the paper states in words


def test_noun_entity_nce_is_cross_entropy_over_the_whole_dictionary() -> None:
    entities, dictionary = torch.randn(2, 3, 8), torch.randn(11, 8)
    clip, slot, noun = torch.tensor([0, 1, 1]), torch.tensor([2, 0, 1]), torch.tensor([4, 10, 0])
    terms = []
    for i, e, k in zip(clip, slot, noun, strict=True):
        logits = F.cosine_similarity(entities[i, e][None], dictionary) / 0.05
        terms.append(logits.exp().sum().log() - logits[k])
    close(noun_entity_nce(entities, clip, slot, noun, dictionary), torch.stack(terms).mean())


def test_verb_entities_nce_averages_the_entities_that_fit_the_phrase() -> None:
    entities, verbs = torch.randn(4, 3, 8), torch.randn(4, 8)
    positives = torch.eye(4, dtype=torch.bool)
    positives[0, 2] = positives[2, 0] = True
    rows = []
    for i in range(4):
        unit = F.normalize(entities[i], dim=-1)
        weights = torch.softmax(unit @ F.normalize(verbs[i], dim=0) / 0.05, 0)
        average = sum(w * e for w, e in zip(weights, unit, strict=True))
        probability = torch.softmax(F.cosine_similarity(torch.as_tensor(average)[None], verbs) / 0.05, 0)
        rows.append(-probability[positives[i]].sum().log())
    close(verb_entities_nce(entities, verbs, positives), torch.stack(rows).mean())


def test_verb_entities_nce_ignores_entities_far_from_the_phrase() -> None:
    verbs = torch.eye(2, 8)
    fitting = verbs[:, None] + 0.05 * torch.randn(2, 1, 8)
    clutter = -verbs[:, None] + 0.05 * torch.randn(2, 5, 8)
    loss = verb_entities_nce(torch.cat([clutter, fitting], 1), verbs, torch.eye(2, dtype=torch.bool))
    assert loss < 1e-3


# ---- the registry


def batch(n: int = 3, *, named: bool = True, boxed: bool = True, dead: bool = False, dtype: Any = torch.float32) -> Any:
    """Loss inputs of random content, and the leaves that gradients must reach."""
    t, grid, e, m, v, d = 2, 4, 5, 3, 7, 16
    leaves = {
        "video": torch.randn(n, d),
        "entities": torch.randn(n, e, d),
        "neighbour_entities": torch.randn(n, e, d),
        "tower": torch.randn(n, d),
        "patches": torch.randn(n, t, grid, grid, d),
        "logits": torch.randn(n, t, grid, grid, e) * 3,
    }
    if dead:  # an empty group: a slot that no patch chose and whose embedding is exactly zero
        leaves["entities"][:, 1] = 0
        leaves["logits"][..., 1] = -1e4
        leaves["logits"][0, ..., 0] = 1e4
    leaves = {name: value.to(dtype).requires_grad_() for name, value in leaves.items()}
    corner = torch.rand(n, t, m, 2) * 0.5
    boxes = torch.cat([corner, corner + 0.1 + torch.rand(n, t, m, 2) * 0.4], -1)
    boxes[torch.rand(n, t, m) < (0.3 if boxed else 2.0)] = torch.nan
    noun = torch.randint(-2, v, (n, m)) if named else torch.full((n, m), -1)
    inputs = LossInputs(
        video=leaves["video"],
        text=torch.randn(n, d).to(dtype),
        positives=torch.eye(n, dtype=torch.bool) | (torch.rand(n, n) < 0.2),
        verbs=torch.randn(n, d).to(dtype),
        entities=leaves["entities"],
        masks=leaves["logits"].softmax(-1),
        boxes=boxes,
        box_noun=noun,
        dictionary=torch.randn(v, d).to(dtype),
        background=torch.randn(d).to(dtype),
        images=0.05 * torch.randn(n, t, 3, 4 * grid, 4 * grid),
        pixel_mean=torch.full((3,), 127.5),
        pixel_std=torch.full((3,), 64.0),
        tower=leaves["tower"],
        patches=leaves["patches"],
        neighbour_entities=leaves["neighbour_entities"],
    )
    return inputs, leaves


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 2**31),
    n=st.integers(1, 4),
    named=st.booleans(),
    boxed=st.booleans(),
    dead=st.booleans(),
    half=st.booleans(),
    autocast=st.booleans(),
)
def test_no_loss_is_ever_nan(
    seed: int, n: int, named: bool, boxed: bool, dead: bool, half: bool, autocast: bool
) -> None:
    torch.manual_seed(seed)
    inputs, leaves = batch(n, named=named, boxed=boxed, dead=dead, dtype=torch.bfloat16 if half else torch.float32)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        values = {name: loss(inputs) for name, loss in LOSSES.items()}
    for name, value in values.items():
        assert value.ndim == 0, name
        assert value.dtype == torch.float32, name
        assert torch.isfinite(value), name
    torch.stack(list(values.values())).sum().backward()
    for name, leaf in leaves.items():
        assert leaf.grad is None or torch.isfinite(leaf.grad).all(), name


def test_a_batch_without_nouns_or_boxes_leaves_only_the_losses_that_need_neither() -> None:
    inputs, _ = batch(named=False, boxed=False)
    zero = {name for name, loss in LOSSES.items() if loss(inputs) == 0}
    assert zero == set(LOSSES) - {"ego", "ego_mean_log", "verb_entities", "presence", "tower_ego"}


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_every_loss_falls_under_gradient_descent(name: str) -> None:
    torch.manual_seed(1)
    inputs, leaves = batch()
    before = LOSSES[name](inputs)
    reached = {k: v for k, v in leaves.items() if v is not None}
    grads = torch.autograd.grad(before, list(reached.values()), allow_unused=True)
    assert any(g is not None and g.abs().sum() > 0 for g in grads)
    moved = {
        key: leaf.detach() - 1e-3 * (0 if g is None else g / g.norm().clamp_min(1e-12))
        for (key, leaf), g in zip(reached.items(), grads, strict=True)
    }
    after = replace(inputs, match=inputs.matched, masks=moved.pop("logits").softmax(-1), **moved)
    assert LOSSES[name](after) < before


def test_matching_by_box_and_by_similarity_are_different_losses() -> None:
    torch.manual_seed(0)
    inputs, _ = batch()
    clip, slot, noun = inputs.named
    assert inputs.dictionary is not None
    expected = noun_entity_nce(inputs.entities, clip, slot, noun, inputs.dictionary)
    close(LOSSES["noun_entity_box"](inputs), expected)
    assert LOSSES["noun_entity"](inputs) < LOSSES["noun_entity_box"](inputs)


def test_the_paper_recipe_needs_neither_pictures_nor_background() -> None:
    inputs, _ = batch()
    bare = replace(inputs, background=None, images=None, neighbour_entities=None)
    assert all(torch.isfinite(LOSSES[name](bare)) for name in PAPER_LOSSES)
    with pytest.raises(ValueError, match=r"LossInputs\.background"):
        LOSSES["presence"](bare)


def test_products_stay_float32_under_autocast() -> None:
    text, video = torch.randn(16, 64), torch.randn(16, 64)
    positives = torch.eye(16, dtype=torch.bool)
    expected = ego_nce(text, video, positives)
    with torch.autocast("cpu", torch.bfloat16):
        actual = ego_nce(text, video, positives)
    assert actual == expected
