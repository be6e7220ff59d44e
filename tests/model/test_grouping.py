from __future__ import annotations

import copy
import json
import math
from pathlib import Path
from typing import Literal

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional as F

from henasy_stream.model.grouping import TemporalAwareGrouping, assign, gumbel_noise

GOLDEN = Path(__file__).parents[1] / "golden"


def close(actual: Tensor, expected: Tensor, atol: float = 5e-6) -> None:
    torch.testing.assert_close(actual, expected, rtol=1e-5, atol=atol)


class GroupVit:
    """GroupViT's grouping block with a case's weights, around the `assign` that is tested."""

    def __init__(self, tensors: dict[str, Tensor], heads: int, assign_eps: float) -> None:
        self.sd = {name.removeprefix("sd."): t for name, t in tensors.items() if name.startswith("sd.")}
        self.heads, self.assign_eps = heads, assign_eps

    def linear(self, name: str, x: Tensor) -> Tensor:
        return F.linear(x, self.sd[f"{name}.weight"], self.sd[f"{name}.bias"])

    def norm(self, name: str, x: Tensor) -> Tensor:
        return F.layer_norm(x, x.shape[-1:], self.sd[f"{name}.weight"], self.sd[f"{name}.bias"], 1e-5)

    def mlp(self, name: str, x: Tensor) -> Tensor:
        return self.linear(f"{name}.fc2", F.gelu(self.linear(f"{name}.fc1", x)))

    def before(self, image: Tensor, groups: Tensor) -> dict[str, Tensor]:
        """Everything up to the logits."""
        image = self.norm("norm_x", image)
        tokens = self.norm("norm_tokens", groups)
        mixed = self.mlp("mlp_inter", tokens.transpose(1, 2)).transpose(1, 2)
        projected = self.norm("norm_post_tokens", mixed)
        name = "pre_assign_attn"
        q, k, v = (
            self.linear(f"{name}.attn.{which}_proj", x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for which, x in (("q", projected), ("k", image), ("v", image))
        )
        attended = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        z = projected + self.linear(f"{name}.attn.out_proj", attended)
        z = z + self.mlp(f"{name}.mlp", self.norm(f"{name}.norm2", z))
        z = self.norm(f"{name}.norm_post", z)
        keys = self.linear("assign.k_proj", image)
        logits = self.linear("assign.q_proj", z) @ keys.transpose(1, 2) * z.shape[-1] ** -0.5
        return {
            "norm_x": image,
            "norm_tokens": tokens,
            "projected": projected,
            "after_pre_assign": z,
            "raw_logits": logits,
        }

    def after(self, hard: Tensor, inner: dict[str, Tensor]) -> dict[str, Tensor]:
        """From the assignment to the new tokens; its small groups are shrunk by `assign_eps`, ours are means."""
        weights = hard / (hard.sum(-1, keepdim=True) + self.assign_eps)
        out = self.linear("assign.proj", weights @ self.linear("assign.v_proj", inner["norm_x"]))
        new = out + inner["after_pre_assign"]
        return {"assign_out": out, "new_tokens": new + self.mlp("mlp_channels", self.norm("norm_new_x", new))}


@pytest.fixture(params=["a", "b"])
def case(request: pytest.FixtureRequest) -> tuple[dict[str, Tensor], GroupVit]:
    prefix = f"{request.param}."
    tensors = {
        name.removeprefix(prefix): tensor
        for name, tensor in load_file(GOLDEN / "groupvit_grouping.safetensors").items()
        if name.startswith(prefix)
    }
    sizes = json.loads((GOLDEN / "groupvit_grouping.json").read_text())["cases"][request.param]
    return tensors, GroupVit(tensors, sizes["heads"], sizes["assign_eps"])


def test_assignment_equals_groupvit_in_evaluation(case):
    tensors, _ = case
    soft, hard = assign(tensors["out.raw_logits"])
    close(soft, tensors["out.soft_assignment"])
    close(hard, tensors["out.hard_assignment"])
    assert torch.equal(hard.round(), tensors["out.hard_assignment"].round())


def test_assignment_equals_groupvit_with_recorded_noise(case):
    tensors, block = case
    logits = block.before(tensors["in.image_tokens"], tensors["in.group_tokens"])["raw_logits"]
    soft, hard = assign(logits, tensors["train.gumbel_noise"])
    close(soft, tensors["train.soft_assignment_no_noise"])
    assert torch.equal(hard.round(), tensors["train.hard_assignment"].round())
    assert not torch.equal(hard.round(), assign(logits).hard.round())  # the noise did change a choice


def test_a_whole_groupvit_block_in_evaluation(case):
    tensors, block = case
    inner = block.before(tensors["in.image_tokens"], tensors["in.group_tokens"])
    inner |= block.after(assign(inner["raw_logits"]).hard, inner)
    # The recorded inner values are those of the evaluation pass.
    for name in ("norm_x", "norm_tokens", "projected", "after_pre_assign", "assign_out"):
        close(inner[name], tensors[f"mid.{name}"])
    for name in ("raw_logits", "new_tokens"):
        close(inner[name], tensors[f"out.{name}"])


def test_the_gradients_of_a_whole_groupvit_block_pass_the_straight_through_choice(case):
    tensors, block = case
    image = tensors["in.image_tokens"].clone().requires_grad_()
    groups = tensors["in.group_tokens"].clone().requires_grad_()
    query, value = (block.sd[f"assign.{which}_proj.weight"].requires_grad_() for which in "qv")
    inner = block.before(image, groups)
    new = block.after(assign(inner["raw_logits"], tensors["train.gumbel_noise"]).hard, inner)["new_tokens"]
    close(new, tensors["train.new_tokens"])
    (new * tensors["train.loss_weight"]).sum().backward()
    for name, tensor in (
        ("image_tokens", image),
        ("group_tokens", groups),
        ("assign_q_proj_weight", query),  # reached through the soft values only
        ("assign_v_proj_weight", value),
    ):
        assert tensor.grad is not None
        close(tensor.grad, tensors[f"train.grad_{name}"], atol=2e-5)


def oracle(tag: TemporalAwareGrouping, q: Tensor, x: Tensor, noise: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """Eq. 4, 11 and 12, one token at a time: grouped tokens, probabilities without noise, chosen groups."""
    (batch, groups, width), (_, frames, tokens, _) = q.shape, x.shape
    wq, wk = tag.query.weight, tag.key.weight
    out = torch.zeros(batch, frames, groups, width, dtype=x.dtype)
    soft = torch.zeros(batch, frames, groups, tokens, dtype=x.dtype)
    chosen = torch.zeros(batch, frames, tokens, dtype=torch.long)
    for b in range(batch):
        for t in range(frames):
            members: list[list[int]] = [[] for _ in range(groups)]
            for j in range(tokens):
                similarity = torch.zeros(groups, dtype=x.dtype)
                for i in range(groups):
                    left, right = wq @ q[b, i], wk @ x[b, t, j]
                    if tag.similarity == "cosine":
                        left, right = left / left.norm(), right / right.norm()
                    similarity[i] = (left * right).sum() * tag.scale
                soft[b, t, :, j] = similarity.exp() / similarity.exp().sum()
                noisy = similarity if noise is None else similarity + noise[b, t, :, j]
                chosen[b, t, j] = noisy.tolist().index(max(noisy.tolist()))
                members[int(chosen[b, t, j])].append(j)
            for i in range(groups):
                mean = sum(x[b, t, j] for j in members[i]) / len(members[i]) if members[i] else 0.0
                out[b, t, i] = q[b, i] + mean
    return out, soft, chosen


def tag_of(width: int, similarity: Literal["cosine", "scaled_dot"] = "cosine", seed: int = 0) -> TemporalAwareGrouping:
    torch.manual_seed(seed)
    return TemporalAwareGrouping(width, similarity=similarity, scale=10.0).double().eval()


@settings(max_examples=30, deadline=None)
@given(
    sizes=st.tuples(*(st.integers(1, 3),) * 2, st.integers(1, 6), st.integers(1, 7), st.integers(1, 5)),
    similarity=st.sampled_from(["cosine", "scaled_dot"]),
    noisy=st.booleans(),
    seed=st.integers(0, 2**16),
)
def test_grouping_equals_a_loop_over_tokens(sizes, similarity, noisy, seed):
    batch, frames, groups, tokens, width = sizes
    tag = tag_of(width, similarity, seed)
    q, x = torch.randn(batch, groups, width).double(), torch.randn(batch, frames, tokens, width).double()
    noise = gumbel_noise(torch.empty(batch, frames, groups, tokens)).double() if noisy else None
    with torch.no_grad():
        grouped = tag(q, x, noise=noise)
        out, soft, chosen = oracle(tag, q, x, noise)
    torch.testing.assert_close(grouped.tokens, out, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(grouped.assignment.soft, soft, rtol=1e-9, atol=1e-9)
    assert torch.equal(grouped.assignment.hard.argmax(-2), chosen)
    torch.testing.assert_close(grouped.assignment.hard.sum(-2), torch.ones_like(soft[..., 0, :]))


def test_gradients_equal_those_of_the_formula_where_no_group_is_empty():
    """With A the noisy softmax: d out = d(q + A~ x / sum A~) with A~ = one-hot in value and A in derivative."""
    tag = tag_of(6)
    q, x = torch.randn(2, 3, 6).double(), torch.randn(2, 4, 12, 6).double()
    for seed in range(100):
        torch.manual_seed(seed)
        noise = gumbel_noise(torch.empty(2, 4, 3, 12)).double()
        one_hot = tag(q, x, noise=noise).assignment.hard.round().detach()
        if (one_hot.sum(-1) > 0).all() and (one_hot.sum(-1) == 1).any():  # groups of a single token among them
            break
    else:
        pytest.fail("no such noise")
    weight = torch.randn(2, 4, 3, 6).double()

    def gradients(q: Tensor, x: Tensor, formula: bool) -> list[Tensor]:
        tag.zero_grad()
        q, x = q.clone().requires_grad_(), x.clone().requires_grad_()
        if formula:
            soft = (tag.logits(q, tag.key(x)) + noise).softmax(-2)
            a = one_hot + soft - soft.detach()
            out = q[:, None] + (a @ x) / a.sum(-1, keepdim=True)
        else:
            out = tag(q, x, noise=noise).tokens
        return list(torch.autograd.grad((out * weight).sum(), [q, x, tag.query.weight, tag.key.weight]))

    for got, expected in zip(gradients(q, x, False), gradients(q, x, True), strict=True):
        assert expected.abs().max() > 0
        torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_an_empty_group_keeps_its_query_and_has_finite_gradients(dtype):
    tag = tag_of(4).to(dtype).train()
    q = torch.randn(1, 5, 4, dtype=dtype, requires_grad=True)
    x = torch.randn(1, 3, 2, 4, dtype=dtype, requires_grad=True)
    grouped = tag(q, x)
    empty = grouped.assignment.hard.round().sum(-1) == 0
    assert empty.sum() >= 3 * 3  # two tokens of a frame fill at most two of five groups
    assert torch.equal(grouped.tokens[empty], q[:, None].expand(-1, 3, -1, -1)[empty])
    assert not torch.isclose(grouped.tokens, q[:, None]).all(-1)[~empty].any()
    grouped.tokens.square().sum().backward()
    for tensor in (q, x, tag.query.weight, tag.key.weight):
        assert tensor.grad is not None
        assert tensor.grad.isfinite().all()


def test_a_tie_goes_to_the_first_group():
    logits = torch.tensor([[1.0, 2.0, 0.0], [1.0, 3.0, 5.0], [1.0, 3.0, 5.0]])
    assert assign(logits).hard.argmax(-2).tolist() == [0, 1, 1]
    assert torch.equal(assign(logits).hard.round().sum(0), torch.ones(3))


def test_noise_comes_in_training_only():
    tag = tag_of(8)
    q, x = torch.randn(1, 4, 8).double(), torch.randn(1, 2, 40, 8).double()
    first, second = tag(q, x), tag(q, x)
    assert torch.equal(first.tokens, second.tokens)
    tag.train()
    third, fourth = tag(q, x), tag(q, x)
    assert not torch.equal(third.assignment.hard, fourth.assignment.hard)
    assert torch.equal(third.assignment.soft, first.assignment.soft)  # what is returned as soft is free of noise
    noise = torch.zeros_like(first.assignment.soft)
    assert torch.equal(tag(q, x, noise=noise).assignment.hard.round(), first.assignment.hard.round())


def test_with_gumbel_noise_a_group_is_chosen_as_often_as_its_probability_says():
    torch.manual_seed(0)
    probability = torch.tensor([0.6, 0.25, 0.1, 0.05])
    logits = probability.log()[:, None].expand(-1, 50_000)
    noise = gumbel_noise(logits)
    assert noise.isfinite().all()
    assert noise.mean().item() == pytest.approx(0.5772, abs=0.01)
    assert noise.var().item() == pytest.approx(math.pi**2 / 6, abs=0.03)
    torch.testing.assert_close(assign(logits, noise).hard.mean(-1), probability, rtol=0, atol=0.01)


def test_gumbel_noise_is_finite_for_every_uniform_number(monkeypatch):
    edges = torch.tensor([0.0, 2**-24, 0.5, 1 - 2**-24, 1.0])
    monkeypatch.setattr(torch, "rand", lambda *args, **kwargs: edges)
    noise = gumbel_noise(edges)
    assert noise.isfinite().all()
    assert torch.equal(noise.sort().values, noise)


@pytest.mark.parametrize("similarity", ["cosine", "scaled_dot"])
def test_under_bfloat16_autocast_similarities_are_not_rounded(similarity):
    torch.manual_seed(0)
    tag = TemporalAwareGrouping(64, similarity=similarity, scale=10.0).eval()
    q, x = torch.randn(2, 16, 64), torch.randn(2, 3, 12, 64)
    with torch.autocast("cpu", torch.bfloat16):
        grouped = tag(q, x)
        logits = tag.logits(q, tag.key(x))
        queries, keys = tag.query(q).double(), tag.key(x).double()
    if similarity == "cosine":
        queries, keys = F.normalize(queries, dim=-1), F.normalize(keys, dim=-1)
    exact = queries[:, None] @ keys.transpose(-1, -2) * tag.scale
    assert logits.dtype == torch.float32
    torch.testing.assert_close(logits.double(), exact, rtol=1e-5, atol=1e-5)
    soft, hard = grouped.assignment
    assert soft.dtype == hard.dtype == torch.float32
    torch.testing.assert_close(soft.sum(-2), torch.ones(2, 3, 12))
    empty = hard.sum(-1) == 0
    assert empty.any()
    assert torch.equal(grouped.tokens[empty], q[:, None].expand(-1, 3, -1, -1)[empty])


def test_half_precision_logits_are_assigned_in_float32():
    soft, hard = assign(torch.randn(4, 9).to(torch.bfloat16))
    assert soft.dtype == hard.dtype == torch.float32


@torch.no_grad()
def test_groups_and_frames_have_no_order_of_their_own():
    tag = tag_of(8)
    q, x = torch.randn(2, 5, 8).double(), torch.randn(2, 4, 11, 8).double()
    tokens = tag(q, x).tokens
    groups, frames, inputs = torch.randperm(5), torch.randperm(4), torch.randperm(11)
    permuted = tag(q[:, groups], x[:, frames][:, :, inputs]).tokens
    torch.testing.assert_close(permuted, tokens[:, frames][:, :, groups])


@torch.no_grad()
def test_the_two_similarities_are_scaled_as_documented():
    dot = tag_of(16, "scaled_dot")
    cosine = copy.deepcopy(dot)
    cosine.similarity, cosine.scale = "cosine", 10.0
    q, keys = torch.randn(1, 3, 16).double(), torch.randn(1, 1, 7, 16).double()
    torch.testing.assert_close(dot.logits(q, 2 * keys), 2 * dot.logits(q, keys))
    torch.testing.assert_close(cosine.logits(q, 2 * keys), cosine.logits(q, keys))
    assert cosine.logits(q, keys).abs().max() <= 10
    projected = dot.query(q)
    torch.testing.assert_close(dot.logits(q, keys)[0, 0, 1, 2], projected[0, 1] @ keys[0, 0, 2] / 4)


@torch.no_grad()
def test_exported_grouping_holds_plain_products():
    tag = tag_of(8).float()
    example = torch.randn(2, 5, 8), torch.randn(2, 4, 11, 8)
    program = torch.export.export(tag, example)
    torch.testing.assert_close(program.module()(*example).tokens, tag(*example).tokens)
    called = [str(node.target) for node in program.graph.nodes if node.op == "call_function"]
    assert [name for name in called if "autocast" in name or "promote" in name] == []
