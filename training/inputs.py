"""What the losses read of a batch, gathered from all ranks.

Shapes: N clips of a rank, R ranks, K nouns of a narration, V words.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from henasy_stream.model.henasy import Henasy
from training.batches import Batch, TrainingData
from training.config import Recipe
from training.distributed import Ranks, gather, gather_fields, shared
from training.losses import LossInputs, positive_mask
from training.network import observe
from training.texts import TextBank

_GATHERED = (
    *("video", "text", "verbs", "entities", "masks", "boxes", "box_noun", "nouns", "images", "tower", "patches"),
    "neighbour_entities",
)
_ONLY_FOR = {"images": "pairwise_affinity", "patches": "tower_nouns"}
"""Fields a hundred times the size of the others, and the loss that reads each: they are left out without it."""


def loss_inputs(
    model: Henasy, batch: Batch, data: TrainingData, texts: TextBank, recipe: Recipe, ranks: Ranks
) -> LossInputs:
    """Run the network on a rank's part of a batch; the result holds the R * N clips of all ranks.

    Args:
        model: in training mode.
        batch: this rank's part.
        data: says which words there are.
        texts: embeds them.
        recipe: names the losses; a large field that none of them reads is None.
        ranks: which of how many processes this is.
    """
    wanted = {field for field, loss in _ONLY_FOR.items() if recipe.losses.get(loss)}
    seen = observe(model, batch.video, patches="patches" in wanted)
    words = shared(texts([*data.dictionary, data.background or ""]), ranks)
    preprocess, device = model.config.preprocess, batch.video.device
    noun_tags = batch.nouns if batch.noun_tags is None else batch.noun_tags
    nouns, verbs = (
        _multi_hot(gather(tags, ranks), classes)
        for tags, classes in ((noun_tags, len(data.dictionary)), (batch.verbs, data.num_verbs))
    )
    part = LossInputs(
        video=seen.video,
        text=texts(batch.texts),
        verbs=texts(batch.phrases),
        positives=positive_mask(nouns, verbs, recipe.positives),
        entities=seen.entities,
        masks=seen.masks,
        boxes=batch.boxes,
        box_noun=batch.box_noun,
        per_frame=recipe.box_matching == "frame",
        nouns=batch.nouns,
        dictionary=words[:-1],
        background=None if data.background is None else words[-1],
        tower=seen.tower,
        patches=seen.patches,
        neighbour_entities=seen.before,
        images=batch.video if "images" in wanted else None,
        pixel_mean=torch.tensor(preprocess.mean, device=device),
        pixel_std=torch.tensor(preprocess.std, device=device),
    )
    return gather_fields(part, ranks, *_GATHERED)


def _multi_hot(tags: Tensor, classes: int) -> Tensor:
    """(N, K) classes, below 0 for padding → (N, classes) of 0 and 1."""
    return F.one_hot(tags + 1, classes + 1).amax(1)[:, 1:]
