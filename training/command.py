"""The command line of `pretrain.py`."""

from __future__ import annotations

import fcntl
import logging
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console

from henasy_stream.errors import UserError
from training.config import Recipe
from training.data.opening import open_data, with_words
from training.distributed import Ranks, device_of, first_rank_first, process_group, ranks_of_environment
from training.dry_run import show
from training.options import Options, parse, weights_of
from training.progress import progress_bar
from training.trainer import Trainer

_log = logging.getLogger(__name__)


def _claim(out: Path, recipe: Recipe) -> None:
    """Write the resolved recipe into `out`, or refuse a folder that another recipe has begun."""
    text = msgspec.json.format(msgspec.json.encode(recipe), indent=2)
    path = out / "recipe.json"
    begun = (out / "checkpoint.pt").exists()  # without it an earlier command failed before its first step
    if begun and path.exists() and path.read_bytes() != text:
        raise UserError(f"{out} holds a run with other settings (see {path}); choose another --out or delete it")
    path.write_bytes(text)


@contextmanager
def _alone_in(out: Path, ranks: Ranks) -> Iterator[None]:
    """No other run writes into `out` meanwhile: workers live on when torchrun is killed, and spoil what comes next.

    Raises:
        UserError: another one does.
    """
    if ranks.rank:
        yield
        return
    out.mkdir(parents=True, exist_ok=True)
    folder = os.open(out, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise UserError(f"another process still trains in {out}; stop it, or choose another --out") from None
    except OSError as error:  # some network file systems know no locks
        _log.info("%s can't be locked (%s)", out, error)
    try:
        yield
    finally:
        os.close(folder)


def train(options: Options) -> None:
    """Run a recipe to its end, telling a person how it goes; one of several ranks under torchrun."""
    recipe, out = options.recipe, options.out
    ranks = ranks_of_environment()
    if options.dry_run:
        show(recipe, ranks.size, Console(quiet=ranks.rank > 0))
        return
    ranks.share(recipe.batch)  # a batch that can't be divided is refused before the ranks wait for each other
    device = device_of(recipe.device, ranks)
    console = Console(stderr=True, quiet=ranks.rank > 0)
    with _alone_in(out, ranks), process_group(ranks, device):
        with first_rank_first(ranks):
            _claim(out, recipe)
            recipe = replace(recipe, init=str(weights_of(recipe.init)) if recipe.init else "")
        data = open_data(recipe, pools=options.pools, ranks=ranks, device=device, console=console)
        trainer = Trainer(with_words(recipe, data), data, out, ranks=ranks, device=device)
        _run(trainer, console, tensorboard=options.tensorboard)


def _run(trainer: Trainer, console: Console, *, tensorboard: bool) -> None:
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
                shown = "  ".join(f"{name} {value:.3g}" for name, value in values.items())
                console.print(f"step {step}: {shown}")

        weights = trainer.run(report, tensorboard=tensorboard)
    console.print(f"{trainer.seconds / 60:.1f} minutes of training; weights: {weights}")


def pretrain_main(argv: Sequence[str]) -> int:
    """0 done, 1 the training failed, 2 a mistake in the arguments, 130 interrupted (the checkpoint stays)."""
    try:
        train(parse(argv))
    except (UserError, FloatingPointError, OSError) as error:
        _let_another_tell()
        print(f"pretrain: {error}", file=sys.stderr)
        return 2 if isinstance(error, UserError) else 1
    except RuntimeError:  # what a rank meets when another has gone, among others
        _let_another_tell()
        raise
    except KeyboardInterrupt:
        print("pretrain: interrupted; the same command goes on from the last checkpoint", file=sys.stderr)
        return 130
    return 0


def _let_another_tell() -> None:
    """Ranks mostly fail together.  The first one tells why, and torchrun ends the others while they wait here."""
    if os.environ.get("RANK", "0") != "0":
        time.sleep(3)
