"""The global encoders by name (`VisionConfig.backbone`); docs/extend.md adds one.

A backbone is made from a `VisionConfig`, maps (B, T, 3, S, S) to a `VisionOutput` with `layers` + 1 hidden states, and
has the attributes `config` and `norm`, the norm that its tokens end with.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from henasy_stream.config import VisionConfig
from henasy_stream.model.timesformer import TimeSformer

BACKBONES: dict[str, Callable[[VisionConfig], Any]] = {"timesformer": TimeSformer}


def build_backbone(config: VisionConfig) -> Any:
    """The module that `config.backbone` names; ValueError where there is none of that name."""
    if config.backbone not in BACKBONES:
        raise ValueError(f"vision.backbone is {config.backbone!r}; there are {', '.join(sorted(BACKBONES))}")
    return BACKBONES[config.backbone](config)
