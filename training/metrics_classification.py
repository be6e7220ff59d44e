"""Classification scores: top-k, mean class accuracy, actions marginalised to verbs and nouns, Charades' mAP.

N samples, C classes, A actions.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Matrix = npt.NDArray[np.float64]


def top_k_accuracy(logits: npt.ArrayLike, targets: npt.ArrayLike, ks: Sequence[int] = (1, 5)) -> tuple[float, ...]:
    """Percent of samples whose true class is among the k highest, for each k.

    Args:
        logits: (N, C); of equal ones the lower class ranks first.
        targets: (N,) in 0..C - 1.
        ks: each at most C, or all classes count.

    Raises:
        ValueError: shapes that don't fit, or a target that is no class.
    """
    logits, targets = _checked(logits, targets)
    order = np.argsort(-logits, axis=1, kind="stable")
    hits = order == targets[:, None]
    return tuple(100 * float(hits[:, :k].any(1).mean()) for k in ks)


def mean_class_accuracy(logits: npt.ArrayLike, targets: npt.ArrayLike) -> float:
    """Percent, averaged over the classes that occur among the true or the predicted ones (as EGTEA's evaluation does).

    A class that is predicted but never true counts as 0 and lowers the mean; one that is neither is left out.
    Arguments and errors as in `top_k_accuracy`.
    """
    logits, targets = _checked(logits, targets)
    predicted = logits.argmax(1)
    size = logits.shape[1]
    right = np.bincount(targets[predicted == targets], minlength=size)
    true = np.bincount(targets, minlength=size)
    union = (true > 0) | (np.bincount(predicted, minlength=size) > 0)
    return 100 * float((right[union] / np.maximum(true[union], 1)).mean())


def marginalise(probabilities: npt.ArrayLike, actions: npt.ArrayLike) -> tuple[Matrix, Matrix]:
    """Scores of verbs and of nouns: the sum over the actions that contain them.

    Args:
        probabilities: (N, A) probability of each action.
        actions: (A, 2) verb and noun of each action; all up to the highest index become classes.

    Returns:
        (N, verbs) and (N, nouns).  A verb or noun without an action gets the probability of action 0, as in the
        official evaluation, whose published numbers contain it.

    Raises:
        ValueError: shapes that don't fit.
    """
    probabilities, actions = np.asarray(probabilities, np.float64), np.asarray(actions)
    if probabilities.ndim != 2 or actions.shape != (probabilities.shape[1], 2):
        raise ValueError(f"probabilities {probabilities.shape}, actions {actions.shape}: expected (N, A) and (A, 2)")
    return _marginal(probabilities, actions[:, 0]), _marginal(probabilities, actions[:, 1])


def _marginal(probabilities: Matrix, classes: npt.NDArray[np.int64]) -> Matrix:
    members = np.zeros((probabilities.shape[1], int(classes.max()) + 1))
    members[np.arange(len(classes)), classes] = 1
    members[0, members.sum(0) == 0] = 1
    return probabilities @ members


def charades_map(scores: npt.ArrayLike, truth: npt.ArrayLike) -> tuple[float, Matrix]:
    """Mean average precision of a multi-label task, and (C,) the average precision of each class, 0..1.

    Args:
        scores: (N, C).
        truth: (N, C) 0 or 1; a sample without a label ranks behind all others.

    Returns:
        A class without positives is NaN, and so is then the mean.

    Raises:
        ValueError: arrays of different shape.
    """
    scores, truth = np.array(scores, np.float64), np.asarray(truth)
    if scores.ndim != 2 or scores.shape != truth.shape:
        raise ValueError(f"scores {scores.shape} and truth {truth.shape}: expected two (N, C)")
    scores[truth.sum(1) == 0] = -np.inf
    order = np.argsort(-scores, axis=0, kind="stable")
    hits = np.take_along_axis(truth, order, 0) == 1
    precision = hits.cumsum(0) / np.arange(1, len(hits) + 1)[:, None]
    with np.errstate(invalid="ignore"):
        per_class = (precision * hits).sum(0) / hits.sum(0)
    return float(per_class.mean()), per_class


def _checked(logits: npt.ArrayLike, targets: npt.ArrayLike) -> tuple[Matrix, npt.NDArray[np.int64]]:
    logits, targets = np.asarray(logits, np.float64), np.asarray(targets)
    if logits.ndim != 2 or targets.shape != logits.shape[:1]:
        raise ValueError(f"logits {logits.shape}, targets {targets.shape}: expected (N, C) and (N,)")
    if len(targets) and not (targets.min() >= 0 and targets.max() < logits.shape[1]):
        raise ValueError(f"targets {targets.min()}..{targets.max()}: expected 0..{logits.shape[1] - 1}")
    return logits, targets.astype(np.int64)
