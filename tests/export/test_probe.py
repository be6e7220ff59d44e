"""The first backend that computes what the weights compute runs them; whatever is wrong with another is told."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper

import henasy_stream as hs
from export.bundle import Written
from henasy_stream import loading
from henasy_stream.backends.base import Backend
from henasy_stream.backends.bundle import GOLDEN, sum_of
from henasy_stream.backends.onnxruntime_backend import OnnxRuntimeBackend
from henasy_stream.backends.probe import Candidate, Golden, attempt, first_that_works
from henasy_stream.backends.torch_backend import TorchBackend
from henasy_stream.errors import UserError
from henasy_stream.types import FloatArray, NetworkOutput, UInt8Array
from tests.export.conftest import KINDS

LOAD = """
import sys, henasy_stream as hs
try:
    print(hs.load("demo", sys.argv[1]).name)
except hs.UserError as error:
    print("UserError:", error)
"""


def signed(folder: Path, name: str) -> None:
    """Makes the manifest agree with a file that was changed: only the golden step can still tell."""
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    state = sum_of(folder / name)
    manifest["files"][name] = {"size": state.size, "sha256": state.sha256}
    path.write_text(json.dumps(manifest))


def copy_of(written: Written, tmp_path: Path) -> Path:
    return Path(shutil.copytree(written.folder, tmp_path / "copy"))


@pytest.mark.parametrize("kind", KINDS)
def test_a_bundle_and_the_network_it_was_made_of_pass(
    bundles: dict[str, Written], weights: dict[str, Path], kind: str
) -> None:
    folder = bundles[kind].folder
    for load in (partial(OnnxRuntimeBackend.from_bundle, folder), partial(TorchBackend.from_file, weights[kind])):
        tried = attempt(Candidate(name="one", open=load, bundle=folder), steps=3)
        assert tried.ok, tried.reason
        assert tried.reason == ""
        assert tried.step_ms is not None
        assert 0 < tried.step_ms < 10_000


@pytest.mark.slow
def test_half_precision_passes_within_its_tolerance(halves: dict[str, Written]) -> None:
    folder = halves["window"].folder
    assert Golden.read(folder).tolerance > 1e-2
    assert hs.load(folder).name == "onnxruntime-cpu"


@pytest.mark.parametrize("kind", KINDS)
def test_a_graph_with_scaled_weights_is_refused(bundles: dict[str, Written], tmp_path: Path, kind: str) -> None:
    folder = copy_of(bundles[kind], tmp_path)
    name = "causal.onnx" if kind == "causal" else "window.onnx"
    graph = onnx.load(str(folder / name))
    for tensor in graph.graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT and len(tensor.dims) == 2:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * 1.5, tensor.name))
    onnx.save(graph, str(folder / name))
    signed(folder, name)
    OnnxRuntimeBackend.from_bundle(folder)
    with pytest.raises(UserError, match=r"onnxruntime-cpu computes something else than the weights: \d+% of \w+"):
        hs.load(folder)


def test_most_weights_of_the_demo_cannot_change_unnoticed() -> None:
    """Those that can lie before a normalisation, or are constants that do not matter."""
    folder = loading.DEMO_WEIGHTS.with_suffix("")
    golden, graph = Golden.read(folder), onnx.load(str(folder / "window.onnx"))
    floats = [t for t in graph.graph.initializer if t.data_type == onnx.TensorProto.FLOAT and np.prod(t.dims) > 32]
    names = [output.name for output in graph.graph.output]

    def executed(clip: UInt8Array) -> NetworkOutput:
        session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
        found = session.run(names, {"frames": clip[None]})
        return NetworkOutput(**{name: value[0] for name, value in zip(names, found, strict=True)})

    spec = SimpleNamespace(attention="window")

    def embedded(_: list[str]) -> np.ndarray:
        return golden.embedding[None]

    backend = SimpleNamespace(name="scaled", spec=spec, run_window=executed, embed_texts=embedded)
    golden.run(backend)
    refused = []
    for tensor in floats[::8]:
        before = numpy_helper.to_array(tensor).copy()
        tensor.CopyFrom(numpy_helper.from_array(before * 1.5, tensor.name))
        try:
            golden.run(backend)
        except UserError:
            refused.append(tensor.name)
        tensor.CopyFrom(numpy_helper.from_array(before, tensor.name))
    assert len(refused) >= 0.8 * len(floats[::8]) > 10


def test_a_changed_text_tower_is_refused(bundles: dict[str, Written], tmp_path: Path) -> None:
    folder = copy_of(bundles["window"], tmp_path)
    graph = onnx.load(str(folder / "text.onnx"))
    for tensor in graph.graph.initializer:
        if tensor.name == "projection":
            tensor.CopyFrom(numpy_helper.from_array(-numpy_helper.to_array(tensor), tensor.name))
    onnx.save(graph, str(folder / "text.onnx"))
    signed(folder, "text.onnx")
    with pytest.raises(UserError, match="of text_embedding differ"):
        hs.load(folder)


def test_a_golden_step_of_something_else_is_told(bundles: dict[str, Written], tmp_path: Path) -> None:
    folder = copy_of(bundles["window"], tmp_path)
    np.savez(folder / GOLDEN, sound=np.zeros(3))
    signed(folder, GOLDEN)
    with pytest.raises(UserError, match=r"golden\.npz holds no step of these weights"):
        hs.load(folder)


class Twisted:
    """A backend whose outputs are changed."""

    def __init__(self, inner: Backend, change: Callable[[NetworkOutput], NetworkOutput], name: str = "twisted") -> None:
        self._inner, self._change = inner, change
        self.name, self.spec = name, inner.spec

    def run_window(self, clip: UInt8Array) -> NetworkOutput:
        return self._change(self._inner.run_window(clip))

    def embed_texts(self, texts: list[str]) -> FloatArray:
        return self._inner.embed_texts(texts)


def share(value: float, count: int) -> Callable[[NetworkOutput], NetworkOutput]:
    def change(output: NetworkOutput) -> NetworkOutput:
        assert output.entity_probability is not None
        changed = output.entity_probability.copy()
        changed.reshape(-1)[:count] = value
        return dataclasses.replace(output, entity_probability=changed)

    return change


def test_a_token_at_the_border_may_flip_and_a_number_that_is_none_may_not(bundles: dict[str, Written]) -> None:
    folder = bundles["window"].folder
    inner = OnnxRuntimeBackend.from_bundle(folder)
    golden = Golden.read(folder)
    size = golden.outputs["entity_probability"].size
    golden.run(Twisted(inner, share(2.0, size // 150)))  # type: ignore[arg-type]
    for change in (
        share(2.0, size // 50),
        share(np.nan, 1),
        lambda output: dataclasses.replace(output, entity_probability=None),
        lambda output: dataclasses.replace(output, video_embedding=output.video_embedding[:-1]),
        lambda output: dataclasses.replace(output, video_embedding=output.video_embedding * 1.1),
    ):
        with pytest.raises(UserError, match="twisted computes something else"):
            golden.run(Twisted(inner, change))  # type: ignore[arg-type]


def test_a_gpu_may_round_as_its_convolutions_do(bundles: dict[str, Written]) -> None:
    def rounded(output: NetworkOutput) -> NetworkOutput:
        return dataclasses.replace(output, video_embedding=output.video_embedding + np.float32(0.01))

    inner = OnnxRuntimeBackend.from_bundle(bundles["window"].folder)
    golden = Golden.read(bundles["window"].folder)
    golden.run(Twisted(inner, rounded, "torch-cuda"))  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"video_embedding differ by more than 0\.001"):
        golden.run(Twisted(inner, rounded, "torch-cpu"))  # type: ignore[arg-type]


def test_those_that_do_not_work_are_passed_over_and_told(bundles: dict[str, Written]) -> None:
    def broken() -> Backend:
        raise OSError("libcudart.so.13: cannot open shared\nobject file")

    def works() -> Backend:
        return OnnxRuntimeBackend.from_bundle(bundles["window"].folder)

    one = Candidate(name="one", open=broken, bundle=None)
    two = Candidate(name="two", open=works, bundle=bundles["window"].folder)
    told: list[str] = []
    assert first_that_works([one, two, one], told.append).name == "onnxruntime-cpu"
    assert told == ["one is passed over: OSError: libcudart.so.13: cannot open shared object file"]
    with pytest.raises(UserError, match=r"no backend runs these weights: one: OSError: .*; three: OSError") as error:
        first_that_works([one, dataclasses.replace(one, name="three")], told.append)
    assert "\n" not in str(error.value)
    with pytest.raises(OSError, match="libcudart"):
        first_that_works([one], told.append)


def test_demo_goes_on_with_torch_when_its_bundle_is_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Path(shutil.copytree(loading.DEMO_WEIGHTS.with_suffix(""), tmp_path / "demo"))
    graph = folder / "window.onnx"
    graph.write_bytes(graph.read_bytes()[:-1])
    monkeypatch.setattr(loading, "_BUNDLES", {"demo": folder})
    told: list[str] = []
    assert hs.load("demo", report=told.append).name.startswith("torch-")
    assert len(told) == 1
    assert told[0].startswith("onnxruntime is passed over: ")
    assert "window.onnx has" in told[0]


@pytest.mark.parametrize(
    ("broken", "backend", "printed", "told"),
    [
        (("onnxruntime",), "auto", r"torch-cpu", r"onnxruntime is passed over: bundles need ONNX Runtime \(no GLIBC"),
        (("onnxruntime",), "onnxruntime", r"UserError: bundles need ONNX Runtime \(no GLIBC.*pip install onnx", r""),
        (
            ("onnxruntime", "torch"),
            "auto",
            r"UserError: no backend runs these weights: onnxruntime: bundles need .*; torch: this needs PyTorch .*",
            r"onnxruntime is passed over",
        ),
    ],
)
def test_libraries_that_cannot_be_imported(
    tmp_path: Path, broken: tuple[str, ...], backend: str, printed: str, told: str
) -> None:
    for name in broken:
        (tmp_path / f"{name}.py").write_text("raise ImportError('no GLIBC_9.9')")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", LOAD, backend], capture_output=True, text=True, timeout=120, env=environment, check=True
    )
    assert re.match(printed, done.stdout)
    assert done.stdout.count("\n") == 1
    assert re.match(told, done.stderr)
