"""What VSLNet (EgoNLQ) and VSGN (EgoMQ) read: video features of each clip, and the queries' text features.

Shapes: W windows of a clip, J joint width, L tokens of a query.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor

from henasy_stream.model.henasy import Henasy
from training.batches import token_table
from training.data.chunks import VideoStore
from training.data.ego4d import ClipSpan
from training.data.records import Clip, ClipError
from training.evaluation.embedding import Embedder
from training.evaluation.shards import Outcome
from training.extraction.windows import Windows, read_windows

QUERIES = "queries"
_TEXT_BATCH = 256


@dataclass(frozen=True, kw_only=True)
class Texts:
    """The queries of all clips, each text once; one item beside the clips."""

    texts: tuple[str, ...]


Wanted = ClipSpan | Texts


def key_of(item: Wanted) -> str:
    """The name of its file."""
    return QUERIES if isinstance(item, Texts) else item.clip


@dataclass(frozen=True, kw_only=True, eq=False)
class Extractor:
    """Features as the network gives them, not L2-normalised."""

    embedder: Embedder
    store: VideoStore
    windows: Windows

    def __call__(self, items: Iterator[Wanted]) -> Iterator[Outcome]:
        """An outcome for each item: (W, J), `text_features`, or why there is none."""
        for item in items:
            if isinstance(item, Texts):
                yield QUERIES, text_features(self.embedder, item.texts)
                continue
            try:
                yield item.clip, self._video_features(item)
            except ClipError as error:
                clip = Clip(video=item.video, start=item.start, end=item.end, key=item.clip)
                yield item.clip, ClipError(clip, error.path, error.reason)

    def fits(self, item: Wanted, content: Any) -> bool:
        """Whether a file holds what this would compute, as far as its shape tells."""
        if isinstance(item, Texts):
            return isinstance(content, dict) and tuple(content.get("sentences", ())) == item.texts
        shape = (self.windows.count(item), self.embedder.config.embed_dim)
        return isinstance(content, Tensor) and content.dtype == torch.float32 and tuple(content.shape) == shape

    def _video_features(self, span: ClipSpan) -> Tensor:
        preprocess, vision = self.embedder.config.preprocess, self.embedder.config.vision
        frames = read_windows(
            self.store, self.windows.of(span), self.windows.frames, size=vision.image_size, resize=preprocess.resize
        )
        parts = []
        while batch := list(islice(frames, self.embedder.batch)):
            parts.append(torch.from_numpy(self.embedder.videos(torch.from_numpy(np.stack(batch)), unit=False)))
        return torch.cat(parts)


@torch.inference_mode()
def text_features(embedder: Embedder, texts: Sequence[str]) -> dict[str, dict[str, Tensor]]:
    """For each text {"sentences": (J,), "tokens": (L, J)} float32, not L2-normalised.

    A sentence is read at its end token, as in training; tokens are those between start and end, put through the same
    final norm and projection, for models that attend over words.
    """
    network = embedder.network
    towers = network.towers if isinstance(network, Henasy) else network
    sentences: dict[str, Tensor] = {}
    tokens: dict[str, Tensor] = {}
    for first in range(0, len(texts), _TEXT_BATCH):
        batch = texts[first : first + _TEXT_BATCH]
        ids = token_table(batch, embedder.config)
        ends = ids.argmax(1).tolist()
        hidden = towers.text.encode(ids[:, : max(ends) + 1].to(embedder.device)) @ towers.text_projection
        for text, end, row in zip(batch, ends, hidden.float().cpu(), strict=True):
            sentences[text], tokens[text] = row[end].clone(), row[1:end].clone()
    return {"sentences": sentences, "tokens": tokens}
