"""From a name or a path to a model that is ready to run."""

from __future__ import annotations

import difflib
import hashlib
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from henasy_stream._building import build_bar
from henasy_stream._progress import Bar
from henasy_stream.backends.bundle import is_bundle
from henasy_stream.backends.candidates import BACKENDS, CALLED, Building, list_candidates, needing_torch
from henasy_stream.backends.probe import Candidate, first_that_works
from henasy_stream.cache import cache_folder
from henasy_stream.errors import UserError

if TYPE_CHECKING:
    from henasy_stream.backends.base import Backend, NetworkState
    from henasy_stream.types import FloatArray, ModelSpec, NetworkOutput, UInt8Array

_FOLDER = Path(__file__).parent / "weights"
_SHIPPED = {path.stem: path for path in sorted(_FOLDER.glob("*.safetensors"))}
_BUNDLES = {path.parent.name: path.parent for path in sorted(_FOLDER.glob("*/manifest.json"))}
DEMO_WEIGHTS = _FOLDER / "demo.safetensors"
BUILT_IN = tuple(dict.fromkeys(("demo", *_SHIPPED, *_BUNDLES, "lavila")))
CHECKPOINT_SUFFIXES = (".pth", ".pt", ".ckpt", ".bin")


@dataclass(frozen=True, eq=False)
class Model:
    """Weights and what executes them; a `Backend` itself.

    `spec` is the backend's, or a copy in which the user changed how frames are prepared.
    """

    backend: Backend
    spec: ModelSpec

    @property
    def name(self) -> str:
        """What executes the network, for people."""
        return self.backend.name

    @property
    def capabilities(self) -> frozenset[str]:
        """Of "caption", "entities", "queries"."""
        return self.spec.capabilities

    def run_window(self, clip: UInt8Array) -> NetworkOutput:
        """See `Backend.run_window`."""
        return self.backend.run_window(clip)

    def initial_state(self) -> NetworkState:
        """See `Backend.initial_state`."""
        return self.backend.initial_state()

    def step(self, state: NetworkState, image: UInt8Array) -> tuple[NetworkState, NetworkOutput]:
        """See `Backend.step`."""
        return self.backend.step(state, image)

    def embed_texts(self, texts: Sequence[str]) -> FloatArray:
        """See `Backend.embed_texts`."""
        return self.backend.embed_texts(texts)


def load(
    name_or_path: str | Path = "demo",
    backend: Literal["auto", "onnxruntime", "torch", "tensorrt", "torch-tensorrt"] = "auto",
    *,
    report: Callable[[str], None] | None = None,
    building: Building | None = None,
) -> Model:
    """Loads weights.

    Args:
        name_or_path: "demo" or another file of the package's `weights` folder (they know the synthetic world only);
            "lavila" (LaViLa's public TSF-B dual encoder, downloaded once into the cache); a LaViLa checkpoint (`.pth`),
            converted once to safetensors in the cache, without the optimizer's state; weights of this project
            (`.safetensors` beside its `.json`); or a bundle, the folder that `export/export.py` makes.
        backend: what executes the network; "auto" is the first that works here: for a bundle, which "demo" also is,
            TensorRT where its engine has been built, then ONNX Runtime; then PyTorch.  A bundle's golden step tells
            whether one works.  "tensorrt" builds the engine if need be, which takes minutes; "torch-tensorrt" compiles
            at every start.
        report: takes lines about downloads, conversions and backends that were passed over; stderr when None.
        building: told of an engine that is built: the share that is done, and of what; a bar on stderr when None.

    Raises:
        UserError: there are no such weights, they are damaged or of another kind, no backend runs them, or there is no
            network.
    """
    report = report or (lambda line: print(line, file=sys.stderr))
    if backend not in BACKENDS:
        raise UserError(f"backend {backend!r}: there are {', '.join(BACKENDS)}")
    name = str(name_or_path)
    check_weights(name)
    with build_bar(report) as bar:
        there = candidates(name, report, (building or bar) if backend == "tensorrt" else None)
        able = [one for one in there if backend == one.name or (backend == "auto" and one.auto)]
        if not able and backend.startswith("torch"):
            raise UserError(f"{name} is a bundle, which runs without torch; take --backend onnxruntime or tensorrt")
        if not able:
            raise UserError(f"{CALLED[backend]} runs bundles: python export/export.py --weights {name} --out bundle/")
        executed = first_that_works(able, report)
    return Model(executed, executed.spec)


