"""One worker of a sharded map in a process of its own: `shard_worker.py OUT ITEMS [SECONDS]`, RANK and WORLD_SIZE set.

Item i is the number i; its file holds five numbers that follow from it.  Items that end in 7 can't be read while the
folder has a file `broken`.  Prints each item that it begins.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path[0] = str(Path(__file__).resolve().parents[3])

import torch  # noqa: E402 - imports start from the root

from training.data.records import Clip, ClipError  # noqa: E402
from training.evaluation.shards import Outcome, ShardedMap  # noqa: E402


def numbers(item: int) -> torch.Tensor:
    return torch.sin(torch.arange(5.0) + item)


def sharded(out: Path, items: int, seconds: float = 0.0, **changes: Any) -> ShardedMap[int]:
    def compute(items: Iterator[int]) -> Iterator[Outcome]:
        for item in items:
            print("begins", item, flush=True)
            time.sleep(seconds)
            if item % 10 == 7 and (out / "broken").exists():
                yield f"i{item}", ClipError(Clip(video="v", start=item, end=item), "v.mp4", "is broken")
            else:
                yield f"i{item}", numbers(item)

    given: dict[str, Any] = {
        "out": out,
        "items": range(items),
        "key": lambda item: f"i{item}",
        "compute": compute,
        "settings": {"width": 5, "name": "sine"},
        "max_unreadable": 0.5,
        "tell": print,
    }
    return ShardedMap(**(given | changes))


if __name__ == "__main__":
    sharded(Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])).run()
