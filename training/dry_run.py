"""What a run takes, told without any data or weights: parameters, FLOPs of a clip, and memory, beside the paper's.

Nothing is computed: tensors have shapes and no content, so the paper's size needs a few seconds and no memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

from henasy_stream.config import HenasyConfig
from henasy_stream.errors import UserError
from henasy_stream.model.henasy import Henasy
from training.config import ClipData, Recipe
from training.network import build, freeze, observe

PAPER_PARAMETERS, PAPER_FLOPS, PAPER_MEMORY = 291e6, 599e9, 42e9
"""Table 5.  Memory is "to train", on two GPUs of 48 GB with a batch of 128; of one GPU or of both it doesn't say."""
HELPING_HANDS_FLOPS = 530e9
TEXT_TOWER = "text tower"
_ADAM_MOMENTS = 2
_FLOAT32 = 4


@dataclass(frozen=True, kw_only=True)
class Part:
    """One part of the network.  flops: of one clip, of one text for the text tower; two for a multiply and an add."""

    name: str
    parameters: int
    trained: int
    flops: float


@dataclass(frozen=True, kw_only=True)
class Memory:
    """Bytes on each GPU, by what they hold; `clip` is what one clip adds to what is kept for the backward pass."""

    weights: int
    average: int
    gradients: int
    optimizer: int
    casts: int
    clip: int
    clips: int

    @property
    def total(self) -> int:
        """Without the library's workspace and what a layer needs only while it runs."""
        return self.of(self.clips)

    def of(self, clips: int) -> int:
        """The total with another number of clips."""
        return self.weights + self.average + self.gradients + self.optimizer + self.casts + self.clip * clips


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Of a recipe on `ranks` GPUs."""

    parts: tuple[Part, ...]
    memory: Memory
    memory_recomputed: Memory
    ranks: int

    @property
    def parameters(self) -> int:
        """All of them."""
        return sum(part.parameters for part in self.parts)

    @property
    def trained(self) -> int:
        """Those that the run changes."""
        return sum(part.trained for part in self.parts)

    @property
    def video_flops(self) -> float:
        """A forward pass of one clip, without texts."""
        return sum(part.flops for part in self.parts if part.name != TEXT_TOWER)


def cost_of(recipe: Recipe, ranks: int = 1) -> Cost:
    """What a run of the recipe takes on each of `ranks` GPUs.

    Raises:
        UserError: the network is causal.
    """
    if recipe.model.attention == "causal":
        raise UserError("--dry-run counts a clip of a window network, and this recipe's is causal")
    # Started from nothing: what the weights are doesn't matter here.
    recipe = replace(recipe, init="", recompute=False)
    with FakeTensorMode():
        model = build(recipe)
        freeze(model, recipe.freeze)
        parts = tuple(_parts(model, recipe))
        plain = _memory(model, recipe, ranks)
        model = build(replace(recipe, recompute=True))
        freeze(model, recipe.freeze)
        recomputed = _memory(model, recipe, ranks)
    return Cost(parts=parts, memory=plain, memory_recomputed=recomputed, ranks=ranks)


def _parts(model: Henasy, recipe: Recipe) -> Iterator[Part]:
    towers = model.towers
    with FlopCounterMode(display=False) as of_video:
        model(_clips(recipe.model, 1))
    with FlopCounterMode(display=False) as of_text:
        towers.text.encode(torch.zeros(1, recipe.model.text.context, dtype=torch.int64))
    counts = of_video.get_flop_counts()

    def flops(module: str) -> float:
        return float(sum(counts[f"Henasy.{module}"].values()))

    video = [*towers.visual.parameters(), towers.image_projection]
    text = [*towers.text.parameters(), towers.text_projection, towers.logit_scale]
    yield _part("video tower", video, flops("towers.visual"))
    yield _part(TEXT_TOWER, text, of_text.get_total_flops())
    yield _part("entity encoder", model.entity_encoder.parameters(), flops("entity_encoder"))
    yield _part("entity decoder", model.entity_decoder.parameters(), flops("entity_decoder"))
    yield _part("into the text space", model.text_space.parameters(), flops("text_space"))


def _part(name: str, parameters: Iterator[nn.Parameter] | list[nn.Parameter], flops: float) -> Part:
    found = list(parameters)
    return Part(
        name=name,
        parameters=sum(p.numel() for p in found),
        trained=sum(p.numel() for p in found if p.requires_grad),
        flops=flops,
    )


def _clips(config: HenasyConfig, count: int) -> Tensor:
    vision = config.vision
    return torch.zeros(count, vision.num_frames, 3, vision.image_size, vision.image_size)


def _memory(model: Henasy, recipe: Recipe, ranks: int) -> Memory:
    parameters = list(model.parameters())
    trained = sum(p.numel() for p in parameters if p.requires_grad) * _FLOAT32
    weights = sum(p.numel() for p in parameters) * _FLOAT32
    two, three = (_kept(model, recipe, clips) for clips in (2, 3))  # of a single clip some tensors need no copy
    doubled = isinstance(recipe.data, ClipData) and recipe.data.negatives
    return Memory(
        weights=weights,
        average=trained if recipe.optim.average else 0,
        gradients=trained,
        optimizer=_ADAM_MOMENTS * trained,
        casts=3 * two - 2 * three,
        clip=three - two,
        clips=recipe.batch * (2 if doubled else 1) // ranks,
    )


def _kept(model: Henasy, recipe: Recipe, clips: int) -> int:
    """Bytes that a forward pass keeps for the backward pass, weights apart."""
    known = {p.untyped_storage()._cdata for p in model.parameters()}
    kept: dict[int, torch.UntypedStorage] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in known:
            kept[storage._cdata] = storage
        return tensor

    with (
        torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
        torch.autocast("cpu", torch.bfloat16, enabled=recipe.precision == "bfloat16"),
    ):
        seen = observe(model, _clips(recipe.model, clips))
        total = sum(storage.nbytes() for storage in kept.values())
        del seen
    return total


def explain(cost: Cost, config: HenasyConfig) -> list[str]:
    """Why the numbers are not those of Table 5, as far as it can be told; for the paper's model only."""
    if (config.vision, config.text) != (HenasyConfig.base().vision, HenasyConfig.base().text):
        return ["This is not the paper's model, so its numbers are not the paper's either."]
    towers = sum(part.parameters for part in cost.parts if part.name.endswith("tower"))
    tower_flops = next(part.flops for part in cost.parts if part.name == "video tower")
    with torch.device("meta"):
        wider = sum(p.numel() for p in Henasy(replace(config, entity_width=config.vision.width)).parameters())
    kept, left = cost.memory, cost.parameters - towers
    return [
        f"Parameters: LaViLa's two towers have {_m(towers)}, here and in the paper. That leaves {_m(left)} here and "
        f"{_m(PAPER_PARAMETERS - towers)} there. The paper gives the number of layers and D = 512, not what is inside "
        f"a layer; with D = {config.vision.width} ours would have {_m(wider)} in all, so a part of theirs may run at "
        "the encoder's width. Which one is open.",
        f"FLOPs: a forward pass of one clip takes {_g(cost.video_flops)}, two for a multiply and an add; "
        f"{_g(tower_flops)} of them are the video tower's, which HelpingHands shares. So neither {_g(PAPER_FLOPS)} "
        f"nor HelpingHands' {_g(HELPING_HANDS_FLOPS)} is one such pass. Three are {_g(3 * cost.video_flops)}, three "
        f"of the tower alone {_g(3 * tower_flops)}: as if a backward pass were counted as two more. The paper doesn't "
        "say; open.",
        f"Memory: the backward pass needs {_gb(kept.clip)} of each clip, and a GPU has {kept.clips} of them, hard "
        f"negatives included; with the whole batch on one GPU it would be {_gb(kept.of(kept.clips * cost.ranks))} in "
        f"all. The paper's {_gb(PAPER_MEMORY)} are on two GPUs, of one or of both, in a precision that it doesn't "
        "name. Ours is an estimate from shapes: what a layer needs only while it runs comes on top.",
    ]


