"""Scores, on NumPy arrays alone."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

QUESTION_TYPES = {1: "inter", 2: "intra"}
"""EgoMCQ's own codes.  The official function prints the two names swapped; here they follow the data."""


def multiple_choice_accuracy(scores: npt.ArrayLike, labels: npt.ArrayLike, types: npt.ArrayLike) -> dict[str, float]:
    """Percent of questions whose best choice is right, by type (EgoMCQ).

    Args:
        scores: (N, C) score of each choice; the first of equal ones is taken.
        labels: (N,) index of the right choice.
        types: (N,) 1 = inter, 2 = intra.

    Returns:
        {"inter": …, "intra": …} in 0..100; a type without questions is left out.

    Raises:
        ValueError: shapes that don't fit, or a type other than 1 and 2.
    """
    scores, labels, types = np.asarray(scores), np.asarray(labels), np.asarray(types)
    if scores.ndim != 2 or labels.shape != scores.shape[:1] or types.shape != labels.shape:
        raise ValueError(
            f"scores {scores.shape}, labels {labels.shape}, types {types.shape}: expected (N, C), (N,), (N,)"
        )
    strange = sorted(set(types.tolist()) - set(QUESTION_TYPES))
    if strange:
        raise ValueError(f"question types {strange}: expected 1 (inter) or 2 (intra)")
    right = scores.argmax(1) == labels
    return {
        name: 100 * float(right[types == code].mean()) for code, name in QUESTION_TYPES.items() if (types == code).any()
    }


def adjusted_rand_index_fg(pred: npt.ArrayLike, true: npt.ArrayLike) -> float:
    """FG-ARI: adjusted Rand index of two segmentations over the pixels that are foreground in the truth.

    Args:
        pred: (H, W) int, any labels.
        true: (H, W) int, 0 is background.

    Returns:
        At most 1; around 0 by chance.  1 when both put every pixel in one segment, NaN without foreground.
    """
    pred, true = np.asarray(pred), np.asarray(true)
    if pred.shape != true.shape:
        raise ValueError(f"pred {pred.shape} and true {true.shape} differ in shape")
    foreground = true != 0
    if not foreground.any():
        return float("nan")
    _, a = np.unique(true[foreground], return_inverse=True)
    _, b = np.unique(pred[foreground], return_inverse=True)
    table = np.zeros((a.max() + 1, b.max() + 1))
    np.add.at(table, (a.ravel(), b.ravel()), 1)

    def pairs(counts: npt.NDArray[np.float64]) -> float:
        return float((counts * (counts - 1) / 2).sum())

    together, in_true, in_pred = pairs(table), pairs(table.sum(1)), pairs(table.sum(0))
    all_pairs = max(pairs(np.array([table.sum()])), 1.0)
    expected, best = in_true * in_pred / all_pairs, (in_true + in_pred) / 2
    return 1.0 if best == expected else (together - expected) / (best - expected)


def mask_iou(pred: npt.ArrayLike, true: npt.ArrayLike) -> float:
    """IoU of two boolean masks of one shape, 0..1; NaN when both are empty."""
    pred, true = np.asarray(pred, bool), np.asarray(true, bool)
    union = np.count_nonzero(pred | true)
    return np.count_nonzero(pred & true) / union if union else float("nan")


def mean_iou(pred: npt.ArrayLike, true: npt.ArrayLike) -> float:
    """Mean IoU over the instances that the truth shows.

    Args:
        pred: (N, H, W) bool.
        true: (N, H, W) bool; an instance without a pixel is left out.

    Returns:
        0..1; NaN when no instance is left.
    """
    scores = [mask_iou(p, t) for p, t in zip(np.asarray(pred, bool), np.asarray(true, bool), strict=True) if t.any()]
    return float(np.mean(scores)) if scores else float("nan")


def trivial_masks(
    entities: npt.NDArray[np.bool_], centre: float, rng: np.random.Generator
) -> dict[str, npt.NDArray[np.bool_]]:
    """What grounding must beat: answers that never look at the noun.

    Args:
        entities: (E, H, W) hard masks of the slots.
        centre: edge of the centre box as a fraction of the frame's, 0..1.
        rng: draws the random entity.

    Returns:
        (H, W) masks "whole_frame", "centre_box" and "random_entity".
    """
    count, height, width = entities.shape
    box = np.zeros((height, width), bool)
    top, left = round(height * (1 - centre) / 2), round(width * (1 - centre) / 2)
    box[top : height - top, left : width - left] = True
    return {
        "whole_frame": np.ones((height, width), bool),
        "centre_box": box,
        "random_entity": entities[rng.integers(count)],
    }
