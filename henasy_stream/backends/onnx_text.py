"""Texts of a bundle, embedded by ONNX Runtime on the CPU, whatever executes the rest: each is embedded only once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime as ort

from henasy_stream.backends.bundle import Bundle
from henasy_stream.backends.token_batches import by_length
from henasy_stream.errors import UserError
from henasy_stream.model.tokenizer import ClipTokenizer
from henasy_stream.types import FloatArray

_SMALL_BYTES = 64 << 20
"""Smaller graphs are too short for threads."""


class OnnxText:
    """The text graph of a bundle."""

    def __init__(self, bundle: Bundle) -> None:
        self._session = cpu_session(bundle.path("text"))
        self._tokenizer = ClipTokenizer(bundle.manifest.context)
        self._width = bundle.manifest.spec.embed_dim

    def embed(self, texts: Sequence[str]) -> FloatArray:
        """See `Backend.embed_texts`."""
        found = np.empty((len(texts), self._width), np.float32)
        for rows, tokens in by_length(self._tokenizer(list(texts))):
            found[rows] = self._session.run(["text_embedding"], {"tokens": tokens})[0]
        return found


def cpu_session(path: Path) -> ort.InferenceSession:
    """A graph on the CPU.

    Raises:
        UserError: the runtime does not take it.
    """
    options = ort.SessionOptions()
    if path.stat().st_size < _SMALL_BYTES:
        options.intra_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # spinning takes the cores of others
    options.log_severity_level = 3
    try:
        return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # noqa: BLE001 - the runtime has no common class for them
        reason = " ".join(str(error).split())[:160]
        raise UserError(f"ONNX Runtime {ort.__version__} does not run {path}: {reason}") from None
