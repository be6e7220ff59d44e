"""LaViLa's dual encoder and its published checkpoints."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from henasy_stream.config import HenasyConfig, TextConfig, VisionConfig
from henasy_stream.model.backbones import build_backbone
from henasy_stream.model.checkpoints import (
    from_lavila_names,
    load_strictly,
    load_weights,
    read_pickle,
    read_safetensors,
    save_weights,
)
from henasy_stream.model.text import TextTransformer


class DualEncoder(nn.Module):
    """A video and a text tower with linear maps into one space.

    `logit_scale` is stored as a logarithm.
    """

    def __init__(self, vision: VisionConfig, text: TextConfig, embed_dim: int) -> None:
        super().__init__()
        self.visual = build_backbone(vision)
        self.text = TextTransformer(text)
        self.image_projection = nn.Parameter(torch.empty(vision.width, embed_dim))
        self.text_projection = nn.Parameter(torch.empty(text.width, embed_dim))
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))
        nn.init.normal_(self.image_projection, std=vision.width**-0.5)
        nn.init.normal_(self.text_projection, std=text.width**-0.5)

    def encode_video(self, video: Tensor) -> Tensor:
        """(B, T, 3, S, S) float, normalised -> (B, D), projected, not L2-normalised."""
        return self.visual(video).cls @ self.image_projection

    def encode_text(self, token_ids: Tensor) -> Tensor:
        """(B, L) int64 -> (B, D), projected, not L2-normalised."""
        return self.text(token_ids) @ self.text_projection


def load_lavila(
    path: str | Path,
    *,
    vision_heads: int | None = None,
    text_heads: int | None = None,
    num_frames: int | None = None,
) -> DualEncoder:
    """Read a LaViLa dual encoder with a TimeSformer; all sizes are read off the weights.

    Args:
        path: LaViLa's `.pth`, or a `.safetensors` with LaViLa's names or from `convert_lavila`.
        vision_heads: attention heads, which weights do not show; width // 64 unless given or converted with others.
        text_heads: the same for the text tower.
        num_frames: length of the temporal embedding, resampled as LaViLa does for its evaluation when it differs.

    Raises:
        UserError: the file is missing, damaged, would run code, or holds another model: then one message lists missing,
            unexpected and misshapen parameters.
    """
    path = Path(path)
    stored: HenasyConfig | None = None
    if path.suffix == ".safetensors":
        state = from_lavila_names(read_safetensors(path))
        if path.with_suffix(".json").is_file():
            _, stored, _ = load_weights(path)
            vision_heads = vision_heads or stored.vision.heads
            text_heads = text_heads or stored.text.heads
    else:
        state = from_lavila_names(read_pickle(path))
    temporal = state.get("visual.temporal_embed")
    if num_frames is not None and temporal is not None and temporal.ndim == 3:
        state["visual.temporal_embed"] = inflate_temporal(temporal, num_frames)
    vision, text, embed_dim = _sizes(state, vision_heads, text_heads)
    if stored is not None and stored.vision.stem == "conv":  # not LaViLa's: its weights do not show the sizes
        vision = dataclasses.replace(stored.vision, num_frames=num_frames or stored.vision.num_frames)
    with torch.device("meta"):
        model = DualEncoder(vision, text, embed_dim)
    load_strictly(model, state, path)
    return model.eval()


def convert_lavila(
    checkpoint: str | Path,
    out: str | Path,
    *,
    vision_heads: int | None = None,
    text_heads: int | None = None,
    num_frames: int | None = None,
) -> None:
    """Write a LaViLa checkpoint as safetensors without the optimizer's state, its config beside it.

    The config's metadata says `kind: lavila`: of the config only the towers, `embed_dim` and `preprocess` apply.

    Raises:
        UserError: as `load_lavila`.
    """
    model = load_lavila(checkpoint, vision_heads=vision_heads, text_heads=text_heads, num_frames=num_frames)
    vision = model.visual.config
    base = HenasyConfig.base()
    config = dataclasses.replace(
        base,
        vision=vision,
        text=model.text.config,
        embed_dim=model.image_projection.shape[1],
        bootstrap_layers=min(base.bootstrap_layers, vision.layers),
    )
    save_weights(out, model.state_dict(), config, kind="lavila", source=Path(checkpoint).name)


def inflate_temporal(embed: Tensor, frames: int, mode: Literal["bilinear", "interp", "zeros"] = "bilinear") -> Tensor:
    """Fit a temporal embedding to another number of frames.

    Args:
        embed: (1, T, D).
        frames: fewer than T keep the first rows, whatever the mode.
        mode: "bilinear" interpolates linearly along time (LaViLa's evaluation), "interp" repeats rows, "zeros" appends
            zeros.

    Returns:
        (1, frames, D).
    """
    if frames < 1:
        raise ValueError(f"frames must be at least 1, not {frames}")
    have = embed.shape[1]
    if frames <= have:
        return embed[:, :frames]
    if mode == "zeros":
        return F.pad(embed, (0, 0, 0, frames - have))
    by_time = embed.transpose(1, 2)
    if mode == "interp":
        return F.interpolate(by_time, frames, mode="nearest").transpose(1, 2)
    if mode == "bilinear":
        return F.interpolate(by_time, frames, mode="linear", align_corners=False).transpose(1, 2)
    raise ValueError(f"mode {mode!r} is none of bilinear, interp, zeros")


def _sizes(
    state: Mapping[str, Tensor], vision_heads: int | None, text_heads: int | None
) -> tuple[VisionConfig, TextConfig, int]:
    """Configs that fit the weights; what a wrong file does not show is taken from LaViLa's base model."""

    def shape(name: str, *usual: int) -> tuple[int, ...]:
        found = tuple(state[name].shape) if name in state else ()
        return found if len(found) == len(usual) and 0 not in found else usual

    def depth(prefix: str) -> int:
        # Counted, not the highest number: a made-up name must not ask for a million layers.
        return len({match[1] for name in state if (match := re.match(rf"{prefix}\.(\d+)\.", name))}) or 12

    width, _, patch, _ = shape("visual.patch_embed.proj.weight", 768, 3, 16, 16)
    _, positions, _ = shape("visual.pos_embed", 1, 197, 768)
    _, frames, _ = shape("visual.temporal_embed", 1, 4, 768)
    vocabulary, text_width = shape("text.token_embedding.weight", 49408, 512)
    context, _ = shape("text.positional_embedding", 77, 512)
    _, embed_dim = shape("image_projection", 768, 256)
    vision = VisionConfig(
        image_size=math.isqrt(positions - 1) * patch,
        patch_size=patch,
        num_frames=frames,
        width=width,
        layers=depth(r"visual\.blocks"),
        heads=vision_heads or max(1, width // 64),
    )
    text = TextConfig(
        vocab_size=vocabulary,
        context=context,
        width=text_width,
        layers=depth(r"text\.blocks"),
        heads=text_heads or max(1, text_width // 64),
    )
    return vision, text, embed_dim
