"""Frozen, keyword-only configurations.  Sizes of the network live beside the weights, those of the stream do not."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from henasy_stream.types import QueryCalibration


def _check_positive(config: object, *names: str) -> None:
    for name in names:
        if getattr(config, name) < 1:
            raise ValueError(f"{name} must be at least 1, not {getattr(config, name)}")


def _check_heads(width: int, heads: int, kind: str = "") -> None:
    if width % heads:
        raise ValueError(f"{kind}width {width} is not a multiple of {kind}heads {heads}")


@dataclass(frozen=True, kw_only=True)
class VisionConfig:
    """The global encoder: TimeSformer with divided space-time attention (paper 4.1), or another `backbone`.

    `stem="patch"` is LaViLa's single convolution without bias; `stem="conv"` is a small stack of strided convolutions
    for training from scratch on few clips.  `num_frames` is the length of the temporal embedding.
    """

    image_size: int = 224
    patch_size: int = 16
    num_frames: int = 4
    width: int = 768
    layers: int = 12
    heads: int = 12
    stem: Literal["patch", "conv"] = "patch"
    backbone: str = "timesformer"

    def __post_init__(self) -> None:
        _check_positive(self, "image_size", "patch_size", "num_frames", "width", "heads")
        if self.image_size % self.patch_size:
            raise ValueError(f"image_size {self.image_size} is not a multiple of patch_size {self.patch_size}")
        _check_heads(self.width, self.heads)

    @property
    def grid(self) -> int:
        """Patches along one side of a frame."""
        return self.image_size // self.patch_size

    @property
    def fine_channels(self) -> int:
        """Channels of the convolutional stem at twice the resolution of its patches."""
        return 8 * self.patch_size


@dataclass(frozen=True, kw_only=True)
class TextConfig:
    """The text tower: LaViLa's CLIP-style causal transformer."""

    vocab_size: int = 49408
    context: int = 77
    width: int = 512
    layers: int = 12
    heads: int = 8

    def __post_init__(self) -> None:
        _check_positive(self, "vocab_size", "context", "width", "heads")
        _check_heads(self.width, self.heads)


@dataclass(frozen=True, kw_only=True)
class PreprocessConfig:
    """The contract between a camera's frame and the network; belongs to the weights.

    `mean` and `std` are RGB on the 0..255 scale; the defaults are the ones LaViLa trained with.  `span_s`: seconds from
    the first to the last of the sampled frames.
    """

    resize: Literal["crop", "squash", "letterbox"] = "crop"
    mean: tuple[float, float, float] = (108.3272985, 116.7460125, 104.09373615)
    std: tuple[float, float, float] = (68.5005327, 66.6321579, 70.32316305)
    span_s: float = 1.0


@dataclass(frozen=True, kw_only=True)
class VocabularyConfig:
    """The words that the weights were trained with; empty for weights that were trained on open narrations."""

    nouns: tuple[str, ...] = ()
    verbs: tuple[str, ...] = ()
    phrases: tuple[str, ...] = ()
    background: str | None = None
    synthetic: bool = False


