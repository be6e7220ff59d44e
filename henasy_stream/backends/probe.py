"""Which backend runs weights here: each is tried with a step whose outputs are known, none is asked what it can do.

What a runtime lists is what was compiled into it; a driver, a card or a library may be missing all the same.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from henasy_stream.backends.base import Backend
from henasy_stream.backends.bundle import GOLDEN, check_file, read_manifest
from henasy_stream.errors import UserError

TOLERANCE = {"fp32": 1e-3, "fp16": 3e-2, "int8": 3e-2, "int8-qdq": 3e-2, "fp8-qdq": 3e-2}
"""Of outputs that are at most 1, by the precision of a bundle."""
STRAY = 0.01
"""Share of an output's values that may differ by more: rounding may give a token at the border to another group."""


@dataclass(frozen=True, kw_only=True)
class Golden:
    """One step and one text, and what the reference makes of them, without batch axis.

    pictures: (T, S, S, 3) of a window, (S, S, 3) of causal weights, whose memory is empty.  outputs: by field of
    `NetworkOutput`.  text: no part of the vocabulary, whose embeddings are known.  embedding: (D,), its own.
    """

    pictures: npt.NDArray[np.uint8]
    outputs: dict[str, npt.NDArray[np.float32]]
    text: str
    embedding: npt.NDArray[np.float32]
    tolerance: float

    @staticmethod
    def read(bundle: Path) -> Golden:
        """From the folder of a bundle, of whose files only this one is looked at.

        Raises:
            UserError: it is missing, changed or holds no step.
        """
        manifest = read_manifest(bundle)
        check_file(bundle, GOLDEN, manifest)
        try:
            with np.load(bundle / GOLDEN) as arrays:
                pictures = arrays["in.frame" if manifest.spec.attention == "causal" else "in.frames"][0]
                outputs = {key[4:]: arrays[key][0] for key in arrays if key.startswith("out.")}
                text, embedding = str(arrays["in.text"]), outputs.pop("text_embedding")
        except (KeyError, IndexError, ValueError) as error:
            raise UserError(f"{bundle / GOLDEN} holds no step of these weights ({error}); export it again") from None
        tolerance = TOLERANCE[manifest.precision]
        return Golden(pictures=pictures, outputs=outputs, text=text, embedding=embedding, tolerance=tolerance)

    def run(self, backend: Backend) -> float:
        """One step and one text; returns the seconds of the step.

        Raises:
            UserError: the outputs are others.
        """
        began = time.perf_counter()
        if backend.spec.attention == "causal":
            _, found = backend.step(backend.initial_state(), self.pictures)
        else:
            found = backend.run_window(self.pictures)
        taken = time.perf_counter() - began
        # cuDNN rounds the inputs of convolutions to TF32, which has as many bits of mantissa as half precision.
        tolerance = TOLERANCE["fp16"] if backend.name.endswith("cuda") else self.tolerance
        for name, wanted in self.outputs.items():
            if difference := _difference(getattr(found, name), name, wanted, tolerance):
                raise UserError(f"{backend.name} computes something else than the weights: {difference}")
        if difference := _difference(backend.embed_texts([self.text])[0], "text_embedding", self.embedding, tolerance):
            raise UserError(f"{backend.name} computes something else than the weights: {difference}")
        return taken


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A way to execute weights.

    open: imports and loads.  bundle: whose golden step tells, if there is one.  auto: whether it is tried when nobody
    asked for it.
    """

    name: str
    open: Callable[[], Backend]
    bundle: Path | None
    auto: bool = True


@dataclass(frozen=True, kw_only=True, eq=False)
class Attempt:
    """What came of trying a candidate: a backend that works, or the error.

    step_ms: of the fastest golden step, None without one.  opened: whether it was loaded, so that the step failed.
    """

    name: str
    backend: Backend | None = None
    step_ms: float | None = None
    error: Exception | None = None
    opened: bool = False

    @property
    def ok(self) -> bool:
        """Whether it works."""
        return self.backend is not None

    @property
    def reason(self) -> str:
        """Why it does not, in one line; empty when it does."""
        if self.error is None:
            return ""
        text = " ".join(str(self.error).split())
        return text if isinstance(self.error, UserError) else f"{type(self.error).__name__}: {text}"


def attempt(candidate: Candidate, *, steps: int = 1) -> Attempt:
    """Imports, loads, and runs the golden step so many times; whatever goes wrong is in the result."""
    opened = False
    try:
        backend = candidate.open()
        opened = True
        if candidate.bundle is None:
            return Attempt(name=candidate.name, backend=backend, opened=True)
        golden = Golden.read(candidate.bundle)
        fastest = min(golden.run(backend) for _ in range(steps))
    except Exception as error:  # noqa: BLE001 - a broken library fails in any way it likes
        return Attempt(name=candidate.name, error=error, opened=opened)
    return Attempt(name=candidate.name, backend=backend, step_ms=1000 * fastest, opened=True)


def first_that_works(candidates: Sequence[Candidate], report: Callable[[str], None]) -> Backend:
    """Tries them in order; `report` is told of each that is passed over.

    Raises:
        UserError: none works; names each reason.  The error of the only candidate is raised as it is.
    """
    refused: list[Attempt] = []
    for candidate in candidates:
        tried = attempt(candidate)
        if tried.backend is not None:
            return tried.backend
        refused.append(tried)
        if len(refused) < len(candidates):
            report(f"{tried.name} is passed over: {tried.reason}")
    error = refused[-1].error
    assert error is not None
    if len(refused) == 1:
        raise error
    raise UserError("no backend runs these weights: " + "; ".join(f"{t.name}: {t.reason}" for t in refused)) from error


def _difference(value: npt.NDArray[Any] | None, name: str, wanted: npt.NDArray[Any], tolerance: float) -> str:
    """In words; empty when there is none that counts."""
    if value is None or value.shape != wanted.shape:
        return f"{name} has shape {None if value is None else value.shape} instead of {wanted.shape}"
    wrong = ~(np.abs(value - wanted) <= tolerance)  # so that NaN is wrong
    if not np.isfinite(value).all() or wrong.mean() > STRAY:
        return f"{wrong.mean():.0%} of {name} differ by more than {tolerance:g}"
    return ""
