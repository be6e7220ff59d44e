"""The value objects that travel between stages.

Every arrow of the data flow is one frozen object that holds NumPy arrays; a stage imports this module and never
its neighbour.  Pixels are those of the frame that came in; times are acquisition stamps in nanoseconds.

Shapes: `H, W` frame size, `T` frames of a window, `h, w` mask grid, `E` entities, `D` width of the joint embedding.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

UInt8Array = npt.NDArray[np.uint8]
FloatArray = npt.NDArray[np.float32]

Clock = Literal["unix", "monotonic", "media", "device"]
StampSource = Literal["device", "receive", "file", "synthetic"]
TrackState = Literal["new", "tracked", "lost", "removed"]
Box = tuple[float, float, float, float]
"""x0, y0, x1, y1 in source pixels, x right, y down, half-open: 0 <= x <= width."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Frame:
    """One picture and when it was taken.

    `image` is RGB, uint8, (H, W, 3).  `index` counts the frames of the source from 0.  `reset` is set by a source
    on the first frame after a discontinuity (reconnect, seek, another resolution) and names the reason.
    """

    image: UInt8Array
    stamp_ns: int
    index: int
    source: str
    frame_id: str = "camera"
    clock: Clock = "media"
    stamp_source: StampSource = "file"
    reset: str | None = None

    @property
    def height(self) -> int:
        """Pixels."""
        return int(self.image.shape[0])

    @property
    def width(self) -> int:
        """Pixels."""
        return int(self.image.shape[1])


