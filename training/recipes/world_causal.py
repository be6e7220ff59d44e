"""The demo's network in causal form: it goes on where the weights that ship with the package ended, on longer clips.

    python training/pretrain.py --recipe world_causal

Minutes and scores: henasy_stream/weights/demo.md.

Losses and data are the demo's.  A clip begins up to two frames before the window that its narration tells of, so that
the network meets streams of every age, and each slot has to find itself again one frame later.
"""

from __future__ import annotations

from dataclasses import replace

from training.config import OptimConfig, WorldData
from training.recipes.world_demo import RECIPE as DEMO

RECIPE = replace(
    DEMO,
    name="world_causal",
    model=replace(DEMO.model, attention="causal"),
    init="demo",
    optim=OptimConfig(lr=1e-3, weight_decay=0.05, warmup=100, schedule="cosine", clip=1.0, average=0.995),
    data=WorldData(clips=20_000, cut=10_000, lead=2, labelled_boxes=True),
    losses={**DEMO.losses, "slot_consistency": 0.1},
    steps=2_500,
)
