"""From names and files to models: LaViLa's layout in tiny sizes, our own format, and everything that is neither."""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from henasy_stream import download, live, loading
from henasy_stream.config import HenasyConfig
from henasy_stream.download import Release
from henasy_stream.errors import UserError
from henasy_stream.loading import load
from henasy_stream.model import Henasy
from henasy_stream.model.checkpoints import save_weights
from tests.stream.causal_weights import write_weights
from tests.test_download import Server, no_proxy

GOLDEN = Path(__file__).parent / "golden"
VOCABULARY = 49408


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    """A LaViLa checkpoint's parameters under their official names, tiny, with the real vocabulary."""
    found = load_file(GOLDEN / "lavila_timesformer_tiny.safetensors") | load_file(
        GOLDEN / "lavila_text_tiny.safetensors"
    )
    state = {name: tensor for name, tensor in found.items() if name.startswith("module.")}
    embedding = state["module.token_embedding.weight"]
    state["module.token_embedding.weight"] = embedding.repeat(-(-VOCABULARY // len(embedding)), 1)[:VOCABULARY].clone()
    return state


@pytest.fixture
def checkpoint(tmp_path: Path, state: dict[str, torch.Tensor]) -> Path:
    """The file as LaViLa's trainer writes it: arguments and the optimizer's state beside the parameters."""
    path = tmp_path / "lavila.pth"
    optimizer = {"state": {0: {"exp_avg": torch.zeros(100_000)}}}
    content = {"epoch": 5, "state_dict": state, "optimizer": optimizer, "args": argparse.Namespace(model="tiny")}
    torch.save(content, path)
    return path


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HENASY_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_a_lavila_checkpoint_is_converted_once_and_runs(checkpoint, cache):
    told: list[str] = []
    model = load(checkpoint, report=told.append)
    assert [line for line in told if line.startswith("converting ")] == told
    assert len(told) == 1
    assert model.capabilities == {"caption", "queries"}
    assert model.spec.span_s == 1.0
    assert model.spec.num_frames == 4
    clip = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), np.uint8)
    output = model.run_window(clip)
    assert output.entity_embeddings is None
    assert np.linalg.norm(output.video_embedding) == pytest.approx(1, abs=1e-5)
    again = load(checkpoint, report=told.append)
    assert len(told) == 1
    np.testing.assert_array_equal(again.run_window(clip).video_embedding, output.video_embedding)
    (converted,) = cache.glob("*.safetensors")
    assert not any("exp_avg" in name or "optimizer" in name for name in load_file(converted))


def test_a_checkpoint_that_changed_is_converted_again(checkpoint, state):
    told: list[str] = []
    load(checkpoint, report=told.append)
    torch.save({"state_dict": {name: tensor + 0 for name, tensor in state.items()}, "more": "x"}, checkpoint)
    load(checkpoint, report=told.append)
    assert len(told) == 2


def test_live_with_a_lavila_checkpoint_gives_captions_and_scores_and_says_so(checkpoint, tmp_path, capfd):
    record = tmp_path / "r.jsonl"
    arguments = ["--source", "world?size=64x48", "--max-frames", "60", "--headless", "--record", str(record)]
    assert live.main([*arguments, "--weights", str(checkpoint), "--queries", "чашка, 🔪"]) == 0
    said = capfd.readouterr().err
    assert said.count("no entities") == 1
    text = record.read_text(encoding="utf-8")
    assert '"henasy/1/tracks"' not in text
    assert '"text":"чашка"' in text
    assert '"text":"🔪"' in text


def test_lavila_by_name_is_downloaded_converted_and_kept(checkpoint, cache, monkeypatch):
    no_proxy(monkeypatch)
    server = Server()
    server.content = checkpoint.read_bytes()
    md5 = hashlib.md5(server.content).hexdigest()
    release = Release(
        name="tiny", base_url=server.release.base_url, file_name="tiny.pth", md5_prefix=md5[:6], licence="MIT"
    )
    monkeypatch.setattr(download, "LAVILA_TSF_B", release)
    told: list[str] = []
    model = load("lavila", report=told.append)
    server.shutdown()
    server.server_close()
    assert model.capabilities == {"caption", "queries"}
    assert any(line.startswith("licence: ") for line in told)
    assert not (cache / "tiny.pth").exists()
    load("lavila", report=told.append)  # the server is gone
    assert sum(line.startswith("downloading") for line in told) == 1


def test_lavila_without_a_network_is_one_line(monkeypatch):
    no_proxy(monkeypatch)
    gone = dataclasses.replace(download.LAVILA_TSF_B, base_url="http://127.0.0.1:9/x")
    monkeypatch.setattr(download, "LAVILA_TSF_B", gone)
    monkeypatch.setattr(download, "_PAUSES_S", (0.0,))
    with pytest.raises(UserError, match=r"curl -L -C - -O .*--weights") as error:
        load("lavila", report=lambda line: None)
    assert "\n" not in str(error.value)


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    config = HenasyConfig.demo()
    torch.manual_seed(0)
    path = tmp_path / "own.safetensors"
    save_weights(path, Henasy(config).state_dict(), config, model_id="own")
    return path


