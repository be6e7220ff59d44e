"""Texts to embeddings: a frozen tower embeds each text once.

Shapes: N texts, J joint width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from henasy_stream.config import HenasyConfig
from henasy_stream.model.grouping import at_least_float32
from training.batches import token_table

MAX_KEPT = 500_000
"""So many embeddings are kept; at the paper's width half a gigabyte."""
_BATCH = 64


class TextBank:
    """Embeds texts, L2-normalised.

    encode: (N, L) token ids → (N, J).  frozen: keep embeddings and let no gradient through.
    """

    def __init__(
        self, encode: Callable[[Tensor], Tensor], config: HenasyConfig, *, frozen: bool, device: torch.device
    ) -> None:
        self._encode, self._config, self._frozen, self._device = encode, config, frozen, device
        self._kept: dict[str, Tensor] = {}

    def __call__(self, texts: Sequence[str]) -> Tensor:
        """(N, J) on the run's device, never in half precision."""
        if not self._frozen:
            return self._embed(texts)
        new = [text for text in dict.fromkeys(texts) if text not in self._kept]
        fresh = self._fresh(new) if new else {}
        found = torch.stack([self._kept[text] if text in self._kept else fresh[text] for text in texts])
        if len(self._kept) + len(fresh) <= MAX_KEPT:
            self._kept |= fresh
        return found

    @torch.no_grad()
    def _fresh(self, texts: list[str]) -> dict[str, Tensor]:
        # A resumed run meets texts in other batches.  On a CPU a product's rounding depends on the row's place, so each
        # text runs alone there; on a GPU it depends on the number of rows, so a batch is always full there.
        size = 1 if self._device.type == "cpu" else _BATCH
        full = texts + texts[:1] * (-len(texts) % size)
        parts = [self._embed(full[at : at + size]) for at in range(0, len(full), size)]
        return dict(zip(texts, torch.cat(parts), strict=False))

    def _embed(self, texts: Sequence[str]) -> Tensor:
        tokens = token_table(texts, self._config).to(self._device)
        return F.normalize(at_least_float32(self._encode(tokens)), dim=-1)