@dataclass(frozen=True, kw_only=True)
class HenasyConfig:
    """Sizes of the whole network (paper 4 and 5.1).

    `decoder` and `bootstrap_layers=0` are the design rows of the paper's Table 4: "average" pools the entities,
    "self_attention" attends over patches and entities together, no bootstrapping lets the patches stand as segments.
    `similarity="scaled_dot"` multiplies TAG's logits by entity_width ** -0.5 (paper recipe); "cosine" by
    `similarity_scale`.  `fine_masks` (beyond the paper) reads masks at twice the patch resolution with the help of a
    convolutional stem.  `attention="causal"` (beyond the paper) is the network that advances frame by frame and sees
    the last `vision.num_frames` of them (`model/causal.py`).
    `queries`: how sure answers to queries are, measured after training (`training/calibrate.py`).
    """

    vision: VisionConfig = field(default_factory=VisionConfig)
    text: TextConfig = field(default_factory=TextConfig)
    preprocess: PreprocessConfig = field(default_factory=PreprocessConfig)
    vocabulary: VocabularyConfig = field(default_factory=VocabularyConfig)
    embed_dim: int = 256
    entity_width: int = 512
    entity_heads: int = 8
    num_groups: int = 64
    num_entities: int = 8
    bootstrap_layers: int = 6
    grouping_layers: int = 3
    refine_layers: int = 3
    decoder_layers: int = 3
    decoder: Literal["entity", "average", "self_attention"] = "entity"
    similarity: Literal["cosine", "scaled_dot"] = "cosine"
    similarity_scale: float = 10.0
    fine_masks: bool = False
    attention: Literal["window", "causal"] = "window"
    temperature: float = 0.05
    queries: QueryCalibration | None = None

    def __post_init__(self) -> None:
        _check_positive(self, "embed_dim", "entity_width", "entity_heads", "num_groups", "num_entities")
        _check_heads(self.entity_width, self.entity_heads, "entity_")
        if self.bootstrap_layers > self.vision.layers:
            raise ValueError(f"bootstrap_layers {self.bootstrap_layers} exceeds the {self.vision.layers} vision layers")
        if self.fine_masks and (self.vision.stem != "conv" or not self.bootstrap_layers):
            raise ValueError('fine_masks needs vision.stem="conv" and at least one bootstrap layer')
        if self.attention == "causal" and self.decoder == "self_attention":
            raise ValueError('attention="causal" has no decoder="self_attention", which changes tokens of old frames')
        if self.attention == "causal" and self.vision.backbone != "timesformer":
            raise ValueError(f'attention="causal" needs vision.backbone="timesformer", not {self.vision.backbone!r}')

    @property
    def mask_grid(self) -> int:
        """Cells along one side of an entity mask."""
        return self.vision.grid * (2 if self.fine_masks else 1)

    @classmethod
    def base(cls) -> HenasyConfig:
        """Paper size on LaViLa's TSF-B."""
        return cls(similarity="scaled_dot")

    @classmethod
    def demo(cls) -> HenasyConfig:
        """The size that ships with the package and trains on one CPU thread."""
        return cls(
            vision=VisionConfig(image_size=80, patch_size=8, num_frames=4, width=64, layers=2, heads=2, stem="conv"),
            text=TextConfig(width=64, layers=2, heads=2, context=32),
            preprocess=PreprocessConfig(mean=(127.5, 127.5, 127.5), std=(64.0, 64.0, 64.0), span_s=1.5),
            embed_dim=64,
            entity_width=64,
            entity_heads=2,
            fine_masks=True,
            num_groups=16,
            bootstrap_layers=2,
            grouping_layers=1,
            refine_layers=1,
            decoder_layers=1,
        )


@dataclass(frozen=True, kw_only=True)
class StreamConfig:
    """How a model is run over a stream.  Times are seconds of acquisition time.

    `mode`: how the network runs, see docs/streaming.md; "auto" is what the weights were trained for.
    `hop`: new samples between two windows, 1..T-1; 0 lets the engine choose the smallest hop that keeps pace;
    causal weights take every sample.
    `birth_hits`: hops in which an entity must be seen before it is published; `lost_s`: how long a track that is no
    longer seen is kept.  `presence`: least score of an entity.  `gap_s`: a longer pause between frames resets all.
    `entities`: "own" are those that the model finds, if it can; "outside" those that are given to `Engine.step`.
    """

    mode: Literal["auto", "window", "causal"] = "auto"
    hop: int = 0
    span_s: float | None = None
    rotate: Literal[0, 90, 180, 270] = 0
    presence: float = 0.5
    birth_hits: int = 2
    lost_s: float = 10.0
    gap_s: float = 2.0
    caption_hold_s: float = 1.0
    embeddings: bool = False
    entities: Literal["own", "outside"] = "own"
