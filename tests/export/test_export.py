"""The export's command line, and weights to try it with."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from export.export import main
from export.random_weights import SIZES, write_random
from export.random_weights import main as main_of_random
from henasy_stream.backends.torch_backend import read_network
from tests.export.conftest import SMALL


@pytest.mark.slow
def test_what_was_measured_is_kept_bundle_by_bundle(weights: dict[str, Path], tmp_path: Path) -> None:
    kept = tmp_path / "results" / "export.json"
    for kind in ("window", "causal"):
        out = ["--out", str(tmp_path / kind), "--json", str(kept)]
        assert main(["--weights", str(weights[kind]), "--steps", "8", *out]) == 0
    found = json.loads(kept.read_text())
    assert found.keys() == {"window fp32", "causal fp32"}
    causal = found["causal fp32"]["graphs"]["causal"]
    assert (causal["steps"], causal["wrong"]) == (8, 0)
    assert causal["rollout"].keys() == causal["worst"].keys()


def test_random_weights_are_a_network_of_which_nothing_is_zero(tmp_path: Path) -> None:
    path = tmp_path / "random.safetensors"
    write_random(path, SMALL, "random")
    network, config, model_id = read_network(path)
    assert (config, model_id) == (SMALL, "random")
    assert [name for name, value in network.named_parameters() if not value.any()] == []
    assert SIZES["base-causal"].attention == "causal"


def test_random_weights_want_the_name_of_a_weights_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main_of_random(["base", "--out", str(tmp_path / "base.pth")]) == 2
    assert "must end in .safetensors" in capsys.readouterr().err
