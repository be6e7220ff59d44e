"""Checkpoints from which a run goes on exactly where it stopped: written atomically, read without running any code."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from henasy_stream.errors import UserError


def save_checkpoint(path: Path, state: Mapping[str, Any]) -> None:
    """Write `state` (tensors, numbers, strings, containers) so that a crash leaves the old file or the new one."""
    temporary = path.with_name(f".{path.name}.part")  # one name, so that killed runs don't fill the disk
    with temporary.open("wb") as file:
        torch.save(dict(state), file)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read what `save_checkpoint` wrote.

    Raises:
        UserError: the file is not such a checkpoint.
    """
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # noqa: BLE001 - a damaged pickle fails in any way it likes
        reason = " ".join(str(error).split())[:120]
        raise UserError(f"{path} is damaged or no checkpoint ({reason}); delete it or choose another --out") from None