def candidates(name: str, report: Callable[[str], None], building: Building | None = None) -> tuple[Candidate, ...]:
    """What may execute the weights of a name or path, the preferred first; see `list_candidates`."""
    folder = bundle_folder(name)
    weights = partial(weights_file, name, report) if has_weights(name) else None
    return list_candidates(name, folder, weights, report, building)


def bundle_folder(name: str) -> Path | None:
    """The bundle of a name or path, if that has one."""
    return _BUNDLES.get(name) if name in BUILT_IN else _folder(Path(name).expanduser())


def has_weights(name: str) -> bool:
    """Whether a name or path has weights for PyTorch: all but a bundle by itself."""
    return name in _SHIPPED or bundle_folder(name) is None


def check_weights(name_or_path: str) -> None:
    """Raises the UserError that `load` raises for a wrong name or path, without reading or downloading anything."""
    if name_or_path not in BUILT_IN and not is_bundle(Path(name_or_path).expanduser()):
        _check_path(name_or_path)


def weights_file(name: str, report: Callable[[str], None]) -> Path:
    """The safetensors file that a name or path stands for, downloaded or converted where need be.

    Raises:
        UserError: as `load`.
    """
    if name == "demo":
        if not DEMO_WEIGHTS.is_file():
            raise UserError(f"the demo weights are missing from this installation ({DEMO_WEIGHTS}); install it again")
        return DEMO_WEIGHTS
    if name in _SHIPPED:
        return _SHIPPED[name]
    if name == "lavila":
        return _public_lavila(report)
    path = _check_path(name)
    return path if path.suffix == ".safetensors" else _converted(path, report)


def _check_path(name: str) -> Path:
    path = Path(name).expanduser()
    names = ", ".join(BUILT_IN)
    if not name or not path.exists():
        close = difflib.get_close_matches(name, BUILT_IN, n=1)
        hint = f"did you mean {close[0]}?" if close else f"give one of {names}, or a .safetensors or .pth file"
        raise UserError(f"weights {name!r}: no such file; {hint}")
    if path.is_dir():
        raise UserError(f"weights {name!r}: a folder without manifest.json, so no bundle; give a bundle, or a file")
    if path.suffix != ".safetensors" and path.suffix not in CHECKPOINT_SUFFIXES:
        raise UserError(f"weights {name!r}: give one of {names}, or a file ending in .safetensors or .pth")
    if path.stat().st_size == 0:
        raise UserError(f"weights {name!r}: the file is empty; copy it again")
    return path


def _public_lavila(report: Callable[[str], None]) -> Path:
    from henasy_stream import download

    release = download.LAVILA_TSF_B
    folder = cache_folder()
    converted = folder / f"{Path(release.file_name).stem}.safetensors"
    if not _is_complete(converted):
        checkpoint = download.fetch(release, folder, report=report)
        _convert(checkpoint, converted, report)
        checkpoint.unlink()  # what it holds besides the weights is not needed, and it is large
    return converted


def _converted(checkpoint: Path, report: Callable[[str], None]) -> Path:
    # By place, size and time: to hash gigabytes at every start would take longer than to load them.
    state = checkpoint.stat()
    identity = f"{checkpoint.resolve()}\0{state.st_size}\0{state.st_mtime_ns}"
    key = hashlib.sha256(identity.encode()).hexdigest()[:12]
    converted = cache_folder() / f"{checkpoint.stem}-{key}.safetensors"
    if not _is_complete(converted):
        _convert(checkpoint, converted, report)
    return converted


def _is_complete(weights: Path) -> bool:
    return weights.is_file() and weights.with_suffix(".json").is_file()


def _convert(checkpoint: Path, out: Path, report: Callable[[str], None]) -> None:
    with needing_torch():
        from henasy_stream.model.lavila import convert_lavila
    report(f"converting {checkpoint} to {out} (once)")
    with Bar("converting", counted="time"):
        convert_lavila(checkpoint, out)


def _folder(path: Path) -> Path | None:
    return path if path.is_dir() else None
