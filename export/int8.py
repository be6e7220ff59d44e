"""Products of whole numbers for CPUs, and what they cost in scores.

Differences of tensors say little here: rounding gives many tokens at a border to another group, and all that follows
moves.  So the scores on clips that no training saw decide.
"""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import msgspec
import numpy as np
import torch

from henasy_stream.backends.base import Backend
from henasy_stream.backends.bundle import Graph
from henasy_stream.errors import UserError
from henasy_stream.model.henasy import Henasy
from henasy_stream.types import FloatArray, UInt8Array
from training.data.world_pool import WorldPool, open_pool
from training.evaluation.world import Seen, score_seen

LARGEST_LOSS = 0.01
"""Of a score of at most 1."""
CLIPS = 400
_SCORES = ("inter", "intra", "verb", "noun", "noun_miou", "hand_miou", "fg_ari")


@dataclass(frozen=True, kw_only=True)
class Scores:
    """Of the graph before and after, by name, on held-out clips of the synthetic world.

    clip_ms: CPU time of a clip before and after, median.
    """

    before: dict[str, float]
    after: dict[str, float]
    clip_ms: tuple[float, float]

    @property
    def loss(self) -> float:
        """Of the score that lost most; below zero when all gained."""
        return max(self.before[name] - self.after[name] for name in self.before)

    @property
    def holds(self) -> bool:
        """Whether the quantised graph may stand for the network."""
        return self.loss <= LARGEST_LOSS


def quantise(folder: Path, graph: Graph) -> Graph:
    """Rewrites a float32 graph of a bundle and says what it then holds: no parity.

    Weights of products become int8 by column, what meets them int8 as it comes.  Seven bits of them are used, so that
    CPUs without instructions for it do not overflow.

    Raises:
        UserError: the weights lie beside the graph.
    """
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    if graph.data is not None:
        raise UserError(f"the weights of {graph.file} are too large for int8; take --precision fp16")
    path = folder / graph.file
    made = path.with_suffix(".int8")
    quantize_dynamic(
        path,
        made,
        op_types_to_quantize=["MatMul"],
        weight_type=QuantType.QInt8,
        per_channel=True,
        reduce_range=True,
    )
    made.replace(path)
    operators = Counter(node.op_type for node in onnx.load(str(path)).graph.node)
    return msgspec.structs.replace(graph, operators=dict(sorted(operators.items())))


def compare_scores(model: Henasy, before: Backend, after: Backend, *, clips: int = CLIPS) -> Scores:
    """Both forms on the same clips, which are rendered for it."""
    with tempfile.TemporaryDirectory() as folder:
        pool = open_pool(Path(folder), model.config, split="heldout", clips=clips, seed=1)
        (one, slow), (other, fast) = (_scores(model, backend, pool) for backend in (before, after))
    return Scores(before=one, after=other, clip_ms=(slow, fast))


def _scores(model: Henasy, backend: Backend, pool: WorldPool) -> tuple[dict[str, float], float]:
    outputs, taken = [], []
    for clip in pool.frames:
        before = time.process_time()
        outputs.append(_look(backend, np.asarray(clip)))
        taken.append(1e3 * (time.process_time() - before))
    video, entities, probability = (torch.from_numpy(np.stack(rows)) for rows in zip(*outputs, strict=True))
    found = score_seen(model, Seen(video=video, entities=entities, probability=probability), pool, seed=0).as_dict()
    return {name: round(found[name], 4) for name in _SCORES}, round(median(taken), 2)


def _look(backend: Backend, clip: UInt8Array) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Embeddings of the clip and of its entities, probabilities of all its frames."""
    if backend.spec.attention == "window":
        outputs = [backend.run_window(clip)]
    else:
        outputs, state = [], backend.initial_state()
        for frame in clip:
            state, output = backend.step(state, frame)
            outputs.append(output)
    last = outputs[-1]
    found = [output.entity_probability for output in outputs if output.entity_probability is not None]
    assert last.entity_embeddings is not None
    return last.video_embedding, last.entity_embeddings, np.concatenate(found)
