"""Weights on disk: safetensors with a config beside them, and LaViLa's published checkpoints.

No code of a file is ever executed: safetensors holds none, and pickles are opened with an allow-list only.
"""

from __future__ import annotations

import argparse
import dataclasses
import difflib
import json
import os
import re
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from henasy_stream.config import HenasyConfig
from henasy_stream.errors import UserError

FORMAT = "henasy-stream weights 1"
TEXT_TOWER = "towers.text"
"""How the names of a HENASY's text tower and its projection begin."""

LAVILA_NAMES: tuple[tuple[str, str], ...] = (
    (r"module\.", ""),
    (r"^transformer\.resblocks\.(\d+)\.ln_([12])\.", r"text.blocks.\1.norm\2."),
    (r"^transformer\.resblocks\.(\d+)\.attn\.in_proj_", r"text.blocks.\1.attn.qkv."),
    (r"^transformer\.resblocks\.(\d+)\.attn\.out_proj\.", r"text.blocks.\1.attn.proj."),
    (r"^transformer\.resblocks\.(\d+)\.mlp\.c_fc\.", r"text.blocks.\1.mlp.fc1."),
    (r"^transformer\.resblocks\.(\d+)\.mlp\.c_proj\.", r"text.blocks.\1.mlp.fc2."),
    (r"^(token_embedding\.|positional_embedding$|ln_final\.)", r"text.\1"),
)
"""The one table from LaViLa's names to those of `DualEncoder`, as regular expressions applied in this order."""


def from_lavila_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the parameters of a LaViLa checkpoint to those of `DualEncoder`; unknown names stay as they are."""
    renamed = {}
    for name, tensor in state.items():
        for pattern, replacement in LAVILA_NAMES:
            name = re.sub(pattern, replacement, name)
        renamed[name] = tensor
    return renamed


def save_weights(
    path: str | Path, state: Mapping[str, Tensor], config: HenasyConfig, *, text_from: str = "", **metadata: Any
) -> None:
    """Write tensors to `path` and `config` with `metadata` to the same name ending in `.json`.

    Both files appear complete or not at all.  Tensors keep their dtype.

    Args:
        path: ends in `.safetensors`.
        state: parameters by name, no two of them sharing memory.
        config: the sizes that fit them.
        text_from: name of the weights in the same folder whose text tower is this one's, which `state` then lacks.
        **metadata: anything that JSON can hold.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        raise ValueError(f"{path} must end in .safetensors")
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    note = {"format": FORMAT, "config": msgspec.to_builtins(config), "metadata": metadata}
    if text_from:
        note["text_from"] = text_from
    text = json.dumps(note, indent=1, ensure_ascii=False) + "\n"
    write_atomically(path, lambda temporary: save_file(tensors, temporary, metadata={"format": "pt"}))
    write_atomically(path.with_suffix(".json"), lambda temporary: Path(temporary).write_text(text, "utf-8"))


def load_weights(path: str | Path) -> tuple[dict[str, Tensor], HenasyConfig, dict[str, Any]]:
    """Read what `save_weights` wrote.

    Returns:
        The tensors (floating ones as float32, on the CPU), the config and the metadata.

    Raises:
        UserError: a file is missing, damaged, or of another kind; names it.
    """
    path = Path(path)
    beside = path.with_suffix(".json")
    state = read_safetensors(path)
    try:
        note = json.loads(beside.read_text("utf-8"))
    except FileNotFoundError:
        raise UserError(f"{beside} is missing: the config must lie beside the weights {path.name}") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{beside} is not readable JSON ({error}); copy it again from where the weights came") from None
    if not isinstance(note, dict) or note.get("format") != FORMAT:
        raise UserError(f"{beside} is no config of henasy-stream weights: it does not say format {FORMAT!r}")
    config = _config(HenasyConfig, note.get("config"), f"{beside}: config")
    metadata = note.get("metadata", {})
    if not isinstance(metadata, dict):
        raise UserError(f"{beside}: metadata must be an object, not {type(metadata).__name__}")
    if "text_from" in note:
        other = note["text_from"]
        if not isinstance(other, str) or Path(other).name != other:
            raise UserError(f"{beside}: text_from must be the name of a file in the same folder, not {other!r}")
        lent = read_safetensors(path.with_name(other))
        state |= {name: tensor for name, tensor in lent.items() if name.startswith(TEXT_TOWER)}
    return state, config, metadata


def read_safetensors(path: str | Path) -> dict[str, Tensor]:
    """All tensors of a file, floating ones as float32.

    Raises:
        UserError: missing, damaged or another kind of file.
    """
    try:
        return {name: _float32(tensor) for name, tensor in load_file(path).items()}
    except FileNotFoundError:
        raise UserError(f"{path} does not exist; give the path of a .safetensors file") from None
    except (SafetensorError, OSError, ValueError) as error:
        raise UserError(f"{path} is damaged or no safetensors file ({_short(error)}); fetch it again") from None


