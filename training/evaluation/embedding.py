"""Clips and texts into the joint space, the same way for every evaluation and for HENASY and LaViLa alike.

Shapes: N clips, V views of a clip, T frames, S picture size, E entities, h mask grid, J joint width.
"""

from __future__ import annotations

import functools
import math
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from rich.console import Console
from rich.progress import track
from torch import Tensor

from henasy_stream.backends.torch_backend import read_network
from henasy_stream.config import HenasyConfig
from henasy_stream.errors import UserError
from henasy_stream.loading import weights_file
from henasy_stream.model.henasy import Henasy
from henasy_stream.model.lavila import DualEncoder
from training.batches import normalise, token_table
from training.data.chunks import LayoutName, VideoStore
from training.data.clip_reader import ClipReader
from training.data.loader import Read
from training.data.ordered import Clips, OrderedBatch, read_in_order
from training.data.records import ClipError
from training.data.sampling import Rule
from training.data.tables import checksum
from training.distributed import ranks_of_environment
from training.evaluation.sharded_clips import Embedded, embed_sharded

_TEXT_BATCH = 256
Vectors = npt.NDArray[np.float32]


class Observed(NamedTuple):
    """L2-normalised video (N, J) and entities (N, E, J); probability (N, T, h, h, E) of the entity given the place."""

    video: Vectors
    entities: Vectors
    probability: Vectors


@dataclass(frozen=True, kw_only=True)
class Videos:
    """Where the videos of an evaluation lie, see `VideoStore.open`, and how many processes decode them.

    shards: a folder through which torchrun's workers share the clips out.
    """

    root: Path
    layout: LayoutName = "auto"
    chunk_s: float | None = None
    workers: int = 0
    shards: Path | None = None

    def open(self, videos: Sequence[str]) -> VideoStore:
        """Find them; UserError where they are not there, before anything else is done."""
        tell = functools.partial(print, file=sys.stderr)
        return VideoStore.open(self.root, videos, layout=self.layout, chunk_s=self.chunk_s, report=tell)


@dataclass(frozen=True, kw_only=True, eq=False)
class Embedder:
    """A network in evaluation mode on its device.  batch: clips of a forward pass; path: the weights' file."""

    network: Henasy | DualEncoder
    config: HenasyConfig
    name: str
    path: Path
    device: torch.device
    batch: int = 16

    @property
    def kind(self) -> str:
        """What the weights are of: "henasy" or "lavila"."""
        return "henasy" if isinstance(self.network, Henasy) else "lavila"

    @torch.inference_mode()
    def texts(self, texts: Sequence[str], *, unit: bool = True) -> Vectors:
        """(len(texts), J) float32, L2-normalised or as the tower gives them; equal texts are embedded once."""
        places = {text: place for place, text in enumerate(dict.fromkeys(texts))}
        if not places:
            return np.zeros((0, self.config.embed_dim), np.float32)
        tokens = token_table(tuple(places), self.config)
        found = torch.empty(len(places), self.config.embed_dim)
        for rows in torch.split(tokens.argmax(1).argsort(), _TEXT_BATCH):  # alike in length: where the end token stands
            found[rows] = self.network.encode_text(tokens[rows].to(self.device)).float().cpu()
        return _finished(found[[places[text] for text in texts]], unit)

    @torch.inference_mode()
    def videos(self, frames: Tensor, *, unit: bool = True) -> Vectors:
        """(…, T, S, S, 3) uint8 RGB → (…, J) float32, L2-normalised or as the network gives them."""
        windows = frames.reshape(-1, *frames.shape[-4:])
        found = torch.cat([self._video(part).float().cpu() for part in torch.split(windows, self.batch)])
        return _finished(found.view(*frames.shape[:-4], -1), unit)

    @torch.inference_mode()
    def observe(self, frames: Tensor) -> Observed:
        """(N, T, S, S, 3) uint8 RGB → what the network sees of N clips; UserError for weights without entities."""
        out = self.entity_network()(self._input(frames))
        side = math.isqrt(out.probability.shape[2])
        return Observed(
            video=_finished(out.video.float().cpu(), unit=True),
            entities=_finished(out.entities.float().cpu(), unit=True),
            probability=out.probability.float().cpu().unflatten(2, (side, side)).numpy(),
        )

    def entity_network(self) -> Henasy:
        """The network; UserError where it has no entities to look at."""
        if isinstance(self.network, DualEncoder):
            raise UserError(f"{self.path}: a dual encoder has no entities to be grounded; give weights of HENASY")
        return self.network

    def _video(self, frames: Tensor) -> Tensor:
        video = self._input(frames)
        network = self.network
        return network.encode_video(video) if isinstance(network, DualEncoder) else network(video).video

    def _input(self, frames: Tensor) -> Tensor:
        return normalise(frames.to(self.device), self.config)


