"""Teach a text tower from scratch what differs in meaning, from sentences alone, before the video tower starts.

The paper's text tower is pretrained and frozen.  Trained together with a video tower that sees nothing yet, a new one
rather makes all nouns alike, since no guess is then badly wrong, and the nouns are learned late or never.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from training.losses import ego_nce
from training.numerics import cosine

TEMPERATURE = 0.05
BATCH = 128
LEARNING_RATE = 1e-3


def pretrain_text(
    encode: Callable[[Tensor], Tensor],
    parameters: list[torch.nn.Parameter],
    sentences: Tensor,
    meaning: npt.NDArray[np.int64],
    words: Tensor,
    *,
    steps: int,
    seed: int,
) -> float:
    """Sentences of one meaning are drawn together and others apart; the words of the dictionary are drawn apart.

    Args:
        encode: (N, L) token ids → (N, D).
        parameters: what `encode` trains.
        sentences: (M, L) token ids.
        meaning: (M,) class of each sentence.
        words: (V, L) token ids of the dictionary.
        steps: updates.
        seed: draws the sentences.

    Returns:
        The last loss.
    """
    optimizer = torch.optim.AdamW(parameters, lr=LEARNING_RATE)
    rng = np.random.default_rng(seed)
    same_word = torch.arange(len(words), device=words.device)
    loss = torch.zeros(())
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * min(1.0, (step + 1) / 20) * (1 - step / steps)
        first = rng.integers(len(sentences), size=BATCH)
        second = np.array([rng.choice(np.flatnonzero(meaning == meaning[row])) for row in first])
        alike = torch.from_numpy(meaning[first][:, None] == meaning[second][None]).to(sentences.device)
        one, other = encode(sentences[first]), encode(sentences[second])
        apart = encode(words)
        loss = sum(ego_nce(one, other, alike, TEMPERATURE), sentences.new_zeros((), dtype=torch.float32))
        loss = loss + F.cross_entropy(cosine(apart, apart) / TEMPERATURE, same_word)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return loss.item()
