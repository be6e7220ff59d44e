"""docs/extend.md: its two files run as they stand there."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest

import training.recipes
from henasy_stream.backends.torch_backend import TorchBackend, read_network
from henasy_stream.errors import UserError
from henasy_stream.model.backbones import BACKBONES
from henasy_stream.model.henasy import Henasy
from training.command import pretrain_main
from training.losses import LOSSES

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "extend.md").read_text()
FILES = dict(re.findall(r"```python\n# training/recipes/(\w+)\.py\n(.*?)```", PAGE, re.S))
COMMANDS = {line.split()[1]: line for line in re.findall(r"^\$ python training/pretrain\.py (.*)$", PAGE, re.M)}
TINY = """
  --model.vision.image-size 32 --model.vision.num-frames 2 --model.vision.width 32 --model.text.width 16
  --model.text.layers 1 --model.embed-dim 16 --model.entity-width 32 --model.num-groups 6 --model.num-entities 4
  --model.bootstrap-layers 1 --data.clips 24 --data.val-clips 60 --data.text-steps 1 --data.tower-steps 1 --batch 8
  --log-every 1 --eval-every 1000 --device cpu --steps 2
""".split()  # noqa: SIM905


@pytest.fixture(scope="module")
def pools(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pools")


def run(name: str, pools: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a file of the page where recipes are looked for and run the page's command on a tiny network."""
    folder = out / "recipes"
    folder.mkdir()
    (folder / f"{name}.py").write_text(FILES[name])
    monkeypatch.setattr(training.recipes, "__path__", [*training.recipes.__path__, str(folder)])
    argv = [*shlex.split(COMMANDS[name]), *TINY, "--pools", str(pools), "--out", str(out / "run")]
    assert pretrain_main(argv) == 0
    return out / "run"


@pytest.fixture(autouse=True)
def _leave_no_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    for registry in (LOSSES, BACKBONES):
        for name in ("entities_apart", "frames"):
            monkeypatch.setitem(registry, name, None)
            monkeypatch.delitem(registry, name)


def test_each_has_fewer_than_40_lines_and_a_command() -> None:
    assert set(FILES) == {"entities_apart", "frame_backbone"}
    assert {line.split()[1] for line in COMMANDS.values()} == set(FILES)
    assert all(text.count("\n") < 40 for text in FILES.values())


def test_the_loss_is_weighed_and_logged(pools: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = run("entities_apart", pools, tmp_path, monkeypatch)
    log = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    assert all(line["entities_apart"] >= 0 for line in log)
    assert json.loads((out / "recipe.json").read_text())["losses"]["entities_apart"] == 0.3


def test_the_backbone_trains_and_its_weights_run(pools: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = run("frame_backbone", pools, tmp_path, monkeypatch)
    weights = out / "weights.safetensors"
    network, _, _ = read_network(weights)
    assert isinstance(network, Henasy)
    assert type(network.towers.visual).__name__ == "FrameTransformer"
    assert len(network.towers.visual.blocks) == 4
    seen = TorchBackend.from_file(weights, device="cpu").run_window(np.zeros((2, 32, 32, 3), np.uint8))
    assert np.isfinite(seen.video_embedding).all()
    monkeypatch.delitem(BACKBONES, "frames")
    with pytest.raises(UserError, match=r"vision\.backbone is 'frames'; there are timesformer"):
        read_network(weights)