def _finished(vectors: Tensor, unit: bool) -> Vectors:
    return (F.normalize(vectors, dim=-1) if unit else vectors).numpy()


def open_embedder(
    weights: str,
    *,
    device: str = "auto",
    batch: int = 16,
    num_frames: int | None = None,
    report: Callable[[str], None] = lambda line: print(line, file=sys.stderr),
) -> Embedder:
    """Load HENASY's weights, a LaViLa checkpoint (`.pth`, converted once), "demo" or "lavila".

    Args:
        weights: file or name, as `live --weights` takes it.
        device: "auto" (a GPU where there is one), "cpu" or "cuda".
        batch: clips of a forward pass.
        num_frames: T; the temporal embedding is resampled as LaViLa does.  None: as the weights were trained.
        report: takes lines about downloads and conversions.

    Raises:
        UserError: no such weights, damaged ones, or a device that is not there.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise UserError("--device cuda: PyTorch sees no GPU here; give cpu or auto")
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda":  # several processes of a machine may share a GPU
        device = f"cuda:{ranks_of_environment().local % torch.cuda.device_count()}"
    path = weights_file(weights, report)
    network, config, name = read_network(path, num_frames=num_frames)
    placed = network.eval().requires_grad_(False).to(device)
    return Embedder(network=placed, config=config, name=name, path=path, device=torch.device(device), batch=batch)


def reader_of(embedder: Embedder, store: VideoStore, rule: Rule = "lavila") -> ClipReader:
    """What reads a clip the way these weights look at one."""
    config = embedder.config
    return ClipReader(
        store=store,
        frames=config.vision.num_frames,
        size=config.vision.image_size,
        resize=config.preprocess.resize,
        rule=rule,
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class EmbeddedClips:
    """vectors: (N, …, J); rows of unreadable clips are NaN.  readable: (N,) bool.  unreadable: the errors, by place."""

    vectors: Vectors
    readable: npt.NDArray[np.bool_]
    unreadable: dict[int, ClipError]


def embed_clips(
    embedder: Embedder,
    clips: Clips,
    read: Read,
    *,
    workers: int = 0,
    views: int = 1,
    unit: bool = True,
    shards: Path | None = None,
) -> EmbeddedClips:
    """Embed clips in their order.

    Args:
        embedder: the weights.
        clips: all of them.
        read: gives {"frames": (T, S, S, 3)} of a clip, or (V, T, S, S, 3).
        workers: processes that decode; 0 decodes in this one.
        views: V, so that a batch holds no more pictures than asked for.
        unit: L2-normalise.
        shards: a folder through which torchrun's workers share the work, see `embed_sharded`.

    Raises:
        UserError: no clip could be read at all; names the first.
    """

    def embed(rows: Iterable[int] | None) -> Iterator[Embedded]:
        for batch in read_clips(clips, read, batch=max(1, embedder.batch // views), workers=workers, rows=rows):
            yield from batch.unreadable
            if batch.rows:
                yield from zip(batch.rows, embedder.videos(batch.arrays["frames"], unit=unit), strict=True)

    vectors: Vectors | None = None
    unreadable: dict[int, ClipError] = {}
    settings = {"weights_sha256": checksum(embedder.path), "unit": unit} if shards else {}
    for row, outcome in embed_sharded(clips, read, embed, shards, settings) if shards else embed(None):
        if isinstance(outcome, ClipError):
            unreadable[row] = outcome
            continue
        if vectors is None:
            vectors = np.full((len(clips), *outcome.shape), np.nan, np.float32)
        vectors[row] = outcome
    if vectors is None:
        raise nothing_readable(len(clips), unreadable)
    readable = np.ones(len(clips), np.bool_)
    readable[list(unreadable)] = False
    return EmbeddedClips(vectors=vectors, readable=readable, unreadable=unreadable)


def read_clips(
    clips: Clips, read: Read, *, batch: int, workers: int, rows: Iterable[int] | None = None
) -> Iterator[OrderedBatch]:
    """`read_in_order` with a progress bar where a person looks on, unless only some `rows` are read."""
    yield from track(
        read_in_order(clips, read, batch=batch, workers=workers, rows=rows),
        description=f"{len(clips):,} clips",
        total=math.ceil(len(clips) / batch),
        console=Console(stderr=True),
        disable=rows is not None or not sys.stderr.isatty(),
    )


def nothing_readable(clips: int, unreadable: dict[int, ClipError]) -> UserError:
    """The error where no clip at all could be read."""
    first = next(iter(unreadable.values()), "there are none")
    return UserError(f"none of {clips:,} clips could be read; the first: {first}")