def test_weights_that_ship_with_the_package_are_known_by_name():
    for path in loading.DEMO_WEIGHTS.parent.glob("*.safetensors"):
        loading.check_weights(path.stem)
        assert loading.weights_file(path.stem, print) == path


def test_live_with_causal_weights_says_so_and_runs(tmp_path, capfd):
    record = tmp_path / "r.jsonl"
    arguments = ["--source", "world?size=64x48", "--max-frames", "40", "--headless", "--record", str(record)]
    assert live.main([*arguments, "--weights", str(write_weights(tmp_path))]) == 0
    assert "causal, remembers 3 frames over 0.2 s" in capfd.readouterr().err
    topics = [json.loads(line)["topic"] for line in record.read_text(encoding="utf-8").splitlines()]
    assert topics.count("henasy/1/tracks") == 14  # 40 frames at 30 a second, ten of which are samples
    assert "henasy/1/caption" in topics


def test_our_own_weights_run(weights):
    model = load(weights)
    assert model.capabilities == {"caption", "entities", "queries"}
    assert model.spec.model_id == "own"
    spec = model.spec
    output = model.run_window(np.zeros((spec.num_frames, spec.image_size, spec.image_size, 3), np.uint8))
    assert output.entity_probability is not None
    assert output.entity_probability.shape == (spec.num_frames, spec.grid, spec.grid, spec.num_entities)


def rejected(name: str | Path) -> str:
    with pytest.raises(UserError) as error:
        load(name)
    text = str(error.value)
    assert "\n" not in text
    return text


def test_weights_of_another_shape_say_what_differs(weights):
    state = load_file(weights)
    first = next(name for name, tensor in state.items() if tensor.ndim == 2)
    state[first] = torch.zeros(3, 5)
    save_weights(weights, state, HenasyConfig.demo())
    assert first in rejected(weights)
    assert "1 misshapen" in rejected(weights)


def test_corrupt_weights_are_one_line(weights, checkpoint):
    content = weights.read_bytes()
    weights.write_bytes(content[: len(content) // 2])
    assert "own.safetensors" in rejected(weights)
    weights.write_bytes(b"\x00" * 100)
    assert "own.safetensors" in rejected(weights)
    weights.write_bytes(b"")
    assert "empty" in rejected(weights)
    checkpoint.write_bytes(checkpoint.read_bytes()[:1000])
    assert "lavila.pth" in rejected(checkpoint)


def test_a_missing_config_is_named(weights):
    weights.with_suffix(".json").unlink()
    assert "own.json is missing" in rejected(weights)


def test_another_checkpoint_is_no_lavila(tmp_path):
    path = tmp_path / "resnet.pth"
    torch.save({"state_dict": {"conv1.weight": torch.zeros(3, 3)}}, path)
    assert "resnet.pth" in rejected(path)
    assert not list((tmp_path / "cache").glob("*.safetensors"))


def test_a_pickle_that_would_run_code_is_refused(tmp_path):
    class Evil:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "touched",))

    path = tmp_path / "evil.pth"
    torch.save({"state_dict": Evil()}, path)
    rejected(path)
    assert not (tmp_path / "touched").exists()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("dmeo", "did you mean demo?"),
        ("nope.safetensors", "no such file"),
        ("", "no such file"),
        (str(Path(__file__).parent), "a folder without manifest.json"),
        (".", "a folder"),
        ("README.md", "a file ending in .safetensors or .pth"),
    ],
)
def test_a_wrong_name_says_what_there_is(name, expected, monkeypatch):
    monkeypatch.chdir(Path(__file__).parents[1])
    assert expected in rejected(name)
    with pytest.raises(UserError, match=expected.replace("?", r"\?")):
        loading.check_weights(name)


def test_an_unknown_backend_names_those_there_are(weights):
    with pytest.raises(UserError, match="auto, onnxruntime, torch, tensorrt, torch-tensorrt"):
        load(weights, "tensorflow")  # type: ignore[arg-type]


def test_a_backend_that_the_weights_are_not_for(weights):
    for name, called in (("tensorrt", "TensorRT"), ("onnxruntime", "ONNX Runtime")):
        with pytest.raises(UserError, match=f"^{called} runs bundles: python export/export.py"):
            load(weights, name)  # type: ignore[arg-type]


@pytest.mark.skipif(importlib.util.find_spec("tensorrt") is not None, reason="TensorRT is installed here")
def test_tensorrt_that_is_not_installed_is_told_when_asked_for_and_not_otherwise(capsys):
    with pytest.raises(UserError, match="TensorRT is not installed: on a Jetson"):
        load("demo", "tensorrt")
    load("demo")
    assert "tensorrt" not in capsys.readouterr().err.lower()


def test_a_missing_torch_says_how_to_install_it(weights, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "henasy_stream.backends.torch_backend", None)
    with pytest.raises(UserError, match=r"pip install 'henasy-stream\[torch\]'"):
        load(weights)


def test_the_demo_weights_ship_and_know_what_they_are():
    model = load("demo")
    assert model.capabilities == {"caption", "entities", "queries"}
    assert model.spec.synthetic
    assert "hand" in model.spec.nouns
    assert len(model.spec.phrases) > 50
    assert loading.DEMO_WEIGHTS.stat().st_size <= 15e6
