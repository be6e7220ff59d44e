"""Everything that a stream remembers, as one value of fixed size that can be saved, restored and started afresh."""

from __future__ import annotations

import contextlib
import hashlib
import os
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from henasy_stream.backends.base import NetworkState
from henasy_stream.errors import UserError
from henasy_stream.stream.outside import OutsideBook
from henasy_stream.stream.reader import Books, Result
from henasy_stream.stream.sampler import SampleRing
from henasy_stream.types import SavedNetworkState

FORMAT = 2


def fingerprint(*parts: object) -> str:
    """Of all that a state's arrays depend on; what `repr` tells apart differs."""
    return hashlib.sha256(repr(parts).encode("utf-8", "backslashreplace")).hexdigest()


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class StreamState:
    """State of one stream; `Engine.step` consumes it and returns the next.

    fingerprint: of the weights, the window, the vocabulary and the phrases that its arrays belong to.  network: what
    causal weights remember, on their device, None for others.  height, width, source: of the newest frame.  step_s:
    smoothed seconds that a window or a step took; busy_s: what the network took at the newest frame.  frames, samples,
    windows, resets: counters since the start.  hops: windows since the last reset.
    """

    fingerprint: str
    ring: SampleRing
    books: Books
    last: Result
    network: NetworkState | None = None
    height: int = 0
    width: int = 0
    source: str = ""
    step_s: float = 0.0
    busy_s: float = 0.0
    hops: int = 0
    frames: int = 0
    samples: int = 0
    windows: int = 0
    resets: int = 0

    @property
    def outside(self) -> OutsideBook:
        """Boxes of the user's own detector."""
        return self.books.outside

    def save(self, path: str | Path) -> None:
        """Writes the state as one npz file: the arrays, and everything else as JSON.  Nothing is pickled.

        Raises:
            UserError: the file cannot be written.
        """
        arrays: dict[str, Any] = {}

        def name(value: object) -> str:
            if not isinstance(value, np.ndarray):
                raise NotImplementedError(f"cannot save a {type(value).__name__}")
            arrays[f"array{len(arrays)}"] = value
            return f"array{len(arrays) - 1}"

        network = self.network.to_host() if self.network is not None else None
        text = msgspec.json.encode(replace(self, network=network), enc_hook=name)
        path = Path(path)
        part = path.with_name(f"{path.name}.{os.getpid()}.part")
        try:
            with part.open("wb") as file:
                np.savez(file, format=np.int64(FORMAT), json=np.frombuffer(text, np.uint8), **arrays)
            part.replace(path)
        except OSError as error:
            with contextlib.suppress(OSError):
                part.unlink()
            raise UserError(f"cannot save the stream state to {path}: {error.strerror or error}") from error

    @staticmethod
    def load(path: str | Path) -> StreamState:
        """The state that `save` wrote, exactly.

        Raises:
            UserError: the file cannot be read or is not a saved state of this version.
        """
        try:
            with np.load(path, allow_pickle=False) as archive:
                arrays = {key: archive[key] for key in archive.files}
        except FileNotFoundError as error:
            raise UserError(f"no stream state at {path}") from error
        except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
            raise UserError(f"{path} is not a saved stream state or is damaged: start afresh without it") from error
        if int(arrays.get("format", -1)) != FORMAT:
            raise UserError(f"{path} was not saved by this version: start afresh without it")

        def found(kind: type, value: Any) -> npt.NDArray[Any] | SavedNetworkState:
            if kind is NetworkState:
                return msgspec.convert(value, SavedNetworkState, dec_hook=found)
            return arrays[value]

        try:
            return msgspec.json.decode(arrays["json"].tobytes(), type=StreamState, dec_hook=found)
        except (KeyError, msgspec.MsgspecError) as error:
            raise UserError(f"{path} is not a saved stream state or is damaged: start afresh without it") from error
