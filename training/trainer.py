"""One training run: model, data, losses and optimiser put together, resumable at any checkpoint."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from henasy_stream.errors import UserError
from henasy_stream.model.causal import build_henasy
from henasy_stream.model.checkpoints import save_weights
from henasy_stream.model.henasy import Henasy
from training.batches import Batch, TrainingData
from training.checkpoint import load_checkpoint, save_checkpoint
from training.config import Recipe
from training.distributed import ALONE, CPU, Ranks, broadcast, device_name, gather_text, sum_gradients
from training.inputs import loss_inputs
from training.logbook import Logbook
from training.losses import LOSSES
from training.monitor import Meter, Watch, grounding, memory_gb
from training.network import build, freeze
from training.texts import TextBank

_log = logging.getLogger(__name__)


class Trainer:
    """Holds what changes during a run; `step()` makes one update and returns its losses by name."""

    def __init__(
        self,
        recipe: Recipe,
        data: TrainingData,
        out: Path,
        *,
        ranks: Ranks = ALONE,
        device: torch.device = CPU,
    ) -> None:
        unknown = sorted(set(recipe.losses) - set(LOSSES))
        if unknown:
            raise ValueError(f"unknown losses {unknown}; there are {sorted(LOSSES)}")
        torch.set_num_threads(recipe.threads)
        self.recipe, self.data, self.out, self.ranks, self.device = recipe, data, out, ranks, device
        self.steps = recipe.total_steps(data.steps_per_epoch)
        self.model = build(recipe).to(device)
        freeze(self.model, recipe.freeze)
        self.average = self._trained_weights()
        self.texts = TextBank(self.model.encode_text, recipe.model, frozen="text" in recipe.freeze, device=device)
        self.trained = [p for p in self.model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(
            [
                {"params": [p for p in self.trained if p.ndim > 1], "weight_decay": recipe.optim.weight_decay},
                {"params": [p for p in self.trained if p.ndim <= 1], "weight_decay": 0.0},
            ],
            lr=recipe.optim.lr,
            betas=recipe.optim.betas,
        )
        self.done = 0
        self.prepared = False
        self.seconds = 0.0
        self.watch, self.meter = Watch(recipe.eval_every), Meter()
        self._batches: Iterator[Batch] | None = None

    @property
    def checkpoint(self) -> Path:
        """Where `save` writes and `resume` reads."""
        return self.out / "checkpoint.pt"

    def learning_rate(self, step: int) -> float:
        """Of one step: linear warm-up, then the schedule."""
        optim = self.recipe.optim
        warm = min(1.0, (step + 1) / optim.warmup) if optim.warmup else 1.0
        if optim.schedule == "constant":
            return optim.lr * warm
        progress = step / max(1, self.steps)
        return optim.lr * warm * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * progress)))

    def prepare(self) -> None:
        """Teach the model what the data says it should know; once, before the first step."""
        if self.prepared:
            return
        self.prepared = True
        for parameter in self.model.parameters():
            parameter.requires_grad_(True)
        self.data.prepare(self.model)
        freeze(self.model, self.recipe.freeze)
        self.model.zero_grad(set_to_none=True)  # or a frozen tower's last gradient would weigh in every clipping
        broadcast(self.model, self.ranks)
        self.average = self._trained_weights()

    def step(self) -> dict[str, float]:
        """One update; the losses by name, their weighted sum "loss", and "grad_norm" before clipping.

        Raises:
            FloatingPointError: a loss is not finite; names the step, the losses and the batch.
        """
        started = time.perf_counter()
        recipe = self.recipe
        self.prepare()
        if self._batches is None:
            self._batches = self.data.batches(self.done)
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate(self.done)
        asked = time.perf_counter()
        batch = next(self._batches)
        waited = time.perf_counter() - asked
        # Noise, too, is a function of seed, step and rank alone, so that a run goes on as if it had never stopped.
        torch.manual_seed((recipe.seed * 1_000_003 + self.done) * 1_024 + self.ranks.rank)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=recipe.precision == "bfloat16"):
            inputs = loss_inputs(self.model, batch, self.data, self.texts, recipe, self.ranks)
        losses = {name: LOSSES[name](inputs) for name, weight in recipe.losses.items() if weight}
        total: Tensor = torch.stack([recipe.losses[name] * value for name, value in losses.items()]).sum()
        if not torch.isfinite(total):
            values = ", ".join(f"{name} {value.item():.3g}" for name, value in losses.items())
            clips = gather_text(batch.key, self.ranks)
            raise FloatingPointError(f"step {self.done}: the loss is not finite ({values}); the batch: {clips}")
        norm = self._update(total)
        self.done += 1
        told = {"loss": total.item(), **{name: value.item() for name, value in losses.items()}, "grad_norm": norm}
        if self.logs and not self.ranks.rank:
            told |= grounding(inputs)
        for warning in self.watch.see(self.done, told, batch.key):
            _log.warning(warning)  # each rank names its own part of the batch
        seconds = time.perf_counter() - started
        self.seconds += seconds
        self.meter.add(clips=len(inputs.video), seconds=seconds, waited=waited)
        return told

    def _update(self, loss: Tensor) -> float:
        """Change the weights, unless the gradient is not finite; returns its norm before clipping."""
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        sum_gradients(self.trained, self.ranks)
        norm = torch.nn.utils.clip_grad_norm_(self.trained, self.recipe.optim.clip or math.inf).item()
        if math.isfinite(norm):
            self.optimizer.step()
            self._follow()
        return norm

    @property
    def logs(self) -> bool:
        """Whether the step just done is logged."""
        return self.done % self.recipe.log_every == 0 or self.done == self.steps or self._scores

    @property
    def _scores(self) -> bool:
        return self.done % self.recipe.eval_every == 0 and self.done != self.steps

    @torch.no_grad()
    def _follow(self) -> None:
        """The moving average follows the weights, slowly late and quickly early."""
        decay = min(self.recipe.optim.average, (1 + self.done) / (10 + self.done))
        for name, value in self.average.items():
            value.lerp_(self.model.get_parameter(name), 1 - decay)

    def _trained_weights(self) -> dict[str, Tensor]:
        """A copy, and none where the last weights are wanted."""
        named = self.model.named_parameters() if self.recipe.optim.average else ()
        return {name: value.detach().clone() for name, value in named if value.requires_grad}

    def averaged(self) -> dict[str, Tensor]:
        """The weights to evaluate and to write: of what is trained the moving average."""
        return {**self.model.state_dict(), **self.average}

    def averaged_model(self) -> Henasy:
        """A copy on the CPU for evaluation with the averaged weights."""
        model = build_henasy(self.recipe.model)
        model.load_state_dict(self.averaged())
        return model.eval()

    def save(self) -> None:
        """Write the checkpoint; of several ranks, which hold the same, the first."""
        if self.ranks.rank:
            return
        save_checkpoint(
            self.checkpoint,
            {
                "model": self.model.state_dict(),
                "average": self.average,
                "optimizer": self.optimizer.state_dict(),
                "done": self.done,
                "prepared": self.prepared,
                "seconds": self.seconds,
            },
        )

    def resume(self) -> bool:
        """Go on from the checkpoint in `out`; False when there is none."""
        if not self.checkpoint.exists():
            return False
        state = load_checkpoint(self.checkpoint)
        try:
            self.model.load_state_dict(state["model"])
            self.average = {name: value.to(self.device) for name, value in state["average"].items()}
            self.optimizer.load_state_dict(state["optimizer"])
            self.done, self.seconds, self.prepared = state["done"], state["seconds"], state["prepared"]
        except (KeyError, ValueError, RuntimeError) as error:
            reason = str(error).partition("\n")[0]
            raise UserError(
                f"{self.checkpoint} does not fit this recipe ({reason}); delete it or choose another --out"
            ) from None
        self._batches = None
        return True

    def run(self, report: Callable[[int, dict[str, Any]], None], *, tensorboard: bool = False) -> Path:
        """Train to the end and write the weights; returns their path."""
        log = None if self.ranks.rank else Logbook(self.out, self.done, tensorboard=tensorboard)
        if not self.prepared:
            started = time.perf_counter()
            self.prepare()
            self.seconds += time.perf_counter() - started
            self.save()
        while self.done < self.steps:
            values: dict[str, Any] = self.step()
            if log and self.logs:
                values = {"seconds": round(self.seconds, 1), **values, "lr": self.learning_rate(self.done - 1)}
                values |= {**self.meter.read(), "memory_gb": memory_gb(self.device)}
                if self._scores:
                    values |= {f"val/{name}": value for name, value in self.data.score(self.averaged_model()).items()}
                log.write(self.done, values)
            if log:
                report(self.done, values)
            if self.done % self.recipe.checkpoint_every == 0 or self.done == self.steps:
                self.save()
        return self.write_weights()

    def write_weights(self) -> Path:
        """The averaged weights in half precision with their config beside them; of several ranks, the first writes."""
        path = self.out / "weights.safetensors"
        if self.ranks.rank:
            return path
        state = {name: value.half() if value.ndim > 1 else value for name, value in self.averaged().items()}
        save_weights(
            path,
            state,
            self.recipe.model,
            model_id=self.recipe.name,
            recipe=self.recipe.name,
            seed=self.recipe.seed,
            steps=self.done,
            batch=self.recipe.batch,
            threads=self.recipe.threads,
            device=device_name(self.device),
            minutes=round(self.seconds / 60, 1),
            losses=dict(self.recipe.losses),
        )
        return path
