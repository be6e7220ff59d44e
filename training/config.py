"""What a training run is made of.

A recipe is one `Recipe` in `training/recipes/`; any field can be overridden on the command line.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from henasy_stream.config import HenasyConfig
from training.losses import PositiveMode

Tower = Literal["video", "text"]


@dataclass(frozen=True, kw_only=True)
class OptimConfig:
    """AdamW.  `warmup` steps of linear warm-up, then `schedule`; `clip` bounds the norm of the gradient."""

    lr: float = 3e-5
    weight_decay: float = 0.01
    betas: tuple[float, float] = (0.9, 0.98)
    warmup: int = 0
    schedule: Literal["constant", "cosine"] = "constant"
    clip: float = 0.0
    average: float = 0.0
    """Decay of the moving average of the weights that is evaluated and written; 0 writes the last weights."""


@dataclass(frozen=True, kw_only=True)
class WorldData:
    """Clips of the synthetic world, rendered once into a pool on disk that every run with these values shares."""

    clips: int = 24_000
    cut: int = 0
    """How many of the clips are cut out of streams, where things lie over one another and actions follow each other."""
    hard_negatives: bool = False
    """Each clip brings the pool's next one, which doubles the batch.  All clips must be cut: the next one then shows
    the same scene some seconds later, but for one in a dozen, where a stream ends."""
    val_clips: int = 1_000
    seed: int = 0
    jitter: float = 0.2
    """Largest relative change and largest shift, in deviations, of each colour channel."""
    labelled_boxes: bool = False
    """Boxes come with their class, as from a detector; otherwise hands and the narrated object alone have a name."""
    text_steps: int = 0
    """Updates of the text tower on sentences alone, before the run."""
    tower_steps: int = 0
    """Updates of the video tower on named boxes of single frames, after those of the text tower and before the run."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One training run.  `losses` maps an entry of `training.losses.LOSSES` to its weight; an absent one is off."""

    name: str
    model: HenasyConfig
    optim: OptimConfig
    data: WorldData
    losses: Mapping[str, float]
    positives: PositiveMode = "noun_and_verb"
    """Tags that two clips must share to be each other's positives; "identity" is plain InfoNCE."""
    box_matching: Literal["clip", "frame"] = "clip"
    """A box takes one slot for the whole clip, or, where nothing says which boxes of two frames are one object, one in
    each frame (paper Eq. 9)."""
    batch: int = 128
    """Clips over all ranks, before hard negatives double them."""
    steps: int = 1_000
    epochs: int = 0
    """Sets the steps by passes over the data; 0 counts `steps`."""
    init: str = ""
    """Weights to start from: HENASY's (.safetensors), or LaViLa's for the two towers; empty: from scratch."""
    freeze: tuple[Tower, ...] = ()
    """Towers that the run leaves as they are; they run without gradient, and a frozen text tower embeds a text once."""
    seed: int = 0
    threads: int = 1
    device: str = "auto"
    """"cpu", "cuda", or "auto": a GPU where there is one."""
    precision: Literal["float32", "bfloat16"] = "float32"
    recompute: bool = False
    """Activation checkpointing: blocks are run again in the backward pass, for less memory."""
    log_every: int = 25
    eval_every: int = 500
    checkpoint_every: int = 250
    notes: Mapping[str, str] = field(default_factory=dict)
