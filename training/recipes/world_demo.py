"""The weights that ship with the package: a HENASY for one CPU thread, from scratch on the synthetic world.

    python training/pretrain.py --recipe world_demo --seed 2

Minutes and scores: henasy_stream/weights/demo.md, the card of the shipped weights.

There is no pretrained tower, so two things differ from the paper's recipe: both towers learn something before the run,
the text tower from sentences, which is frozen then, the video tower from named boxes of single frames, which goes on
learning; and losses beyond the paper's (`training/losses_extra.py`) tie a name to the slot that shows it.
"""

from __future__ import annotations

from dataclasses import replace

from henasy_stream.config import HenasyConfig, VocabularyConfig
from henasy_stream.sources.world import HAND, NOUNS, VERBS, phrases
from training.config import OptimConfig, Recipe, WorldData
from training.data.world_pool import BACKGROUND

VOCABULARY = VocabularyConfig(
    nouns=(*NOUNS, HAND), verbs=VERBS, phrases=phrases(), background=BACKGROUND, synthetic=True
)

RECIPE = Recipe(
    name="world_demo",
    model=replace(HenasyConfig.demo(), vocabulary=VOCABULARY),
    optim=OptimConfig(lr=2e-3, weight_decay=0.05, warmup=100, schedule="cosine", clip=1.0, average=0.998),
    data=WorldData(clips=30_000, cut=15_000, labelled_boxes=True, text_steps=400, tower_steps=1_500),
    freeze=("text",),
    losses={
        "ego": 1.0,
        "noun_entity_box": 1.5,
        "verb_entities": 0.5,
        "projection": 1.0,
        "slot_grounding": 0.5,
        "presence": 0.5,
        "box_fill": 1.0,
        "box_inside": 0.3,
        "tower_ego": 0.5,
        "tower_nouns": 2.0,
    },
    batch=16,
    steps=4_000,
    eval_every=500,
)