@dataclass(frozen=True, kw_only=True, slots=True)
class EntityBox:
    """A thing that the user's own detector found; the box may reach beyond the frame.  `score` is in 0..1."""

    label: str
    box_xyxy: Box
    score: float = 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class EntityBoxes:
    """All that the user's own detector found in the frame of `stamp_ns`, also when that is nothing."""

    stamp_ns: int
    boxes: tuple[EntityBox, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Hypothesis:
    """One candidate label of a track and its probability in 0..1."""

    label: str
    score: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Track:
    """One entity over time.

    `id` is never reused within a session.  `score` is the probability that something is there at all,
    `label_score` that of `label` given that.  `mask_index` is the value of this entity in `Masks.index`, or None
    when no mask shows it now.  `query` is the user's text when this track answers a query.
    """

    id: int
    label: str
    label_index: int
    label_score: float
    score: float
    state: TrackState
    box_xyxy: Box
    mask_index: int | None
    first_seen_ns: int
    last_seen_ns: int
    hypotheses: tuple[Hypothesis, ...] = ()
    query: str | None = None
    embedding: FloatArray | None = field(default=None, compare=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class Alternative:
    """A caption that was considered, with its probability in 0..1."""

    text: str
    score: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Caption:
    """One action segment: updated while it lasts, closed once with `final=True`."""

    segment_id: int
    text: str
    score: float
    start_ns: int
    end_ns: int
    final: bool
    track_ids: tuple[int, ...] = ()
    alternatives: tuple[Alternative, ...] = ()

    @property
    def held(self) -> bool:
        """Whether another phrase is likelier now and waits to take over."""
        return bool(self.alternatives) and self.alternatives[0].score > self.score


@dataclass(frozen=True, kw_only=True, slots=True)
class Relation:
    """`subject_id` —`predicate`→ `object_id`, both track ids, with a score in 0..1, since `start_ns`."""

    subject_id: int
    predicate: str
    object_id: int
    score: float
    start_ns: int


@dataclass(frozen=True, kw_only=True, slots=True)
class QueryAnswer:
    """What is known of a text that the user asks for: one answer a query and hop, "absent" (not `present`) included.

    `kind` says whether the text names a thing or something that is done.  `score` is the probability that it is there
    now; a measured one when `calibrated`, see `QueryCalibration`.  `track_ids` are the tracks that answer, best first,
    with `track_scores`: of an entity, how surely each is what the text says; of an action, how much each has to do with
    it (they sum to at most 1).  Both are empty when it is absent, and for a model without entities.
    """

    text: str
    kind: Literal["entity", "action"]
    present: bool
    score: float
    calibrated: bool = False
    track_ids: tuple[int, ...] = ()
    track_scores: tuple[float, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Masks:
    """Soft entity masks of the window's newest frame on the model's own grid.

    `probability` is float32 (N, h, w) in 0..1; row `i` belongs to the track whose `mask_index` is `i + 1`.
    `to_source` is the 2x3 affine that takes continuous mask coordinates (x right, y down, half-open pixels) to
    source pixels.
    """

    probability: FloatArray
    to_source: npt.NDArray[np.float64]

    @property
    def index(self) -> UInt8Array:
        """Hard masks (h, w): 0 is background, `i + 1` the entity with the largest probability, if that is over 0.5."""
        n, h, w = self.probability.shape
        if n == 0:
            return np.zeros((h, w), np.uint8)
        best = self.probability.argmax(0)
        return np.where(self.probability.max(0) > 0.5, best + 1, 0).astype(np.uint8)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Perception:
    """What one step made of a frame: the stage's only output, stamped with the frame's own stamp.

    `tracks`, `masks` and `caption` describe `frame`, the newest of the window. `closed` holds the segments that
    ended with this step, each with `final=True`. `reset` names the reason when the state started afresh at this
    frame. `fresh` is False for a frame between two hops, which repeats the last result. `queries` has one answer
    for every text that is asked for. `notice` is a line about how good the result can be, such as that windows
    share no frame because the model is too slow.
    """

    frame: Frame
    stamp_ns: int
    window_start_ns: int
    window_end_ns: int
    tracks: tuple[Track, ...] = ()
    caption: Caption | None = None
    closed: tuple[Caption, ...] = ()
    relations: tuple[Relation, ...] = ()
    queries: tuple[QueryAnswer, ...] = ()
    masks: Masks | None = None
    reset: str | None = None
    fresh: bool = True
    notice: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class NetworkOutput:
    """What a backend returns for one window (all float32).

    video_embedding: (D,), L2-normalised, in the joint text space.
    entity_embeddings: (E, D), L2-normalised, in the joint text space; None for a model without entities.
    entity_probability: (T, h, w, E), probability of the entity given the patch, sums to 1 over E.
    entity_attention: (E, E), how much each entity attended to each other in the decoder, the mean over layers and
        heads; None from a backend or a network that has no such thing.
    """

    video_embedding: FloatArray
    entity_embeddings: FloatArray | None = None
    entity_probability: FloatArray | None = None
    entity_attention: FloatArray | None = None


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class SavedNetworkState:
    """What causal weights remember of a stream, as files hold it; a `NetworkState` that every backend takes.

    arrays: (T, 1, …) by layer, written to in place.  frames: steps since the start.  filled: of the last T, how many
    the arrays hold.
    """

    arrays: Mapping[str, npt.NDArray[Any]]
    frames: int
    filled: int

    def reset(self) -> SavedNetworkState:
        """The state of a stream that has seen nothing; consumes this one."""
        for array in self.arrays.values():
            array[...] = 0
        return replace(self, filled=0)

    def to_host(self) -> SavedNetworkState:
        """Itself."""
        return self


@dataclass(frozen=True, kw_only=True, slots=True)
class Calibration:
    """Probability = 1 / (1 + exp(-(slope * log odds + offset))); from `threshold` on a query counts as present."""

    slope: float = 1.0
    offset: float = 0.0
    threshold: float = 0.5


@dataclass(frozen=True, kw_only=True, slots=True)
class QueryCalibration:
    """From what the network says of a query to how often that is right, for things and for actions.

    Fitted on data that was not trained on: `python training/calibrate.py`.
    """

    entity: Calibration = Calibration()
    action: Calibration = Calibration()


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelSpec:
    """What the rest of the program must know about the weights; never the network itself.

    `mean` and `std` are on the 0..255 scale, RGB.  `span_s` is the time from the first to the last of the
    `num_frames` sampled frames.  `background` is the text whose similarity marks a slot that holds nothing (None
    when the weights were not trained with one).  `attention`: how the network was trained to run, see
    docs/streaming.md.  `temperature` divides cosines before every softmax.  `queries` is None for weights whose answers
    to queries were never held against the truth.
    """

    model_id: str
    image_size: int
    num_frames: int
    span_s: float
    embed_dim: int
    capabilities: frozenset[str]
    resize: Literal["crop", "squash", "letterbox"] = "crop"
    mean: tuple[float, float, float] = (127.5, 127.5, 127.5)
    std: tuple[float, float, float] = (127.5, 127.5, 127.5)
    num_entities: int = 0
    grid: int = 0
    attention: Literal["window", "causal"] = "window"
    temperature: float = 0.05
    background: str | None = None
    nouns: tuple[str, ...] = ()
    verbs: tuple[str, ...] = ()
    phrases: tuple[str, ...] = ()
    queries: QueryCalibration | None = None
    synthetic: bool = False
    """True when the weights know only the synthetic world: labels on real video then mean nothing."""
