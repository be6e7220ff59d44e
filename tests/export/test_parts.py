"""What is exported on request: parts of the network, several streams at once, a program for torch.export."""

from __future__ import annotations

import json
import pickle
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from export.bundle import Written, write_bundle
from export.graphs import forms, part_forms
from export.parity import pictures
from export.parts import CHAIN, compare_parts
from export.random_weights import stir
from export.reference import inputs
from henasy_stream.backends.bundle import open_bundle
from henasy_stream.backends.onnxruntime_backend import OnnxRuntimeBackend
from henasy_stream.backends.torch_backend import read_network
from henasy_stream.model.causal import build_henasy
from tests.export.conftest import KINDS, SMALL

ENTITY_PARTS = ("preprocess", "global_encoder", "entity_encoder", "entity_decoder", "heads")
DUAL_PARTS = ("preprocess", "global_encoder", "heads")


@pytest.mark.parametrize("kind", KINDS)
def test_the_parts_one_after_the_other_are_the_step(weights: dict[str, Path], kind: str) -> None:
    model, config, _ = read_network(weights[kind])
    step = next(forms(model, config))
    alone = list(part_forms(model, config))
    assert tuple(form.name for form in alone) == (ENTITY_PARTS if kind != "lavila" else DUAL_PARTS)
    for given in inputs(step, pictures(32, 5), 3):
        known, wanted = dict(given), step(given)
        for form in alone:
            known |= form({name: known[name] for name in form.inputs})
        for name, value in wanted.items():
            torch.testing.assert_close(known[name], value, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    "change", [{"fine_masks": False}, {"bootstrap_layers": 0, "fine_masks": False}, {"decoder": "average"}]
)
@pytest.mark.parametrize("attention", ["window", "causal"])
def test_networks_of_another_kind_have_parts_too(attention: str, change: dict[str, object]) -> None:
    torch.manual_seed(3)
    config = replace(SMALL, attention=attention, **change)  # type: ignore[arg-type]
    model = build_henasy(config).eval()
    stir(model, 0.2)
    step = next(forms(model, config))
    for given in inputs(step, pictures(32, 4), 3):
        known, wanted = dict(given), step(given)
        for form in part_forms(model, config):
            known |= form({name: known[name] for name in form.inputs})
        for name, value in wanted.items():
            torch.testing.assert_close(known[name], value, atol=1e-5, rtol=0)


@pytest.fixture(scope="module")
def rich(weights: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Written:
    folder = tmp_path_factory.mktemp("rich") / "bundle"
    return write_bundle(weights["causal"], folder, steps=8, parts=True, program=True, batch=True)


@pytest.mark.slow
def test_each_part_is_the_references(rich: Written, weights: dict[str, Path]) -> None:
    graphs = open_bundle(rich.folder).manifest.graphs
    assert graphs.keys() == {"causal", "text", *ENTITY_PARTS}
    for graph in graphs.values():
        assert graph.parity is not None
        assert graph.parity.flips == 0
        assert max(graph.parity.worst.values()) < 1e-4
    assert set(graphs["global_encoder"].state) == {name for name in graphs["causal"].state if "visual" in name}
    states = [name for part in ENTITY_PARTS for name in graphs[part].state]
    assert sorted(states) == sorted(graphs["causal"].state)
    given = {port.name: port for port in graphs["preprocess"].inputs}
    assert (given["frame"].dtype, given["frame"].low, given["frame"].high) == ("uint8", 0, 255)
    # A part of another network is told by itself and in the row of all.
    model, config, _ = read_network(weights["causal"])
    model.get_parameter("entity_decoder.blocks.0.cross.q.weight").data *= 1.5
    step, alone = next(forms(model, config)), {form.name: form for form in part_forms(model, config)}
    paths = {name: rich.folder / f"{name}.onnx" for name in alone}
    found = compare_parts(step, alone, paths, inputs(step, pictures(32, 6), 3), 1e-4)
    assert {name for name, parity in found.items() if not parity.holds} == {"entity_decoder", CHAIN}


@pytest.mark.slow
def test_a_graph_of_any_number_of_streams_serves_one(rich: Written, bundles: dict[str, Written]) -> None:
    step = rich.manifest.graphs["causal"]
    assert {port.shape[1 if port.name.startswith("state.") else 0] for port in step.inputs} == {"batch"}
    assert rich.parity["causal"].steps == 8 + 3  # 1, 2 and 8 streams at once besides
    many, one = OnnxRuntimeBackend.from_bundle(rich.folder), OnnxRuntimeBackend.from_bundle(bundles["causal"].folder)
    states = [many.initial_state(), one.initial_state()]
    for frame in pictures(32, 5):
        states[0], found = many.step(states[0], frame)
        states[1], wanted = one.step(states[1], frame)
        np.testing.assert_allclose(found.video_embedding, wanted.video_embedding, atol=1e-5)


@pytest.mark.slow
def test_the_program_says_what_the_network_says_to_any_number_of_streams(
    rich: Written, weights: dict[str, Path]
) -> None:
    assert rich.manifest.program == "causal.pt2"
    step = next(forms(*read_network(weights["causal"])[:2]))
    program = torch.export.load(rich.folder / "causal.pt2").module()
    picture = torch.from_numpy(pictures(32, 1)[0])[None]
    state = {name.removeprefix("state."): value for name, value in step.inputs.items() if name.startswith("state.")}
    wanted = step(step.inputs | {"frame": picture})
    for count in (1, 3):
        rows = {name: value.repeat_interleave(count, 1) for name, value in state.items()}
        found = program(frame=picture.repeat(count, 1, 1, 1), filled=torch.zeros(count, dtype=torch.int64), state=rows)
        torch.testing.assert_close(
            found["video_embedding"], wanted["video_embedding"].repeat(count, 1), atol=1e-5, rtol=0
        )


class _Touch:
    """Unpickled, it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str, str]]:
        return open, (str(self.path), "w")


def test_a_program_may_run_code_when_it_is_loaded_so_the_node_never_does(tmp_path: Path) -> None:
    """What docs/export.md says of `torch.export.load`, which is why nothing under henasy_stream/ calls it."""
    made, forged, touched = tmp_path / "made.pt2", tmp_path / "forged.pt2", tmp_path / "touched"
    torch.export.save(torch.export.export(torch.nn.Linear(2, 2), (torch.zeros(1, 2),)), made)
    with zipfile.ZipFile(made) as source, zipfile.ZipFile(forged, "w") as target:
        for name in source.namelist():
            content = source.read(name)
            if name.endswith("weights_config.json"):
                config = json.loads(content)
                for entry in config["config"].values():
                    entry["use_pickle"] = True
                content = json.dumps(config).encode()
            elif "/data/weights/" in name:
                content = pickle.dumps(_Touch(touched))
            target.writestr(name, content)
    with pytest.raises(Exception):  # noqa: B017 - it fails only after the code has run
        torch.export.load(forged)
    assert touched.exists()
    for path in (Path(__file__).parents[2] / "henasy_stream").rglob("*.py"):
        assert "torch.export.load(" not in path.read_text(encoding="utf-8"), path
