"""The picture of the ablation: each row's score here beside its score in the paper."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from henasy_stream.errors import UserError
from training.ablations.results import Results
from training.ablations.statistics import spread_of_rows

OURS, PAPER, INK, FAINT = "#0b6e8f", "#c2571a", "#1d2733", "#d7dde3"
PANELS = (("inter", "choice among other verbs and nouns"), ("intra", "choice within a verb or a noun"))


def draw(results: Results, path: Path) -> None:
    """Write a PNG: per kind of question a panel of ours and one of the paper, rows in the paper's order.

    Raises:
        UserError: matplotlib is not installed.
    """
    try:
        import matplotlib as mpl

        mpl.use("Agg")
        from matplotlib import pyplot as plt
    except ImportError:
        raise UserError("the plot needs matplotlib; pip install 'henasy-stream[train]'") from None

    rows = results.rows
    figure, axes = plt.subplots(
        1, 4, figsize=(12, 0.42 * len(rows) + 1.6), sharey=True, layout="constrained", width_ratios=(1.35, 1, 1.35, 1)
    )
    for (kind, meaning), (ours, paper) in zip(PANELS, (axes[:2], axes[2:]), strict=True):
        published = np.array([getattr(row, kind) for row in rows])
        order = np.argsort(-np.array([row.inter + row.intra for row in rows]), kind="stable")[::-1]
        scores = results.scores[kind][order]
        places = np.arange(len(rows))
        margin = spread_of_rows(results.scores[kind]).margin
        for axis in (ours, paper):
            axis.set_yticks(places, [rows[i].title for i in order])
            axis.grid(axis="x", color=FAINT, linewidth=0.8)
            axis.set_axisbelow(True)
            axis.tick_params(length=0, colors=INK)
            for side in axis.spines.values():
                side.set_visible(False)
            for place in places:
                axis.axhline(place, color=FAINT, linewidth=0.5, zorder=0)
        ours.scatter(scores, np.repeat(places[:, None], scores.shape[1], 1), s=16, color=OURS, alpha=0.45, linewidths=0)
        ours.scatter(scores.mean(1), places, s=52, color=OURS, zorder=3)
        low, high = ours.get_xlim()
        ours.set_xlim(min(low, high - 1.4 * margin), high)
        low, high = ours.get_xlim()
        bar = len(rows) - 0.35
        ours.plot([high - margin, high], [bar, bar], color=INK, linewidth=2.5, solid_capstyle="butt")
        ours.text(high - margin / 2, bar + 0.18, f"less is noise ({margin:.1f})", ha="center", va="bottom", fontsize=8)
        ours.set_ylim(-0.6, len(rows) + 0.35)
        paper.scatter(published[order], places, s=46, color=PAPER, marker="D")
        ours.set_title(f"{kind}, here", loc="left", color=OURS, fontsize=11, fontweight="bold")
        paper.set_title(f"{kind}, paper (EgoMCQ)", loc="left", color=PAPER, fontsize=11, fontweight="bold")
        ours.set_xlabel(f"%, {meaning}", fontsize=8, color=INK)
        paper.set_xlabel("%", fontsize=8, color=INK)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)
    plt.close(figure)
