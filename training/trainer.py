"""One training run: model, data, losses and optimiser put together, resumable at any checkpoint."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from henasy_stream.model.checkpoints import save_weights
from henasy_stream.model.henasy import Henasy
from henasy_stream.sources.world import HAND, NOUNS, phrases
from training.batches import Batch, Batches, token_table
from training.checkpoint import load_checkpoint, save_checkpoint
from training.config import Recipe
from training.data.world_pool import BACKGROUND, WorldPool
from training.losses import LOSSES, LossInputs
from training.matching import match_boxes
from training.text_pretraining import pretrain_text
from training.tower_pretraining import pretrain_tower


class Trainer:
    """Holds what changes during a run; `step()` makes one update and returns its losses by name."""

    def __init__(self, recipe: Recipe, pool: WorldPool, out: Path) -> None:
        unknown = sorted(set(recipe.losses) - set(LOSSES))
        if unknown:
            raise ValueError(f"unknown losses {unknown}; there are {sorted(LOSSES)}")
        torch.set_num_threads(recipe.threads)
        torch.manual_seed(recipe.seed)
        self.recipe, self.out = recipe, out
        self.model = Henasy(recipe.model).train()
        self.average = {name: value.detach().clone() for name, value in self.model.state_dict().items()}
        self.batches = Batches(pool, recipe.model, batch=recipe.batch, seed=recipe.seed, data=recipe.data)
        self.noun_tokens = token_table([*NOUNS, HAND, BACKGROUND], recipe.model)
        self.phrase_tokens = token_table(phrases(), recipe.model)
        self.pixel_mean = torch.tensor(recipe.model.preprocess.mean)
        self.pixel_std = torch.tensor(recipe.model.preprocess.std)
        if recipe.text_steps:
            for parameter in self._text_parameters():
                parameter.requires_grad_(False)
        trained = [p for p in self.model.parameters() if p.requires_grad]
        decay = [p for p in trained if p.ndim > 1]
        plain = [p for p in trained if p.ndim <= 1]
        self.optimizer = torch.optim.AdamW(
            [{"params": decay, "weight_decay": recipe.optim.weight_decay}, {"params": plain, "weight_decay": 0.0}],
            lr=recipe.optim.lr,
            betas=recipe.optim.betas,
        )
        self.done = 0
        self.prepared = False
        self.seconds = 0.0

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
        progress = step / max(1, self.recipe.steps)
        return optim.lr * warm * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * progress)))

    def _text_parameters(self) -> list[torch.nn.Parameter]:
        towers = self.model.towers
        return [*towers.text.parameters(), towers.text_projection]

    def _pretrain_text(self) -> None:
        """What `recipe.text_steps` asks for; called once, before the first step."""
        pool, parameters = self.batches.pool, self._text_parameters()
        for parameter in parameters:
            parameter.requires_grad_(True)
        pretrain_text(
            self.model.encode_text,
            parameters,
            self.batches.tokens,
            pool.verb_class.astype(np.int64) * len(NOUNS) + pool.noun_class,
            self.noun_tokens,
            steps=self.recipe.text_steps,
            seed=self.recipe.seed,
        )
        for parameter in parameters:
            parameter.requires_grad_(False)

    def prepare(self) -> None:
        """Pretrain the towers as the recipe says; once, before the first step."""
        if self.prepared:
            return
        self.prepared = True
        if self.recipe.text_steps:
            self._pretrain_text()
        if self.recipe.tower_steps:
            with torch.no_grad():
                dictionary = self._embed_texts(self.noun_tokens)[:-1]
            pretrain_tower(
                self.model.towers,
                self.batches,
                self.recipe.model,
                dictionary,
                steps=self.recipe.tower_steps,
                seed=self.recipe.seed,
            )
        self.model.zero_grad(set_to_none=True)  # or the frozen tower's last gradient would weigh in every clipping
        self.average = {name: value.detach().clone() for name, value in self.model.state_dict().items()}

    def _embed_texts(self, tokens: Tensor) -> Tensor:
        return F.normalize(self.model.encode_text(tokens).float(), dim=-1)

    @cached_property
    def _frozen_texts(self) -> tuple[Tensor, Tensor, Tensor]:
        """Narrations of the pool, dictionary and phrases, embedded once."""
        with torch.no_grad():
            narrations = torch.cat([self._embed_texts(part) for part in torch.split(self.batches.tokens, 512)])
            return narrations, self._embed_texts(self.noun_tokens), self._embed_texts(self.phrase_tokens)

    def _texts(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Embeddings of the batch's narrations (N, J), of the dictionary with the background, and of all phrases."""
        if self.recipe.text_steps:
            narrations, dictionary, all_phrases = self._frozen_texts
            return narrations[batch.rows], dictionary, all_phrases
        tokens = self.batches.tokens[batch.rows]
        return self._embed_texts(tokens), self._embed_texts(self.noun_tokens), self._embed_texts(self.phrase_tokens)

    def loss_inputs(self, batch: Batch) -> LossInputs:
        """Run the network on a batch and gather what the losses may ask for."""
        out = self.model(batch.video)
        towers = self.model.towers
        patches = towers.visual.norm(out.patches) @ towers.image_projection
        side = math.isqrt(out.probability.shape[2])
        narrations, dictionary, all_phrases = self._texts(batch)
        pair = batch.verb * len(NOUNS) + batch.noun
        masks = out.probability.float().unflatten(2, (side, side))  # N T h w E
        entities = F.normalize(out.entities.float(), dim=-1)
        with torch.no_grad():
            match = match_boxes(masks, batch.boxes)
        return LossInputs(
            video=F.normalize(out.video.float(), dim=-1),
            text=narrations,
            verbs=all_phrases[pair],
            positives=pair[:, None] == pair[None, :],
            entities=entities,
            masks=masks,
            boxes=batch.boxes,
            box_noun=batch.named,
            dictionary=dictionary[:-1],
            background=dictionary[-1],
            match=match,
            tower=out.cls @ towers.image_projection,
            patches=patches.view(*batch.video.shape[:2], *(2 * [self.recipe.model.vision.grid]), -1),
            images=batch.video,
            pixel_mean=self.pixel_mean,
            pixel_std=self.pixel_std,
        )

    def step(self) -> dict[str, float]:
        """One update.

        Raises:
            FloatingPointError: a loss is not finite; names the step and the losses.
        """
        started = time.perf_counter()
        recipe = self.recipe
        self.prepare()
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate(self.done)
        batch = self.batches[self.done]
        with torch.autocast("cpu", torch.bfloat16, enabled=recipe.precision == "bfloat16"):
            inputs = self.loss_inputs(batch)
        losses = {name: LOSSES[name](inputs) for name, weight in recipe.losses.items() if weight}
        total: Tensor = torch.stack([recipe.losses[name] * value for name, value in losses.items()]).sum()
        if not torch.isfinite(total):
            values = ", ".join(f"{name} {value.item():.3g}" for name, value in losses.items())
            raise FloatingPointError(f"step {self.done}: the loss is not finite ({values})")
        self.optimizer.zero_grad(set_to_none=True)
        total.backward()  # type: ignore[no-untyped-call]
        if recipe.optim.clip:
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), recipe.optim.clip)
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

    def averaged_model(self) -> Henasy:
        """A copy for evaluation with the averaged weights."""
        model = Henasy(self.recipe.model)
        model.load_state_dict(self.average)
        return model.eval()

    def save(self) -> None:
        """Write the checkpoint."""
        save_checkpoint(
            self.checkpoint,
            {
                "model": self.model.state_dict(),
                "average": self.average,
                "optimizer": self.optimizer.state_dict(),
                "done": self.done,
                "prepared": self.prepared,
                "seconds": self.seconds,
                "rng": torch.get_rng_state(),
            },
        )

    def resume(self) -> bool:
        """Go on from the checkpoint in `out`; False when there is none."""
        if not self.checkpoint.exists():
            return False
        state = load_checkpoint(self.checkpoint)
        self.model.load_state_dict(state["model"])
        self.average = state["average"]
        self.optimizer.load_state_dict(state["optimizer"])
        self.done, self.seconds, self.prepared = state["done"], state["seconds"], state["prepared"]
        torch.set_rng_state(state["rng"])
        return True

    def run(
        self, report: Callable[[int, dict[str, Any]], None], evaluate: Callable[[Henasy], dict[str, float]]
    ) -> Path:
        """Train to the end and write the weights; returns their path."""
        log = self.out / "log.jsonl"
        if not self.prepared:
            started = time.perf_counter()
            self.prepare()
            self.seconds += time.perf_counter() - started
            self.save()
        while self.done < self.recipe.steps:
            values: dict[str, Any] = self.step()
            last = self.done == self.recipe.steps
            if self.done % self.recipe.eval_every == 0 and not last:
                values |= {f"val/{name}": value for name, value in evaluate(self.averaged_model()).items()}
            if self.done % self.recipe.log_every == 0 or last or len(values) > len(self.recipe.losses) + 1:
                with log.open("a") as file:
                    file.write(json.dumps({"step": self.done, "seconds": round(self.seconds, 1), **values}) + "\n")
            report(self.done, values)
            if self.done % self.recipe.checkpoint_every == 0 or last:
                self.save()
        return self.write_weights()

    def write_weights(self) -> Path:
        """The averaged weights in half precision with their config beside them."""
        path = self.out / "weights.safetensors"
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
