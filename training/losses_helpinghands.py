"""HelpingHands' losses, kept as named variants to compare with; the paper's own are in `training.losses`."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from training.matching import match_nouns
from training.numerics import cosine, in_float32, mean_or_zero, normalize


@in_float32
def mean_log_nce(similarity: Tensor, positives: Tensor, temperature: float = 0.07) -> Tensor:
    """Both directions, summed, with the logarithm *inside* the sum over positives.

    Args:
        similarity: (R, C) cosine of caption rows and video columns; R may exceed C when a video has several captions.
        positives: (R, C) bool; every row and every column needs at least one.
        temperature: divides the cosine.

    Returns:
        Scalar.
    """
    logits = similarity / temperature
    weight = positives.to(logits.dtype)
    rows = (logits.log_softmax(1) * weight).sum(1) / weight.sum(1)
    columns = (logits.log_softmax(0) * weight).sum(0) / weight.sum(0)
    return -rows.mean() - columns.mean()


@in_float32
def ego_nce_mean_log(text: Tensor, video: Tensor, positives: Tensor, temperature: float = 0.07) -> Tensor:
    """HelpingHands' EgoNCE on embeddings; see `mean_log_nce`.

    Args:
        text: (R, D); `R = captions * N` rows, grouped by video.
        video: (N, D).
        positives: (R, N) bool.
        temperature: divides the cosine.

    Returns:
        Scalar.
    """
    return mean_log_nce(cosine(text, video), positives, temperature)


@in_float32
def word_contrastive(
    entities: Tensor, nouns: Tensor, dictionary: Tensor, temperature: float = 0.07, synonym_cosine: float = 0.6
) -> Tensor:
    """HelpingHands' noun loss: nouns matched to slots on cosine, then classified among all nouns of the dictionary.

    Other nouns whose cosine with the target exceeds `synonym_cosine` get the cosine -1, so they still weigh a little.

    Args:
        entities: (N, E, D) slots.
        nouns: (N, K) long index into the dictionary, -1 for padding.
        dictionary: (V, D) noun embeddings.
        temperature: divides the cosine.
        synonym_cosine: from here on two nouns are not set against each other.

    Returns:
        Scalar mean over all matched nouns; 0 without any.
    """
    slots, words = normalize(entities), normalize(dictionary)
    similarity = words[nouns.clamp_min(0)] @ slots.transpose(1, 2)  # (N, K, E)
    slot = match_nouns(similarity, nouns >= 0)
    clip, k = (slot >= 0).nonzero(as_tuple=True)
    target = nouns[clip, k]
    logits = slots[clip, slot[clip, k]] @ words.T
    synonym = (words[target] @ words.T > synonym_cosine) & (
        torch.arange(len(words), device=nouns.device) != target[:, None]
    )
    loss = F.cross_entropy(logits.masked_fill(synonym, -1.0) / temperature, target, reduction="none")
    return mean_or_zero(loss)
