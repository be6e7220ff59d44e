"""The towers that every row of one seed starts from and leaves frozen: a small dual encoder of the synthetic world.

The paper takes both towers from LaViLa, a plain dual encoder of clips and narrations that began as CLIP, which knows
what things are from pictures.  This is their stand-in: the text tower learns from sentences; the video tower first from
named boxes of single frames (CLIP's part), then from clips and their narrations, by the contrast of the two (LaViLa's).

    python -m training.ablations.towers --recipe world_ablation --seed 0 --towers-out t.safetensors --scores t.json
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from rich.console import Console

from henasy_stream._arguments import Parser
from henasy_stream.errors import UserError
from henasy_stream.model.checkpoints import save_weights
from henasy_stream.model.henasy import Henasy
from henasy_stream.sources.world import NOUNS, VERBS
from training.batches import normalise, token_table
from training.config import Recipe
from training.data.opening import open_data
from training.data.world_batches import WorldBatches
from training.data.world_pool import WorldPool, open_pool
from training.distributed import ALONE, device_of
from training.evaluation.world import five_way
from training.losses import ego_nce, positive_mask
from training.network import tower_parameters
from training.options import parse
from training.texts import TextBank


@dataclass(frozen=True, kw_only=True)
class TowerPlan:
    """How the towers learn: text_steps on sentences, picture_steps on named boxes of 64 frames, then clip_steps on
    clips with their narrations.
    """

    text_steps: int = 400
    picture_steps: int = 800
    clip_steps: int = 800
    lr: float = 2e-3
    warmup: int = 100
    weight_decay: float = 0.05


def train_towers(recipe: Recipe, data: WorldBatches, plan: TowerPlan, console: Console) -> Henasy:
    """A new model, on the CPU, whose towers have learnt; the rest of it is as drawn."""
    torch.manual_seed(recipe.seed)
    model = Henasy(recipe.model).to(data.device).train()
    data.prepare(model)
    texts = TextBank(model.encode_text, recipe.model, frozen=True, device=data.device)
    parameters = tower_parameters(model, "video")
    optimizer = torch.optim.AdamW(parameters, lr=plan.lr, betas=recipe.optim.betas, weight_decay=plan.weight_decay)
    recent: list[float] = []
    for step, batch in zip(range(plan.clip_steps), data.batches(0), strict=False):
        for group in optimizer.param_groups:
            group["lr"] = plan.lr * min(1.0, (step + 1) / plan.warmup) * (1 - 0.95 * step / plan.clip_steps)
        alike = positive_mask(F.one_hot(batch.nouns[:, 0], len(NOUNS)), F.one_hot(batch.verbs[:, 0], len(VERBS)))
        one, other = ego_nce(texts(batch.texts), model.towers.encode_video(batch.video), alike)
        optimizer.zero_grad(set_to_none=True)
        (one + other).backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        recent.append((one + other).item())
        if (step + 1) % 100 == 0:
            console.print(f"towers, step {step + 1} of {plan.clip_steps}: loss {sum(recent[-100:]) / 100:.3f}")
    return model.cpu().eval()


@torch.no_grad()
def score_towers(model: Henasy, pool: WorldPool) -> dict[str, float]:
    """The five-way choices by the video token alone, as LaViLa's row of the paper; 0..1."""
    towers, config = model.towers, model.config
    video = torch.cat(
        [
            F.normalize(towers.encode_video(normalise(pool.frames[start : start + 50], config)), dim=-1)
            for start in range(0, len(pool), 50)
        ]
    )
    text = F.normalize(model.encode_text(token_table(pool.narrations, config)), dim=-1)
    return {kind: percent / 100 for kind, percent in five_way((text @ video.T).numpy(), pool, 0).items()}


def main(argv: Sequence[str]) -> int:
    """Writes the scores, then the towers as weights of kind lavila."""
    parser = Parser(prog="python -m training.ablations.towers", allow_abbrev=False)
    parser.add_argument("--towers-out", type=Path, required=True)
    parser.add_argument("--scores", type=Path, required=True)
    parser.add_argument("--split", default="heldout")
    parser.add_argument("--eval-clips", type=int, default=2_000)
    parser.add_argument("--text-steps", type=int, default=TowerPlan.text_steps)
    parser.add_argument("--picture-steps", type=int, default=TowerPlan.picture_steps)
    parser.add_argument("--clip-steps", type=int, default=TowerPlan.clip_steps)
    own, rest = parser.parse_known_args(argv)
    plan = TowerPlan(text_steps=own.text_steps, picture_steps=own.picture_steps, clip_steps=own.clip_steps)
    learning = (
        *("--data.text-steps", str(plan.text_steps), "--data.tower-steps", str(plan.picture_steps)),
        *("--data.labelled-boxes", "--data.no-hard-negatives"),
    )
    options = parse([*rest, *learning])
    recipe = options.recipe
    torch.set_num_threads(recipe.threads)
    console = Console()
    device = device_of(recipe.device, ALONE)
    data = open_data(recipe, pools=options.pools, ranks=ALONE, device=device, console=console)
    assert isinstance(data, WorldBatches)
    started = time.perf_counter()
    model = train_towers(recipe, data, plan, console)
    minutes = (time.perf_counter() - started) / 60
    pool = open_pool(options.pools, recipe.model, split=own.split, clips=own.eval_clips, seed=1)
    scores = score_towers(model, pool)
    console.print(f"towers: {scores}, {minutes:.1f} minutes")
    note = {"seed": recipe.seed, **asdict(plan), "batch": recipe.batch, "minutes": round(minutes, 1)}
    text = json.dumps({"about": note, own.split: scores}, indent=1) + "\n"
    own.scores.parent.mkdir(parents=True, exist_ok=True)
    own.scores.write_text(text)
    save_weights(own.towers_out, model.towers.state_dict(), recipe.model, kind="lavila", source="world", **note)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except UserError as error:
        print(f"towers: {error}", file=sys.stderr)
        sys.exit(2)