def show(recipe: Recipe, ranks: int, console: Console) -> None:
    """Prints the cost of a recipe."""
    cost = cost_of(recipe, ranks)
    table = Table(title=f"{recipe.name}: {recipe.batch} clips a batch on {ranks} × {recipe.precision}")
    for title in ("", "parameters", "trained", "frozen", "FLOPs a clip"):
        table.add_column(title, justify="right" if title else "left")
    for part in cost.parts:
        text = part.name == TEXT_TOWER
        flops = f"({_g(part.flops)} a text)" if text else _g(part.flops)
        table.add_row(part.name, _m(part.parameters), _m(part.trained), _m(part.parameters - part.trained), flops)
    frozen = cost.parameters - cost.trained
    table.add_row("all", _m(cost.parameters), _m(cost.trained), _m(frozen), _g(cost.video_flops), style="bold")
    table.add_row("paper, Table 5", _m(PAPER_PARAMETERS), "", "", _g(PAPER_FLOPS))
    console.print(table)
    memory = Table(title="memory of a GPU (estimate)")
    for title in ("", "as it is", "with --recompute"):
        memory.add_column(title, justify="right" if title else "left")
    both = (cost.memory, cost.memory_recomputed)
    rows = {
        "weights": [m.weights for m in both],
        "their moving average": [m.average for m in both],
        "gradients": [m.gradients for m in both],
        "AdamW": [m.optimizer for m in both],
        "weights in half precision": [m.casts for m in both],
        f"kept of {cost.memory.clips} clips": [m.clip * m.clips for m in both],
    }
    for name, sizes in rows.items():
        if any(sizes):
            memory.add_row(name, *map(_gb, sizes))
    memory.add_row("all", *(_gb(m.total) for m in both), style="bold")
    memory.add_row("paper, Table 5", _gb(PAPER_MEMORY), "")
    console.print(memory)
    for line in explain(cost, recipe.model):
        console.print(line, markup=False, highlight=False)


def _m(count: float) -> str:
    return f"{count / 1e6:,.1f} M"


def _g(flops: float) -> str:
    return f"{flops / 1e9:,.1f} G"


def _gb(size: float) -> str:
    return f"{size / 1e9:,.2f} GB"
