"""One training run: model, data, losses and optimiser put together, resumable at any checkpoint."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from henasy_stream.model.checkpoints import save_weights
from henasy_stream.model.henasy import Henasy
from training.batches import Batch, TrainingData
from training.checkpoint import load_checkpoint, save_checkpoint
from training.config import Recipe
from training.distributed import ALONE, CPU, Ranks, broadcast, gather, gather_fields, shared, sum_gradients
from training.losses import LOSSES, LossInputs, positive_mask
from training.network import build, freeze, observe
from training.texts import TextBank

_GATHERED = ("video", "text", "verbs", "entities", "masks", "boxes", "box_noun", "nouns", "images", "tower", "patches")


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
        self.steps = recipe.epochs * data.steps_per_epoch or recipe.steps
        self.model = build(recipe).to(device)
        self.average = self._weights()
        freeze(self.model, recipe.freeze)
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
        self.average = self._weights()

    def loss_inputs(self, batch: Batch) -> LossInputs:
        """Run the network on a rank's part of a batch and gather what the losses may ask for, of all ranks."""
        ranks, data, preprocess = self.ranks, self.data, self.recipe.model.preprocess
        seen = observe(self.model, batch.video)
        words = shared(self.texts([*data.dictionary, data.background or ""]), ranks)
        nouns, verbs = (
            _multi_hot(gather(tags, ranks), classes)
            for tags, classes in (
                (batch.nouns if batch.noun_tags is None else batch.noun_tags, len(data.dictionary)),
                (batch.verbs, data.num_verbs),
            )
        )
        parts = LossInputs(
            video=seen.video,
            text=self.texts(batch.texts),
            verbs=self.texts(batch.phrases),
            positives=positive_mask(nouns, verbs, self.recipe.positives),
            entities=seen.entities,
            masks=seen.masks,
            boxes=batch.boxes,
            box_noun=batch.box_noun,
            per_frame=self.recipe.box_matching == "frame",
            nouns=batch.nouns,
            dictionary=words[:-1],
            background=None if data.background is None else words[-1],
            tower=seen.tower,
            patches=seen.patches,
            images=batch.video if self.recipe.losses.get("pairwise_affinity") else None,
            pixel_mean=torch.tensor(preprocess.mean, device=self.device),
            pixel_std=torch.tensor(preprocess.std, device=self.device),
        )
        return gather_fields(parts, ranks, *_GATHERED)

    def step(self) -> dict[str, float]:
        """One update.

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
        batch = next(self._batches)
        # Noise, too, is a function of seed, step and rank alone, so that a run goes on as if it had never stopped.
        torch.manual_seed((recipe.seed * 1_000_003 + self.done) * 1_024 + self.ranks.rank)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=recipe.precision == "bfloat16"):
            inputs = self.loss_inputs(batch)
        losses = {name: LOSSES[name](inputs) for name, weight in recipe.losses.items() if weight}
        total: Tensor = torch.stack([recipe.losses[name] * value for name, value in losses.items()]).sum()
        if not torch.isfinite(total):
            values = ", ".join(f"{name} {value.item():.3g}" for name, value in losses.items())
            raise FloatingPointError(f"step {self.done}: the loss is not finite ({values}); the batch: {batch.key}")
        self.optimizer.zero_grad(set_to_none=True)
        total.backward()  # type: ignore[no-untyped-call]
        sum_gradients(self.trained, self.ranks)
        if recipe.optim.clip:
            torch.nn.utils.clip_grad_norm_(self.trained, recipe.optim.clip)
        self.optimizer.step()
        self._average()
        self.done += 1
        self.seconds += time.perf_counter() - started
        return {"loss": total.item(), **{name: value.item() for name, value in losses.items()}}

    @torch.no_grad()
    def _average(self) -> None:
        """Follow the weights with a moving average, slowly late and quickly early."""
        decay = min(self.recipe.optim.average, (1 + self.done) / (10 + self.done))
        for name, value in self.model.named_parameters():
            if value.requires_grad:
                self.average[name].lerp_(value, 1 - decay)

    def _weights(self) -> dict[str, Tensor]:
        return {name: value.detach().clone() for name, value in self.model.state_dict().items()}

    def averaged_model(self) -> Henasy:
        """A copy on the CPU for evaluation with the averaged weights."""
        model = Henasy(self.recipe.model)
        model.load_state_dict(self.average)
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
        self.model.load_state_dict(state["model"])
        self.average = {name: value.to(self.device) for name, value in state["average"].items()}
        self.optimizer.load_state_dict(state["optimizer"])
        self.done, self.seconds, self.prepared = state["done"], state["seconds"], state["prepared"]
        return True

    def run(self, report: Callable[[int, dict[str, Any]], None]) -> Path:
        """Train to the end and write the weights; returns their path."""
        if not self.prepared:
            started = time.perf_counter()
            self.prepare()
            self.seconds += time.perf_counter() - started
            self.save()
        while self.done < self.steps:
            values: dict[str, Any] = self.step()
            last = self.done == self.steps
            scored = self.done % self.recipe.eval_every == 0 and not last
            if scored and not self.ranks.rank:
                values |= {f"val/{name}": value for name, value in self.data.score(self.averaged_model()).items()}
            if not self.ranks.rank:
                self._log(values, always=last or scored)
                report(self.done, values)
            if self.done % self.recipe.checkpoint_every == 0 or last:
                self.save()
        return self.write_weights()

    def _log(self, values: dict[str, Any], *, always: bool) -> None:
        if always or self.done % self.recipe.log_every == 0:
            with (self.out / "log.jsonl").open("a") as file:
                file.write(json.dumps({"step": self.done, "seconds": round(self.seconds, 1), **values}) + "\n")

    def write_weights(self) -> Path:
        """The averaged weights in half precision with their config beside them; of several ranks, the first writes."""
        path = self.out / "weights.safetensors"
        if self.ranks.rank:
            return path
        state = {name: value.half() if value.ndim > 1 else value for name, value in self.average.items()}
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
            minutes=round(self.seconds / 60, 1),
            losses=dict(self.recipe.losses),
        )
        return path


def _multi_hot(tags: Tensor, classes: int) -> Tensor:
    """(N, K) classes, below 0 for padding → (N, classes) of 0 and 1."""
    return F.one_hot(tags + 1, classes + 1).amax(1)[:, 1:]
