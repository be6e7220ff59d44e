"""The paper's recipe on the synthetic world, small enough for its ablations on a CPU (docs/ablation.md).

    make ablation

Each run starts from towers that `training/ablations/towers.py` has trained, and leaves both as they are, as the paper
does with LaViLa's:

    python training/pretrain.py --recipe world_ablation --init towers-s0.safetensors --losses.projection 0

The paper's four losses with the paper's weights, its matchings and its hard negatives.  What differs is the size, the
learning rate, which is that of a small network, and that it falls.
"""

from __future__ import annotations

from dataclasses import replace

from henasy_stream.config import HenasyConfig
from training.config import OptimConfig, Recipe, WorldData
from training.recipes.world_demo import VOCABULARY

RECIPE = Recipe(
    name="world_ablation",
    model=replace(HenasyConfig.demo(), fine_masks=False, vocabulary=VOCABULARY),
    optim=OptimConfig(lr=1e-3, weight_decay=0.05, warmup=50, schedule="cosine", clip=1.0),
    data=WorldData(clips=20_000, cut=20_000, hard_negatives=True, val_clips=200),
    freeze=("video", "text"),
    losses={"ego": 1.0, "noun_entity": 0.5, "verb_entities": 0.5, "projection": 1.0},
    positives="noun_and_verb",
    box_matching="frame",
    batch=16,
    steps=500,
    device="cpu",
    eval_every=100_000,
)
