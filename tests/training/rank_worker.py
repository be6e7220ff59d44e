"""A few steps of training on random clips, as one process or as one of several ranks."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from henasy_stream.model.henasy import Henasy
from training.batches import Batch
from training.config import Recipe
from training.distributed import ALONE, CPU, Ranks, process_group, ranks_of_environment
from training.trainer import Trainer

NOUNS = ("cup", "knife", "bread", "board")
VERBS = ("cuts", "lifts", "puts down")


@dataclass(frozen=True, kw_only=True)
class Case:
    """boxless: share of the clips, from the first on, that show no box.  broken: a picture of the last is no number."""

    recipe: Recipe
    boxless: float = 0.0
    broken: bool = False


@dataclass(frozen=True, kw_only=True)
class Found:
    """losses: of every step.  gradients: of the last step, after clipping.  weights: after several steps.

    error: why there was none.
    """

    losses: list[dict[str, float]]
    gradients: dict[str, Tensor]
    weights: dict[str, Tensor]
    error: str = ""


@dataclass(frozen=True, kw_only=True)
class Clips:
    """`TrainingData` of random clips with hard negatives: a rank brings its anchors, then their negatives."""

    case: Case
    ranks: Ranks
    dictionary: tuple[str, ...] = NOUNS
    background: str | None = "nothing"
    num_verbs: int = len(VERBS)
    steps_per_epoch: int = field(default=100)

    def batches(self, first: int) -> Iterator[Batch]:
        clips, vision = self.case.recipe.batch, self.case.recipe.model.vision
        mine = self.ranks.share(clips)
        rows = torch.cat([torch.arange(clips)[mine], clips + torch.arange(clips)[mine]])
        for step in range(first, first + 100):
            draw = torch.Generator().manual_seed(step)
            corner = torch.rand(2 * clips, vision.num_frames, 3, 2, generator=draw) * 0.6
            boxes = torch.cat([corner, corner + 0.1 + 0.3 * torch.rand(corner.shape, generator=draw)], -1)
            boxes[torch.rand(boxes.shape[:3], generator=draw) < 0.2] = torch.nan
            boxes[torch.arange(2 * clips) % clips < self.case.boxless * clips] = torch.nan
            noun = torch.randint(len(NOUNS), (2 * clips, 2), generator=draw)
            noun[torch.rand(2 * clips, generator=draw) < 0.3, 1] = -1
            verb = torch.randint(len(VERBS), (2 * clips, 1), generator=draw)
            size = vision.image_size
            spoken = [
                f"{VERBS[v]} the {NOUNS[n]}" for n, v in zip(noun[:, 0].tolist(), verb[:, 0].tolist(), strict=True)
            ]
            video = torch.randn(2 * clips, vision.num_frames, 3, size, size, generator=draw)
            if self.case.broken:
                video[-1] = torch.nan
            yield Batch(
                video=video[rows],
                boxes=boxes[rows],
                box_noun=torch.cat([noun, torch.full((2 * clips, 1), -1)], 1)[rows],
                nouns=noun[rows],
                verbs=verb[rows],
                texts=tuple(f"#C C {spoken[row]} {row}" for row in rows.tolist()),
                phrases=tuple(spoken[row] for row in rows.tolist()),
                key=f"part {self.ranks.rank} of step {step}",
            )

    def prepare(self, model: Henasy) -> None: ...

    def score(self, model: Henasy) -> dict[str, float]:
        return {}


def run(case: Case, ranks: Ranks = ALONE) -> Found:
    """In float64, so that what differs is a mistake and no rounding, and without noise, which each rank draws alone."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        trainer = Trainer(case.recipe, Clips(case=case, ranks=ranks), Path(), ranks=ranks)
        trainer.model.eval()  # Gumbel noise is the one thing that training mode switches on
        losses = [trainer.step() for _ in range(case.recipe.steps)]
    except FloatingPointError as error:
        return Found(losses=[], gradients={}, weights={}, error=str(error))
    finally:
        torch.set_default_dtype(before)
    named = dict(trainer.model.named_parameters())
    return Found(
        losses=losses,
        gradients={name: value.grad.clone() for name, value in named.items() if value.grad is not None},
        weights={name: value.detach() for name, value in named.items()} if case.recipe.steps > 1 else {},
    )


def main(folder: Path) -> None:
    """Run what FOLDER/cases.pickle lists, as torchrun's variables say, and write FOLDER/rank<r>.pickle."""
    ranks = ranks_of_environment()
    cases = pickle.loads((folder / "cases.pickle").read_bytes())
    with process_group(ranks, CPU):
        found = {name: run(case, ranks) for name, case in cases.items()}
    (folder / f"rank{ranks.rank}.pickle").write_bytes(pickle.dumps(found))
