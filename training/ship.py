"""Put trained weights into the package, without the text tower that the demo has: `python training/ship.py FILE NAME`.

A text tower is most of a small network, and those that start from the demo's weights keep its text tower as it is.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])

import torch  # noqa: E402 - imports start from the root

from henasy_stream._arguments import Parser  # noqa: E402
from henasy_stream.errors import UserError  # noqa: E402
from henasy_stream.loading import DEMO_WEIGHTS  # noqa: E402
from henasy_stream.model.checkpoints import TEXT_TOWER, load_weights, read_safetensors, save_weights  # noqa: E402


def ship(weights: Path, out: Path, lender: Path) -> None:
    """Copies weights to `out`, beside `lender`, whose text tower they share.

    Raises:
        UserError: the text towers differ.
    """
    state, config, metadata = load_weights(weights)
    lent = {name: value for name, value in read_safetensors(lender).items() if name.startswith(TEXT_TOWER)}
    wrong = [name for name, value in lent.items() if name not in state or not torch.equal(state[name], value)]
    if wrong or not lent:
        raise UserError(f"the text tower of {weights} is not that of {lender} ({', '.join(wrong[:3])})")
    own = {name: value.half() if value.ndim > 1 else value for name, value in state.items() if name not in lent}
    save_weights(out, own, config, text_from=lender.name, **metadata)


def main(argv: Sequence[str]) -> int:
    """0 written, 2 a mistake."""
    parser = Parser(prog="ship.py", description="Put trained weights into the package.")
    parser.add_argument("weights", type=Path, help="what pretrain.py wrote, with the demo's text tower")
    parser.add_argument("name", help="what `henasy_stream.load` shall know them by")
    try:
        options = parser.parse_args(argv)
        ship(options.weights, DEMO_WEIGHTS.with_name(f"{options.name}.safetensors"), DEMO_WEIGHTS)
    except UserError as error:
        print(f"ship: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
