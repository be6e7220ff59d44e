"""Random weights of paper size: `python export/random_weights.py base --out base.safetensors`.

They say nothing, but their graphs are those of trained weights: what a proof of graphs, parity and builds needs.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])

import torch  # noqa: E402 - imports start from the root
from torch import nn  # noqa: E402

from henasy_stream._arguments import Parser  # noqa: E402
from henasy_stream.config import HenasyConfig  # noqa: E402
from henasy_stream.errors import UserError  # noqa: E402
from henasy_stream.model.causal import build_henasy  # noqa: E402
from henasy_stream.model.checkpoints import save_weights  # noqa: E402

SIZES = {"base": HenasyConfig.base(), "base-causal": replace(HenasyConfig.base(), attention="causal")}


def stir(network: nn.Module, std: float) -> None:
    """Gives every weight that a fresh network leaves at zero a random value: a zero would hide what reads it."""
    for name, parameter in network.named_parameters():
        if name.endswith(("bias", "carry.gate")) or name.startswith("lags."):
            nn.init.normal_(parameter, std=std)


def write_random(path: Path, config: HenasyConfig, name: str, *, seed: int = 0) -> None:
    """Writes a network, in half precision as weights on disk are.

    Args:
        path: ends in `.safetensors`.
        config: its sizes.
        name: the model's id.
        seed: of all numbers.
    """
    torch.manual_seed(seed)
    network = build_henasy(config)
    stir(network, 0.02)
    save_weights(path, {key: value.half() for key, value in network.state_dict().items()}, config, model_id=name)


def main(argv: Sequence[str]) -> int:
    """0 written, 2 a mistake in the arguments."""
    parser = Parser(prog="random_weights.py", description="Write random weights of paper size.")
    parser.add_argument("size", choices=SIZES)
    parser.add_argument("--out", type=Path, required=True, help="a .safetensors file; its .json is written beside it")
    parser.add_argument("--seed", type=int, default=0)
    try:
        options = parser.parse_args(argv)
        if options.out.suffix != ".safetensors":
            raise UserError(f"--out {options.out} must end in .safetensors")
        write_random(options.out, SIZES[options.size], f"random-{options.size}", seed=options.seed)
    except (UserError, OSError) as error:
        print(f"random_weights: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
