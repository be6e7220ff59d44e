"""The arguments of `pretrain.py`: which recipe, what of it is changed, and where its run lies."""

from __future__ import annotations

import difflib
import importlib
import math
import os
import pkgutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import training.recipes
from henasy_stream._arguments import Parser
from henasy_stream.config import HenasyConfig, VocabularyConfig
from henasy_stream.errors import UserError
from henasy_stream.loading import weights_file
from henasy_stream.model.checkpoints import load_weights
from training.config import ClipData, OwnData, Recipe
from training.logbook import check_tensorboard
from training.losses import LOSSES

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True, kw_only=True)
class Options:
    """recipe: with all changes.  out: folder of the run.  pools: folder of rendered clips.  dry_run: train nothing.

    tensorboard: write its events as well.
    """

    recipe: Recipe
    out: Path
    pools: Path
    dry_run: bool
    tensorboard: bool


def recipe_names() -> list[str]:
    """Modules of `training/recipes`."""
    return sorted(module.name for module in pkgutil.iter_modules(training.recipes.__path__))


def load_recipe(name: str) -> Recipe:
    """Raises UserError for a name that is not a module of `training/recipes`."""
    if name not in recipe_names():
        near = difflib.get_close_matches(name, recipe_names(), 1)
        hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(recipe_names())}"
        raise UserError(f"no recipe {name!r}; {hint}")
    return importlib.import_module(f"training.recipes.{name}").RECIPE


def weights_of(name: str) -> Path:
    """The file that `Recipe.init` names: "demo", "lavila" (downloaded once), a .safetensors, or a .pth of LaViLa's.

    Raises:
        UserError: there is none.
    """
    return weights_file(name, lambda line: print(line, file=sys.stderr))


def parse(argv: Sequence[str]) -> Options:
    """The options of a command line; exits with 0 after `--help` and with 2 for a field that the recipe does not have.

    Raises:
        UserError: another mistake.
    """
    parser = Parser(prog="pretrain.py", add_help=False, allow_abbrev=False)
    parser.add_argument("--recipe", default="")
    parser.add_argument("--data", default="")
    parser.add_argument("--out", type=Path, default=None)
    parser.add_argument("--pools", type=Path, default=ROOT / ".cache" / "pools")
    parser.add_argument("--dry-run", action="store_true")
    parser.add_argument("--tensorboard", action="store_true")
    own, rest = parser.parse_known_args(argv)
    description = (
        f"Pretrain HENASY.\n\n--recipe NAME   one of: {', '.join(recipe_names())} (default world_demo)\n"
        "--data FOLDER   one's own data, as prepare.py own has made it; stands for --recipe own_finetune --data.root\n"
        "--out DIR       checkpoints, log and weights (default runs/<recipe>-s<seed>); a run found there goes on\n"
        "--pools DIR     rendered clips, shared by runs (default .cache/pools)\n"
        "--tensorboard   log for TensorBoard as well, into DIR/tensorboard\n"
        "--dry-run       say what the run takes, parameters, FLOPs and memory, and stop\n\n"
        "The rest overrides fields of the recipe; a loss of weight 0 is off."
    )
    start = load_recipe(own.recipe or ("own_finetune" if own.data else "world_demo"))
    if own.data:
        start = replace(start, data=_folder(start, own.data))
    start = _with_sizes_of_weights(start, rest)
    if os.environ.get("NO_COLOR") or not sys.stderr.isatty():
        os.environ.setdefault("PYTHON_TYRO_ANSI_CODES", "False")  # which tyro reads when it is imported
    import tyro

    recipe = tyro.cli(
        Recipe,
        default=replace(start, losses={**start.losses, **{name: 0.0 for name in LOSSES if name not in start.losses}}),
        args=rest,
        description=description,
        prog="pretrain.py",
        config=(tyro.conf.AvoidSubcommands,),
    )
    recipe = replace(recipe, losses={name: weight for name, weight in recipe.losses.items() if weight})
    _refuse_nonsense(recipe)
    out = own.out or ROOT / "runs" / f"{recipe.name}-s{recipe.seed}"
    if own.tensorboard:
        check_tensorboard()
    return Options(recipe=recipe, out=out, pools=own.pools, dry_run=own.dry_run, tensorboard=own.tensorboard)


def _refuse_nonsense(recipe: Recipe) -> None:
    """UserError for a number that would stop the run later, or with an error that names something else."""
    for name in ("batch", "threads", "log_every", "eval_every", "checkpoint_every"):
        if getattr(recipe, name) < 1:
            raise UserError(f"--{name.replace('_', '-')} {getattr(recipe, name)}: give a whole number from 1")
    if recipe.steps < 0 or recipe.epochs < 0 or not (recipe.steps or recipe.epochs):
        raise UserError(f"--steps {recipe.steps} and --epochs {recipe.epochs}: there is nothing to do")
    if not 0 < recipe.optim.lr < math.inf:
        raise UserError(f"--optim.lr {recipe.optim.lr:g}: give a positive number")
    for name, weight in recipe.losses.items():
        if not 0 < weight < math.inf:
            raise UserError(f"--losses.{name.replace('_', '-')} {weight:g}: give a weight from 0")
    if not recipe.losses:
        raise UserError("every loss is off; give one a weight above 0, e.g. --losses.ego 1")
    if isinstance(recipe.data, ClipData) and recipe.data.workers < 0:
        raise UserError(f"--data.workers {recipe.data.workers}: give 0 or more")


def _folder(recipe: Recipe, root: str) -> OwnData:
    if not isinstance(recipe.data, OwnData):
        raise UserError(f"--data is for one's own data, {recipe.name} has its own; take --recipe own_finetune")
    return replace(recipe.data, root=root)


def _with_sizes_of_weights(recipe: Recipe, argv: Sequence[str]) -> Recipe:
    """A recipe that fits any weights takes the model of those to start from, not their words and calibration."""
    if not recipe.model_of_init:
        return recipe
    parser = Parser(prog="pretrain.py", add_help=False, allow_abbrev=False)
    parser.add_argument("--init", default=recipe.init)
    init: str = parser.parse_known_args(argv)[0].init
    if not init:
        return replace(recipe, init=init)
    model: HenasyConfig = load_weights(weights_of(init))[1]
    return replace(recipe, init=init, model=replace(model, vocabulary=VocabularyConfig(), queries=None))
