"""A backend that sees coloured squares, so that the stream can be tested without a network."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import cv2
import numpy as np

from henasy_stream.backends.base import NetworkState
from henasy_stream.types import FloatArray, Frame, ModelSpec, NetworkOutput, SavedNetworkState, UInt8Array

SECOND = 1_000_000_000
COLOURS = {"cup": (220, 30, 30), "knife": (30, 200, 30), "plate": (40, 60, 230), "book": (220, 210, 30)}
NOUNS = tuple(COLOURS)
VERBS = ("moves left", "moves right", "holds")
PHRASES = tuple(f"{verb} the {noun}" for verb in VERBS for noun in NOUNS)
GROUND = (90, 90, 90)
BACKGROUND = "background"
WIDTH = 32


def word_vector(word: str) -> FloatArray:
    seed = int.from_bytes(hashlib.sha256(word.encode()).digest()[:4], "little")
    vector = np.random.default_rng(seed).normal(size=WIDTH).astype(np.float32)
    return vector / np.linalg.norm(vector)


_KNOWN = np.linalg.qr(np.random.default_rng(0).normal(size=(WIDTH, WIDTH)))[0].astype(np.float32)
_VECTORS = {word: _KNOWN[i] for i, word in enumerate((*NOUNS, "hand", BACKGROUND, *VERBS))}


def text_vector(text: str) -> FloatArray:
    parts = [vector for word, vector in _VECTORS.items() if word in text]
    total = np.sum(parts, 0) if parts else word_vector(text)
    return (total / np.linalg.norm(total)).astype(np.float32)


class FakeBackend:
    """One slot for every connected square of a known colour, in an order that `shuffle` changes from window to window.

    A slot's embedding is its noun with a little noise; slots without a square, and the one that takes the ground, say
    "background".  The video embedding is the verb and noun of the square that moved most.
    """

    name = "fake"

    def __init__(
        self,
        *,
        entities: int = 6,
        shuffle: int | None = None,
        size: int = 64,
        num_frames: int = 4,
        span_s: float = 0.6,
        capabilities: Sequence[str] = ("caption", "entities", "queries"),
        model_id: str = "fake",
        attention: Literal["window", "causal"] = "window",
    ) -> None:
        has = "entities" in capabilities
        self.spec = ModelSpec(
            model_id=model_id,
            image_size=size,
            num_frames=num_frames,
            span_s=span_s,
            embed_dim=WIDTH,
            capabilities=frozenset(capabilities),
            num_entities=entities if has else 0,
            grid=size // 4 if has else 0,
            attention=attention,
            background=BACKGROUND,
            nouns=NOUNS,
            phrases=PHRASES,
        )
        self._rng = None if shuffle is None else np.random.default_rng(shuffle)
        self.windows = 0
        self.texts = 0

    def embed_texts(self, texts: Sequence[str]) -> FloatArray:
        self.texts += len(texts)
        return np.stack([text_vector(text) for text in texts])

    def initial_state(self) -> SavedNetworkState:
        """Of the causal form, which remembers the pictures of a window, the newest last."""
        size = self.spec.image_size
        return SavedNetworkState(
            arrays={"images": np.zeros((self.spec.num_frames, size, size, 3), np.uint8)}, frames=0, filled=0
        )

    def step(self, state: NetworkState, image: UInt8Array) -> tuple[SavedNetworkState, NetworkOutput]:
        """What `run_window` says of the pictures that are remembered, with the masks of the newest."""
        assert isinstance(state, SavedNetworkState)
        images = state.arrays["images"]
        images[:-1], images[-1] = images[1:].copy(), image
        filled = min(state.filled + 1, len(images))
        output = self.run_window(images[-filled:])
        if output.entity_probability is not None:
            output = replace(output, entity_probability=output.entity_probability[-1:])
        return replace(state, frames=state.frames + 1, filled=filled), output

    def run_window(self, clip: UInt8Array) -> NetworkOutput:
        self.windows += 1
        found, travel = _squares(clip)
        video = text_vector("holds")
        if travel:
            noun, distance = max(travel.items(), key=lambda item: abs(item[1]))
            verb = "holds" if abs(distance) < 1 else "moves right" if distance > 0 else "moves left"
            video = text_vector(f"{verb} the {noun}")
        if "entities" not in self.spec.capabilities:
            return NetworkOutput(video_embedding=video)
        slots, grid, frames = self.spec.num_entities, self.spec.grid, len(clip)
        embeddings = np.tile(text_vector(BACKGROUND), (slots, 1))
        probability = np.zeros((slots, frames, grid, grid), np.float32)
        for slot, (noun, masks) in enumerate(found[: slots - 1]):
            embeddings[slot] = text_vector(noun)
            for t, mask in enumerate(masks):
                probability[slot, t] = cv2.resize(mask.astype(np.float32), (grid, grid), interpolation=cv2.INTER_AREA)
        probability[-1] = 1.0 - probability[:-1].sum(0)
        order = np.arange(slots) if self._rng is None else self._rng.permutation(slots)
        noise = np.random.default_rng(self.windows).normal(scale=0.05 / WIDTH**0.5, size=embeddings.shape)
        embeddings = embeddings + noise.astype(np.float32)
        embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
        return NetworkOutput(
            video_embedding=video,
            entity_embeddings=embeddings[order],
            entity_probability=np.ascontiguousarray(np.moveaxis(probability[order], 0, -1)),
        )


def _squares(clip: UInt8Array) -> tuple[list[tuple[str, list[UInt8Array]]], dict[str, float]]:
    """Every square with its masks in all frames, linked from frame to frame by the nearest centre of its colour."""
    found: list[tuple[str, list[UInt8Array]]] = []
    travel: dict[str, float] = {}
    for noun, colour in COLOURS.items():
        tracks: list[tuple[list[UInt8Array], list[tuple[float, float]]]] = []
        for frame in clip[::-1]:  # the newest frame decides what is there
            near = (np.abs(frame.astype(int) - colour).max(-1) < 40).astype(np.uint8)
            count, parts, stats, centres = cv2.connectedComponentsWithStats(near)
            blobs = [(parts == i, tuple(centres[i])) for i in range(1, count) if stats[i, cv2.CC_STAT_AREA] > 8]
            if frame is clip[-1] or not tracks:
                tracks = tracks or [([], []) for _ in blobs]
            for masks, path in tracks:
                blob = min(blobs, key=lambda b: _distance(b[1], path[-1]) if path else 0, default=None)
                if blob is not None:
                    blobs = [other for other in blobs if other is not blob]
                masks.append(blob[0].astype(np.uint8) if blob else np.zeros(near.shape, np.uint8))
                path.append(blob[1] if blob else path[-1] if path else (0.0, 0.0))
        for masks, path in tracks:
            found.append((noun, masks[::-1]))
            distance = float(path[0][0] - path[-1][0])
            if abs(distance) >= abs(travel.get(noun, 0.0)):
                travel[noun] = distance
    return found, travel


def _distance(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    return float(np.hypot(a[0] - b[0], a[1] - b[1]))


@dataclass(frozen=True)
class Square:
    """A square of a noun's colour whose top left is at (x, y) + velocity (pixels a second) * time."""

    noun: str
    x: float
    y: float
    vx: float = 0.0
    vy: float = 0.0
    side: int = 40
    hidden: tuple[float, float] = (0.0, 0.0)

    def box(self, time_s: float) -> tuple[float, float, float, float] | None:
        if self.hidden[0] <= time_s < self.hidden[1]:
            return None
        x, y = round(self.x + self.vx * time_s), round(self.y + self.vy * time_s)
        return (x, y, x + self.side, y + self.side)


def paint(
    squares: Sequence[Square], time_s: float, *, index: int = 0, height: int = 240, width: int = 240, start_ns: int = 0
) -> Frame:
    image = np.full((height, width, 3), GROUND, np.uint8)
    for square in squares:
        box = square.box(time_s)
        if box is not None:
            x0, y0, x1, y1 = (max(0, int(v)) for v in box)
            image[y0:y1, x0:x1] = COLOURS[square.noun]
    return Frame(image=image, stamp_ns=start_ns + round(time_s * SECOND), index=index, source="squares")


def film(squares: Sequence[Square], seconds: float, *, fps: float = 20, **options: int) -> list[Frame]:
    return [paint(squares, i / fps, index=i, **options) for i in range(round(seconds * fps))]
