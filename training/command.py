"""The command line of `pretrain.py`."""

from __future__ import annotations

import argparse
import difflib
import importlib
import pkgutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import tyro
from rich.console import Console

import training.recipes
from henasy_stream.errors import UserError
from training.config import Recipe
from training.data.opening import open_data
from training.distributed import device_of, first_rank_first, process_group, ranks_of_environment
from training.progress import progress_bar
from training.trainer import Trainer

ROOT = Path(__file__).resolve().parents[1]


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


def _parse(argv: Sequence[str]) -> tuple[argparse.Namespace, Recipe]:
    parser = argparse.ArgumentParser(prog="pretrain.py", add_help=False, allow_abbrev=False)
    parser.add_argument("--recipe", default="world_demo")
    parser.add_argument("--out", type=Path, default=None)
    parser.add_argument("--pools", type=Path, default=ROOT / ".cache" / "pools")
    own, rest = parser.parse_known_args(argv)
    description = (
        f"Pretrain HENASY.\n\n--recipe NAME   one of: {', '.join(recipe_names())} (default world_demo)\n"
        "--out DIR       checkpoints, log and weights (default runs/<recipe>-s<seed>); a run found there goes on\n"
        "--pools DIR     rendered clips, shared by runs (default .cache/pools)\n\n"
        "The rest overrides fields of the recipe."
    )
    recipe = tyro.cli(Recipe, default=load_recipe(own.recipe), args=rest, description=description, prog="pretrain.py")
    own.out = own.out or ROOT / "runs" / f"{recipe.name}-s{recipe.seed}"
    return own, recipe


def _claim(out: Path, recipe: Recipe) -> None:
    """Write the resolved recipe into `out`, or refuse a folder that another recipe has begun."""
    out.mkdir(parents=True, exist_ok=True)
    text = msgspec.json.format(msgspec.json.encode(recipe), indent=2)
    path = out / "recipe.json"
    if path.exists() and path.read_bytes() != text:
        raise UserError(f"{out} holds a run with other settings (see {path}); choose another --out or delete it")
    path.write_bytes(text)


def train(own: argparse.Namespace, recipe: Recipe) -> None:
    """Run a recipe to its end, telling a person how it goes; one of several ranks under torchrun."""
    ranks = ranks_of_environment()
    device = device_of(recipe.device, ranks)
    console = Console(stderr=True, quiet=ranks.rank > 0)
    with process_group(ranks, device):
        with first_rank_first(ranks):
            _claim(own.out, recipe)
        data = open_data(recipe, pools=own.pools, ranks=ranks, device=device, console=console)
        _run(Trainer(recipe, data, own.out, ranks=ranks, device=device), console)


def _run(trainer: Trainer, console: Console) -> None:
    recipe = trainer.recipe
    if trainer.resume():
        console.print(f"going on from step {trainer.done} of {trainer.steps}")
    parameters = sum(p.numel() for p in trainer.model.parameters())
    trained = sum(p.numel() for p in trainer.trained)
    console.print(
        f"{recipe.name}: {parameters / 1e6:.2f} M parameters, {trained / 1e6:.2f} M trained, batch {recipe.batch} on "
        f"{trainer.ranks.size} × {trainer.device}, {trainer.steps} steps"
    )
    with progress_bar(console) as progress:
        task = progress.add_task(recipe.name, total=trainer.steps, completed=trainer.done, note="")

        def report(step: int, values: dict[str, Any]) -> None:
            progress.update(task, completed=step, note=f"loss {values['loss']:.3f}")
            if any(name.startswith("val/") for name in values) or step % (10 * recipe.log_every) == 0:
                shown = "  ".join(f"{name.removeprefix('val/')} {value:.3f}" for name, value in values.items())
                console.print(f"step {step}: {shown}")

        weights = trainer.run(report)
    console.print(f"{trainer.seconds / 60:.1f} minutes of training; weights: {weights}")


def pretrain_main(argv: Sequence[str]) -> int:
    """0 done, 1 the training failed, 2 a mistake in the arguments, 130 interrupted (the checkpoint stays)."""
    try:
        train(*_parse(argv))
    except (UserError, FloatingPointError, OSError) as error:
        print(f"pretrain: {error}", file=sys.stderr)
        return 2 if isinstance(error, UserError) else 1
    except KeyboardInterrupt:
        print("pretrain: interrupted; the same command goes on from the last checkpoint", file=sys.stderr)
        return 130
    return 0
