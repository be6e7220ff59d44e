"""What a training run is made of.

A recipe is one `Recipe` in `training/recipes/`; any field can be overridden on the command line.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from henasy_stream.config import HenasyConfig
from training.data.chunks import LayoutName
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
    lead: int = 0
    """Frames of a clip before the window that its narration tells of, for causal networks; see `WorldBatches`."""
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
class ClipData:
    """What all data of decoded clips has."""

    workers: int = 2
    """Processes that decode; 0 decodes in the training process.  The batches are the same for any number."""
    negatives: bool = True
    """Each clip brings another one of its video as a hard negative, which doubles the batch."""
    window_s: float = 60.0
    """Stretch of a video out of which a hard negative comes, in seconds."""
    max_unreadable: float = 0.02
    """Share of unreadable clips above which the run stops; below it each is named and replaced."""


@dataclass(frozen=True, kw_only=True)
class EgoClipData(ClipData):
    """Clips of Ego4D that others have annotated."""

    annotations: str = ""
    """`egoclip.csv`, or one of LaViLa's pickles."""
    videos: str = ""
    """Folder of chunks or whole files."""
    taxonomy: str = ""
    """`narration_noun_taxonomy.csv`: the dictionary of nouns."""
    boxes: str = ""
    """Folder of HelpingHands' `<video>/<chunk>.handobj.pkl`; empty: no boxes."""
    phrases: str = ""
    """Folder that `prepare.py verbs` has written; empty: the narration stands for its verb phrase."""
    layout: LayoutName = "auto"
    chunk_s: float = 0.0
    """Seconds of a chunk where they are not those of the layout."""


@dataclass(frozen=True, kw_only=True)
class OwnData(ClipData):
    """One's own clips."""

    root: str = ""
    """Folder that `prepare.py own` has made."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One training run.  `losses` maps an entry of `training.losses.LOSSES` to its weight; an absent one is off."""

    name: str
    model: HenasyConfig
    optim: OptimConfig
    data: WorldData | EgoClipData | OwnData
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
    """Weights to start from: HENASY's (.safetensors), or LaViLa's (.pth) for the two towers; "demo" and "lavila" are
    known by name; empty: from scratch."""
    model_of_init: bool = False
    """The model has the sizes of the weights to start from, whatever they are."""
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

    def total_steps(self, steps_per_epoch: int) -> int:
        """Updates of the run."""
        return self.epochs * steps_per_epoch or self.steps
