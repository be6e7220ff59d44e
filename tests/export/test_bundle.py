"""What an export writes runs without torch, as the network does, and is refused when somebody has changed it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import henasy_stream as hs
from export.bundle import Written, write_bundle
from henasy_stream.backends.base import Backend, NetworkState
from henasy_stream.backends.bundle import open_bundle
from henasy_stream.backends.onnxruntime_backend import OnnxRuntimeBackend
from henasy_stream.backends.torch_backend import TorchBackend
from henasy_stream.errors import UserError
from henasy_stream.types import NetworkOutput
from tests.export.conftest import KINDS, SMALL

WITHOUT_TORCH = """
import sys, henasy_stream as hs
model = hs.load(sys.argv[1])
with hs.open_source("world?size=96x96&fps=2&seconds=6") as source:
    seen = list(hs.stream(model, source, queries=["cup"]))
assert len(seen) >= 12 and seen[-1].closed, len(seen)
assert "torch" not in sys.modules
print(model.name)
"""


def pictures(count: int) -> np.ndarray:
    return np.random.default_rng(5).integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)


def assert_same(found: NetworkOutput, wanted: NetworkOutput) -> None:
    for name in ("video_embedding", "entity_embeddings", "entity_probability", "entity_attention"):
        one, other = getattr(found, name), getattr(wanted, name)
        assert (one is None) == (other is None), name
        if one is not None:
            np.testing.assert_allclose(one, other, atol=1e-4, err_msg=name)


@pytest.mark.parametrize("kind", KINDS)
def test_a_bundle_says_what_it_is_and_how_far_from_the_reference(bundles: dict[str, Written], kind: str) -> None:
    manifest = open_bundle(bundles[kind].folder).manifest
    assert manifest.spec.model_id == kind
    step = manifest.graphs["causal" if kind == "causal" else "window"]
    for graph in manifest.graphs.values():
        assert graph.parity is not None
        assert max(graph.parity.worst.values()) < graph.parity.tolerance == 1e-4
    assert step.parity is not None
    assert step.parity.rollout.keys() == (step.parity.worst.keys() if kind == "causal" else set())
    assert step.opset == 20
    assert manifest.commit
    assert {port.name for port in step.outputs} >= {"video_embedding"}
    assert sum(step.operators.values()) > 50
    assert set(step.state.values()) <= {port.name for port in step.outputs}
    assert set(step.state) == {port.name for port in step.inputs if port.name.startswith("state.")}
    assert bool(step.state) == (kind == "causal")


@pytest.mark.parametrize("kind", KINDS)
def test_a_bundle_runs_in_a_process_that_never_imports_torch(bundles: dict[str, Written], kind: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, str(bundles[kind].folder)], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "onnxruntime-cpu\n"


@pytest.mark.parametrize("kind", ["window", "lavila"])
def test_windows_are_the_networks(bundles: dict[str, Written], weights: dict[str, Path], kind: str) -> None:
    torch_backend, onnx = TorchBackend.from_file(weights[kind]), OnnxRuntimeBackend.from_bundle(bundles[kind].folder)
    assert onnx.spec == torch_backend.spec
    assert_same(onnx.run_window(pictures(3)), torch_backend.run_window(pictures(3)))
    texts = ["", "cup", "a much longer text that does not fit into twelve tokens of context"]
    np.testing.assert_allclose(onnx.embed_texts(texts), torch_backend.embed_texts(texts), atol=1e-5)
    assert onnx.embed_texts([]).shape == (0, SMALL.embed_dim)


@pytest.mark.parametrize("first", ["torch", "onnxruntime"])
def test_a_stream_goes_on_with_the_other_backend(
    bundles: dict[str, Written], weights: dict[str, Path], first: str
) -> None:
    one: Backend = TorchBackend.from_file(weights["causal"])
    other: Backend = OnnxRuntimeBackend.from_bundle(bundles["causal"].folder)
    if first == "onnxruntime":
        one, other = other, one
    frames = pictures(11)
    alone, state = one.initial_state(), one.initial_state()
    saved: NetworkState
    for frame in frames[:5]:
        alone, _ = one.step(alone, frame)
        state, _ = one.step(state, frame)
    saved = state.to_host()
    for frame in frames[5:]:
        alone, wanted = one.step(alone, frame)
        saved, found = other.step(saved, frame)
        assert_same(found, wanted)
    assert saved.filled == alone.filled == 3
    empty, fresh = other.step(saved.reset(), frames[0])[1], other.step(other.initial_state(), frames[0])[1]
    assert_same(empty, fresh)


def edit(**changes: object) -> Callable[[Path], object]:
    def apply(folder: Path) -> None:
        path = folder / "manifest.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return apply


def edit_files(name: str, **changes: object) -> Callable[[Path], object]:
    def apply(folder: Path) -> None:
        path = folder / "manifest.json"
        manifest = json.loads(path.read_text())
        manifest["files"][name] = manifest["files"].get(name, {}) | changes
        path.write_text(json.dumps(manifest))

    return apply


def cut(name: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:-100])


def flip(name: str) -> Callable[[Path], object]:
    def apply(folder: Path) -> None:
        content = bytearray((folder / name).read_bytes())
        content[len(content) // 2] ^= 1
        (folder / name).write_bytes(content)

    return apply


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        (lambda folder: (folder / "manifest.json").unlink(), r"manifest\.json"),
        (lambda folder: (folder / "manifest.json").write_text("{"), r"manifest\.json is damaged or no manifest"),
        (lambda folder: (folder / "manifest.json").write_text("[]"), r"manifest\.json is damaged or no manifest"),
        (lambda folder: (folder / "manifest.json").write_bytes(b" " * (5 << 20)), r"manifest\.json is no manifest"),
        (edit(schema=1), r"has schema 1, this version reads 2; export it again"),
        (edit(schema=3), r"has schema 3, this version reads 2; update henasy-stream"),
        (edit(run="rm -rf /"), r"unknown field `run`"),
        (edit(spec={"model_id": "x"}), r"missing required field"),
        (edit_files("../window.onnx", size=1, sha256=""), r"'\.\./window\.onnx' is not a file of the bundle"),
        (edit_files("window.onnx", beside=".."), r"'\.\.' is no bundle beside this one"),
        (edit_files("window.onnx", beside="a/b"), r"'a/b' is no bundle beside this one"),
        (edit_files("window.onnx", beside="other"), r"other/window\.onnx is missing"),
        (edit(files={}), r"'golden\.npz' is not a file of the bundle"),
        (edit(vocabulary_hash="0" * 64), r"the vocabulary is not the one that was exported"),
        (lambda folder: (folder / "text.onnx").unlink(), r"text\.onnx is missing"),
        (cut("window.onnx"), r"window\.onnx has \d+ bytes instead of"),
        (flip("window.onnx"), r"window\.onnx is not the file that was exported"),
        (flip("golden.npz"), r"golden\.npz is not the file that was exported"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_bundle_that_was_changed_is_refused_and_the_file_named(
    bundles: dict[str, Written], tmp_path: Path, harm: Callable[[Path], object], told: str
) -> None:
    folder = tmp_path / "bundle"
    shutil.copytree(bundles["window"].folder, folder)
    open_bundle(folder)
    harm(folder)
    with pytest.raises(UserError, match=told):
        open_bundle(folder)


def test_a_graph_that_the_runtime_cannot_run_is_told_in_a_line(bundles: dict[str, Written], tmp_path: Path) -> None:
    from henasy_stream.backends.bundle import sum_of

    folder = tmp_path / "bundle"
    shutil.copytree(bundles["window"].folder, folder)
    (folder / "window.onnx").write_bytes(b"no graph at all")
    size = sum_of(folder / "window.onnx")
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"]["window.onnx"] = {"size": size.size, "sha256": size.sha256}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(UserError, match=r"ONNX Runtime .* does not run .*window\.onnx"):
        hs.load(folder)


def test_a_folder_of_something_else_is_not_overwritten(weights: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(UserError, match="holds something else than a bundle"):
        write_bundle(weights["window"], tmp_path, steps=8)
    assert (tmp_path / "thesis.txt").exists()


def test_names_and_backends_that_do_not_fit_are_told(bundles: dict[str, Written], tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"export/export\.py --weights lavila"):
        hs.load("lavila", "onnxruntime")
    with pytest.raises(UserError, match="take --backend onnxruntime"):
        hs.load(bundles["window"].folder, "torch")
    with pytest.raises(UserError, match=r"manifest\.json"):
        hs.load(tmp_path)


@pytest.mark.parametrize("kind", KINDS)
def test_bytes_are_cast_before_anything_else(bundles: dict[str, Written], kind: str) -> None:
    """TensorRT takes them as inputs and does nothing else with them."""
    import onnx

    name = "causal" if kind == "causal" else "window"
    graph = onnx.load(str(bundles[kind].folder / f"{name}.onnx")).graph
    pictures_ = {"frames", "frame"}
    users = {node.op_type for node in graph.node if pictures_ & set(node.input)}
    assert users == {"Cast"}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["window", "causal"])
def test_half_precision_is_typed_and_runs(weights: dict[str, Path], halves: dict[str, Written], kind: str) -> None:
    written = halves[kind]
    assert written.half is not None
    told = open_bundle(written.folder).manifest.assignments
    assert told is not None
    assert (told.tokens, told.flips, told.error) == (written.half.tokens, written.half.flips, written.half.error)
    assert written.half.holds
    graph = written.manifest.graphs[kind]
    assert {port.dtype for port in graph.outputs if not port.name.startswith("next.")} == {"float32"}
    states = {port.dtype for port in graph.inputs if port.name.startswith("state.")}
    assert states == ({"float16"} if kind == "causal" else set())
    full, half = TorchBackend.from_file(weights[kind]), OnnxRuntimeBackend.from_bundle(written.folder)
    frames = pictures(4)
    if kind == "window":
        found, wanted = half.run_window(frames[:3]), full.run_window(frames[:3])
    else:
        one, other = half.initial_state(), full.initial_state()
        for frame in frames:
            one, found = half.step(one, frame)
            other, wanted = full.step(other, frame)
        half.step(other.to_host(), frames[0])
        full.step(one.to_host(), frames[0])
    np.testing.assert_allclose(found.video_embedding, wanted.video_embedding, atol=0.03)
