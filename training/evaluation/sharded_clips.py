"""Embeddings of an evaluation's clips, made by all of torchrun's workers together: one file a clip, see `shards`."""

from __future__ import annotations

import dataclasses
import hashlib
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from rich.console import Console

from training.data.loader import Read
from training.data.ordered import Clips
from training.data.records import ClipError
from training.distributed import ranks_of_environment
from training.evaluation.shards import Outcome, ShardedMap
from training.progress import progress_bar

Embedded = tuple[int, npt.NDArray[np.float32] | ClipError]
"""The place of a clip, and its vectors or why it has none."""


def embed_sharded(
    clips: Clips,
    read: Read,
    embed: Callable[[Iterable[int]], Iterator[Embedded]],
    out: Path,
    settings: Mapping[str, Any],
) -> Iterator[Embedded]:
    """What `embed` gives for each clip, in their order, in every worker; what the folder has is not made again.

    Args:
        clips: all of them.
        read: how `embed` looks at a clip; its fields are settings, but for where the files lie.
        embed: takes places of clips, which it may take one by one as it needs them.
        out: a folder that all workers share.
        settings: what else the vectors depend on.

    Raises:
        UserError: the folder was made with other settings, or for other clips.
    """

    def compute(rows: Iterator[int]) -> Iterator[Outcome]:
        for row, outcome in embed(rows):
            yield _key(row), outcome if isinstance(outcome, ClipError) else torch.from_numpy(outcome)

    ranks = ranks_of_environment()
    work = ShardedMap(
        out=out,
        items=range(len(clips)),
        key=_key,
        compute=compute,
        settings={**settings, **_fields(read), "clips_sha256": _digest(clips)},
        ranks=ranks,
        max_unreadable=1.0,
        tell=lambda line: print(line, file=sys.stderr),
    )
    with progress_bar(Console(stderr=True, quiet=ranks.rank > 0)) as bar:
        task = bar.add_task("clips", total=-(-len(clips) // ranks.size), note="")
        made = work.run(seen=lambda key: bar.advance(task))
    for row in range(len(clips)):
        why = made.unreadable.get(_key(row))
        yield row, ClipError(clips[row], **why) if why else torch.load(work.path(_key(row)), weights_only=True).numpy()


def _key(row: int) -> str:
    return f"{row:07d}"


def _fields(read: Read) -> dict[str, str]:
    if not dataclasses.is_dataclass(read):
        return {}
    return {field.name: str(getattr(read, field.name)) for field in dataclasses.fields(read) if field.name != "store"}


def _digest(clips: Clips) -> str:
    digest = hashlib.sha256()
    for row in range(len(clips)):
        clip = clips[row]
        digest.update(f"{clip.video} {clip.start} {clip.end}\n".encode())
    return digest.hexdigest()
