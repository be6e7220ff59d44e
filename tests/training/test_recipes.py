"""The recipes: the paper's numbers line by line, and a switch for every row of its tables."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from henasy_stream.errors import UserError
from henasy_stream.model.entity_decoder import EntityDecoder
from henasy_stream.model.henasy import Henasy
from training.config import EgoClipData, OwnData, Recipe, WorldData
from training.losses import LOSSES, PAPER_LOSSES, TEMPERATURE
from training.network import freeze
from training.options import load_recipe, parse, recipe_names
from training.recipes.henasy_base_egoclip import RECIPE as PAPER
from training.trainer import Trainer

BASE = ("--recipe", "henasy_base_egoclip")


def changed(*argv: str) -> Recipe:
    return parse([*BASE, *argv]).recipe


def test_the_base_recipe_is_the_papers_line_by_line() -> None:
    model, vision, text = PAPER.model, PAPER.model.vision, PAPER.model.text
    # 4.1: TimeSformer-Base of LaViLa, frozen
    assert (vision.layers, vision.width, vision.heads, vision.patch_size, vision.image_size) == (12, 768, 12, 16, 224)
    assert vision.stem == "patch"
    assert PAPER.init == "lavila"
    assert set(PAPER.freeze) == {"video", "text"}
    # 4.2: D, G, E, S1, S2, S3; similarity of queries and keys, scaled
    assert (model.entity_width, model.num_groups, model.num_entities) == (512, 64, 8)
    assert (model.bootstrap_layers, model.grouping_layers, model.refine_layers) == (6, 3, 3)
    assert model.similarity == "scaled_dot"
    assert not model.fine_masks
    # 4.3: M
    assert (model.decoder, model.decoder_layers) == ("entity", 3)
    # the text encoder: 12 layers, context 77, 512 wide, 8 heads, joint embedding 256
    assert (text.layers, text.context, text.width, text.heads, model.embed_dim) == (12, 77, 512, 8, 256)
    # 4.4: L_ego + 0.5 NEC + 0.5 VEC + 1.0 Proj, temperature 0.05, nothing else
    assert dict(PAPER.losses) == {"ego": 1.0, "noun_entity": 0.5, "verb_entities": 0.5, "projection": 1.0}
    assert set(PAPER.losses) == set(PAPER_LOSSES)
    assert TEMPERATURE == model.temperature == 0.05
    assert PAPER.positives == "noun_and_verb"
    assert PAPER.box_matching == "frame"
    # 4.4: a clip of the same video near in time doubles the batch
    assert isinstance(PAPER.data, EgoClipData)
    assert (PAPER.data.negatives, PAPER.data.window_s) == (True, 60.0)
    # 5.1: 4 frames, AdamW, fixed rate 3e-5, batch 128, 5 epochs; boxes of frames that are squashed, as HelpingHands'
    assert vision.num_frames == 4
    assert model.preprocess.resize == "squash"
    assert (PAPER.batch, PAPER.epochs) == (128, 5)
    optim = PAPER.optim
    assert (optim.lr, optim.schedule, optim.warmup, optim.clip, optim.average) == (3e-5, "constant", 0, 0.0, 0.0)
    run = SimpleNamespace(recipe=PAPER, steps=150_000)
    assert [Trainer.learning_rate(run, step) for step in (0, 1, 75_000, 149_999)] == [3e-5] * 4  # type: ignore[arg-type]


def test_what_the_base_recipe_trains_is_what_the_paper_adds_to_lavila() -> None:
    with torch.device("meta"):
        model = Henasy(PAPER.model)
    freeze(model, PAPER.freeze)
    frozen = {name.split(".")[0] for name, p in model.named_parameters() if not p.requires_grad}
    trained = {name.split(".")[0] for name, p in model.named_parameters() if p.requires_grad}
    assert frozen == {"towers"}
    assert trained == {"entity_encoder", "entity_decoder", "text_space"}


LOSS_ROWS = {
    "ego only": ("--losses.noun-entity 0 --losses.verb-entities 0 --losses.projection 0", {"ego"}),
    "ego + NEC": ("--losses.verb-entities 0 --losses.projection 0", {"ego", "noun_entity"}),
    "ego + VEC": ("--losses.noun-entity 0 --losses.projection 0", {"ego", "verb_entities"}),
    "ego + projection": ("--losses.noun-entity 0 --losses.verb-entities 0", {"ego", "projection"}),
    "ego + NEC + VEC": ("--losses.projection 0", {"ego", "noun_entity", "verb_entities"}),
    "all": ("", {"ego", "noun_entity", "verb_entities", "projection"}),
}


@pytest.mark.parametrize("row", LOSS_ROWS)
def test_every_row_of_the_loss_table_is_a_command(row: str) -> None:
    argv, losses = LOSS_ROWS[row]
    recipe = changed(*argv.split())
    assert dict(recipe.losses) == {name: PAPER.losses[name] for name in losses}
    assert replace(recipe, losses=PAPER.losses) == PAPER


DESIGN_ROWS = {
    "average pooling": ("--model.decoder average", "average", True),
    "self-attention decoder": ("--model.decoder self_attention", "self_attention", True),
    "no bootstrapping": ("--model.bootstrap-layers 0", "entity", False),
    "complete": ("", "entity", True),
}


@pytest.mark.parametrize("row", DESIGN_ROWS)
def test_every_row_of_the_design_table_is_a_command(row: str) -> None:
    argv, decoder, bootstrapped = DESIGN_ROWS[row]
    recipe = changed(*argv.split())
    with torch.device("meta"):
        model = Henasy(recipe.model)
    assert isinstance(model.entity_decoder, EntityDecoder)
    assert model.entity_decoder.kind == decoder
    assert hasattr(model.entity_encoder, "bootstrap") == bootstrapped


def test_any_loss_of_any_recipe_is_switched_on_by_its_name() -> None:
    recipe = changed("--losses.ego", "0", "--losses.ego-mean-log", "1.5", "--losses.slot_grounding", "0.25")
    assert "ego" not in recipe.losses
    assert recipe.losses["ego_mean_log"] == 1.5
    assert recipe.losses["slot_grounding"] == 0.25
    assert set(recipe.losses) <= set(LOSSES)


def test_fields_at_any_depth() -> None:
    recipe = changed(
        "--optim.lr", "1e-4", "--model.num_entities", "12", "--positives", "identity", "--data.no-negatives",
        "--data.window-s", "30", "--freeze", "text", "--precision", "bfloat16", "--epochs", "0", "--steps", "7",
    )  # fmt: skip
    assert (recipe.optim.lr, recipe.model.num_entities, recipe.positives) == (1e-4, 12, "identity")
    assert isinstance(recipe.data, EgoClipData)
    assert (recipe.data.negatives, recipe.data.window_s) == (False, 30.0)
    assert (recipe.freeze, recipe.precision, recipe.epochs, recipe.steps) == (("text",), "bfloat16", 0, 7)


def test_data_of_another_kind_stays_out_of_the_way() -> None:
    assert isinstance(parse([]).recipe.data, WorldData)
    with pytest.raises(SystemExit):
        parse(["--data.annotations", "egoclip.csv"])


def test_a_folder_of_ones_own_is_enough() -> None:
    options = parse(["--data", "own/"])
    assert options.recipe.name == "own_finetune"
    assert options.recipe.data == OwnData(root="own/")
    assert parse(["--recipe", "own_finetune", "--data.root", "own/"]).recipe == options.recipe
    with pytest.raises(UserError, match="world_demo has its own; take --recipe own_finetune"):
        parse(["--recipe", "world_demo", "--data", "own/"])


def test_ones_own_model_is_that_of_the_weights(lavila_checkpoint: Path) -> None:
    demo = parse(["--data", "own/"]).recipe.model
    assert demo.vision == load_recipe("world_demo").model.vision
    assert demo.vocabulary.nouns == ()
    tiny = parse(["--data", "own/", "--init", str(lavila_checkpoint)]).recipe
    assert (tiny.model.vision.width, tiny.model.vision.layers, tiny.model.embed_dim) == (64, 3, 32)
    assert tiny.model.entity_width == 512
    assert tiny.init == str(lavila_checkpoint)
    scratch = parse(["--data", "own/", "--init", ""]).recipe
    assert (scratch.init, scratch.model) == ("", load_recipe("own_finetune").model)
    with pytest.raises(UserError, match=r"nowhere\.safetensors"):
        parse(["--data", "own/", "--init", "nowhere.safetensors"])


@pytest.mark.parametrize(
    ("argv", "reason"),
    [
        ("--batch 0", "--batch 0: give a whole number from 1"),
        ("--log-every 0", "--log-every 0"),
        ("--steps 0 --epochs 0", "nothing to do"),
        ("--epochs -1", "nothing to do"),
        ("--optim.lr nan", r"--optim\.lr nan: give a positive number"),
        ("--losses.noun-entity -1", "--losses.noun-entity -1: give a weight from 0"),
        ("--losses.ego nan", r"--losses\.ego nan"),
        (LOSS_ROWS["ego only"][0] + " --losses.ego 0", "every loss is off"),
        ("--data.workers -1", r"--data\.workers -1: give 0 or more"),
    ],
)
def test_numbers_that_make_no_sense_are_refused_before_anything_is_read(argv: str, reason: str) -> None:
    with pytest.raises(UserError, match=reason):
        changed(*argv.split())


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_names_itself_and_losses_that_there_are(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.name == name
    assert set(recipe.losses) <= set(LOSSES)
    assert all(math.isfinite(weight) and weight > 0 for weight in recipe.losses.values())
