"""The global encoder: TimeSformer with divided space-time attention, equal to LaViLa's (paper 4.1).

Shapes: `B` batch, `T` frames, `S` image side, `K` patches of a frame, `D` width.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from henasy_stream.config import VisionConfig
from henasy_stream.model.attention import SpaceTimeBlock


class VisionOutput(NamedTuple):
    """What the encoder makes of a clip.

    hidden: layers + 1 tensors (B, 1 + T*K, D): after `ln_pre`, then after every block; never normalised.
    tokens: (B, 1 + T*K, D), the last hidden state after the final norm.
    fine: (B, T, C, 2*grid, 2*grid), what a convolutional stem saw at twice the resolution of its patches; None for
    LaViLa's stem.
    """

    hidden: tuple[Tensor, ...]
    tokens: Tensor
    fine: Tensor | None = None

    @property
    def cls(self) -> Tensor:
        """(B, D), the video token after the final norm."""
        return self.tokens[:, 0]


class Stemmed(NamedTuple):
    """What a stem makes of F frames: patches (F, K, D), and fine (F, C, 2*grid, 2*grid) or None."""

    patches: Tensor
    fine: Tensor | None


class PatchStem(nn.Module):
    """One convolution without bias, patches side by side, as in LaViLa."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        size = config.patch_size
        self.proj = nn.Conv2d(3, config.width, kernel_size=size, stride=size, bias=False)

    def forward(self, images: Tensor) -> tuple[Tensor, None]:
        """(B*T, 3, S, S) -> (B*T, K, D), row by row, and nothing finer."""
        return self.proj(images).flatten(2).transpose(1, 2), None


def _convolution(channels: int, out: int, *, stride: int) -> nn.Sequential:
    conv = nn.Conv2d(channels, out, kernel_size=3, stride=stride, padding=1, bias=False)
    nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
    return nn.Sequential(conv, nn.GroupNorm(8, out), nn.GELU())


class Refine(nn.Module):
    """A residual convolution, (N, C, H, W) -> (N, C, H, W)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.convolution = _convolution(channels, channels, stride=1)

    def forward(self, x: Tensor) -> Tensor:
        """The input plus what its neighbourhood adds."""
        return x + self.convolution(x)


class ConvStem(nn.Module):
    """Strided convolutions with normalisation, for training from scratch on few clips.

    Every stage halves the side and doubles the channels, from 32; those after the first look once more at what they
    have.  The last norm keeps the content on the scale of the position terms that follow.
    """

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        stages = int(math.log2(config.patch_size))
        if 2**stages != config.patch_size:
            raise ValueError(f"stem='conv' needs a patch_size that is a power of two, not {config.patch_size}")
        layers: list[nn.Module] = []
        channels = 3
        for stage in range(stages):
            out = 32 * 2**stage
            layers.append(nn.Sequential(_convolution(channels, out, stride=2), *([Refine(out)] if stage else [])))
            channels = out
        self.stages = nn.ModuleList(layers)
        self.proj = nn.Linear(channels, config.width)
        self.norm = nn.LayerNorm(config.width)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """(B*T, 3, S, S) -> (B*T, K, D), row by row, and (B*T, C, 2*grid, 2*grid), the input of the last stage."""
        fine = images
        for stage in self.stages[:-1]:
            fine = stage(fine)
        x = self.stages[-1](fine)
        return self.norm(self.proj(x.flatten(2).transpose(1, 2))), fine


class TimeSformer(nn.Module):
    """Video encoder whose parameters carry LaViLa's names."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.config = config
        width = config.width
        self.patch_embed = PatchStem(config) if config.stem == "patch" else ConvStem(config)
        self.cls_token = nn.Parameter(torch.empty(1, 1, width))
        self.pos_embed = nn.Parameter(torch.empty(1, 1 + config.grid**2, width))
        self.temporal_embed = nn.Parameter(torch.empty(1, config.num_frames, width))
        self.ln_pre = nn.LayerNorm(width, eps=1e-5)
        self.blocks = nn.ModuleList(SpaceTimeBlock(width, config.heads) for _ in range(config.layers))
        self.norm = nn.LayerNorm(width, eps=1e-6)
        # Beside a normalised stem, embeddings of the usual 0.02 leave the tokens without a place for hundreds of steps.
        scale = 0.02 if config.stem == "patch" else 0.4
        for embedding in (self.cls_token, self.pos_embed, self.temporal_embed):
            nn.init.normal_(embedding, std=scale)

    def embed(self, video: Tensor, stemmed: Stemmed | None = None) -> tuple[Tensor, Tensor | None]:
        """(B, T, 3, S, S) -> (B, 1 + T*K, D), the input of the first block, and the finer features of the stem.

        `stemmed`: the stem's output of the B*T frames, where it is known already.
        """
        batch, frames, channels, height, width = video.shape
        size = self.config.image_size
        if (channels, height, width) != (3, size, size):
            raise ValueError(f"frames of {channels}x{height}x{width} do not fit a model for 3x{size}x{size}")
        if not 1 <= frames <= self.config.num_frames:
            raise ValueError(f"{frames} frames do not fit a model for 1 to {self.config.num_frames} frames")
        patches, fine = self.patch_embed(video.flatten(0, 1)) if stemmed is None else stemmed
        patches = patches.view(batch, frames, -1, self.config.width)
        place = self.pos_embed[:, None, 1:] + self.temporal_embed[:, :frames, None]
        cls = (self.cls_token + self.pos_embed[:, :1]).expand(batch, -1, -1)
        tokens = self.ln_pre(torch.cat([cls, (patches + place).flatten(1, 2)], 1))
        return tokens, None if fine is None else fine.unflatten(0, (batch, frames))

    def forward(self, video: Tensor, stemmed: Stemmed | None = None) -> VisionOutput:
        """Encode clips.

        Args:
            video: (B, T, 3, S, S), float, normalised; T may be less than `num_frames`.
            stemmed: the stem's output of the B*T frames, where it is known already.

        Raises:
            ValueError: too many frames, or frames of another size.
        """
        frames = video.shape[1]
        tokens, fine = self.embed(video, stemmed)
        hidden = [tokens]
        for block in self.blocks:
            hidden.append(block(hidden[-1], prefix=1, frames=frames))
        return VisionOutput(hidden=tuple(hidden), tokens=self.norm(hidden[-1]), fine=fine)