def read_pickle(path: str | Path) -> dict[str, Tensor]:
    """The `state_dict` of a PyTorch checkpoint, floating tensors as float32; the optimizer's state is not kept.

    Besides tensors the pickle may hold an `argparse.Namespace` and NumPy scalars, as LaViLa's checkpoints do; anything
    else is refused before it runs.

    Raises:
        UserError: missing, damaged, another kind of file, or one that would run code.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path} does not exist; give the path of a LaViLa checkpoint (.pth)")
    before = torch.serialization.get_safe_globals()
    torch.serialization.add_safe_globals([argparse.Namespace, *_NUMPY_SCALARS])
    try:
        # Mapped, so that the optimizer's state, two thirds of such a file, is never read.
        checkpoint = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except Exception as error:  # noqa: BLE001 - a damaged pickle fails in any way it likes
        forbidden = re.search(r"GLOBAL ([\w.]+)", str(error))
        if forbidden:
            raise UserError(
                f"{path} was not opened: it holds {forbidden[1]}, which is no weight and could run code; "
                "take the checkpoint from its publisher"
            ) from None
        raise UserError(f"{path} is damaged or no PyTorch checkpoint ({_short(error)}); fetch it again") from None
    finally:
        torch.serialization.clear_safe_globals()
        torch.serialization.add_safe_globals(before)
    state = checkpoint.get("state_dict", checkpoint) if isinstance(checkpoint, dict) else None
    if not isinstance(state, dict) or not state or not all(isinstance(tensor, Tensor) for tensor in state.values()):
        raise UserError(f"{path} holds no state_dict of tensors; is it a model checkpoint?")
    return {str(name): _float32(tensor) for name, tensor in state.items()}


def load_strictly(module: nn.Module, state: Mapping[str, Tensor], source: str | Path) -> None:
    """Put `state` into `module`, whose parameters may still be on the meta device.

    Raises:
        UserError: names, shapes or kinds of number differ; says how many and which are missing, unexpected and
            misshapen.
    """
    wanted = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    given = {name: tuple(tensor.shape) for name, tensor in state.items()}
    missing = [name for name in wanted if name not in given]
    unexpected = [name for name in given if name not in wanted]
    misshapen = [
        f"{name} {given[name]} instead of {shape}" for name, shape in wanted.items() if given.get(name, shape) != shape
    ]
    misshapen += [
        f"{name} of {state[name].dtype}"
        for name, tensor in module.state_dict().items()
        if name in state and state[name].is_floating_point() != tensor.is_floating_point()
    ]
    if missing or unexpected or misshapen:
        raise UserError(
            f"{source} does not fit {type(module).__name__}: {_listed('missing', missing)}; "
            f"{_listed('unexpected', unexpected)}; {_listed('misshapen', misshapen)}. Is it another model?"
        )
    module.load_state_dict(state, assign=True)


def _inert(module: str, name: str) -> type:
    """A class that a pickle meets in place of `module.name`: takes what it is given and does nothing."""
    members = {
        "__init__": lambda self, *args: None,
        "__setstate__": lambda self, state: None,
        "__module__": module,
        "__qualname__": name,
    }
    return type(name, (), members)


# LaViLa stores its best score, a NumPy scalar, in names that changed with NumPy 2; its value is not needed.
_NUMPY_SCALARS = (
    _inert("numpy.core.multiarray", "scalar"),
    _inert("numpy._core.multiarray", "scalar"),
    _inert("numpy", "dtype"),
)


def _float32(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.is_floating_point() else tensor


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:120] or type(error).__name__


def _listed(what: str, names: list[str], most: int = 5) -> str:
    shown = ", ".join(name[:120] for name in names[:most]) + (
        f", … {len(names) - most} more" if len(names) > most else ""
    )
    return f"{len(names)} {what}" + (f" ({shown})" if names else "")


def write_atomically(path: Path, write: Callable[[str], object]) -> None:
    """Lets `write` fill a temporary file, which then takes the place of `path`."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    try:
        write(temporary)
        umask = os.umask(0)
        os.umask(umask)
        Path(temporary).chmod(0o666 & ~umask)  # mkstemp's files are for the owner only
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _config(kind: type[HenasyConfig], data: Any, where: str) -> HenasyConfig:
    _refuse_unknown(kind, data, where)
    try:
        return msgspec.convert(data, kind)
    except msgspec.ValidationError as error:
        raise UserError(f"{where}: {error}") from None


def _refuse_unknown(kind: Any, data: Any, where: str) -> None:
    """Unknown keys are an error: a config from a newer version must not be half understood."""
    if not isinstance(data, dict):
        raise UserError(f"{where} must be an object, not {type(data).__name__}")
    known = {field.name: field for field in dataclasses.fields(kind)}
    for key, value in data.items():
        if key not in known:
            raise UserError(f"{where} has an unknown key {key!r}{_suggest(key, known)}")
        factory = known[key].default_factory
        if dataclasses.is_dataclass(factory):
            _refuse_unknown(factory, value, f"{where}.{key}")


def _suggest(key: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(str(key), list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""
