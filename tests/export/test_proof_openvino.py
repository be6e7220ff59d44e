"""A graph that is not the network is told from it, in whatever runtime it runs."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest

from export.bundle import Written
from export.graphs import write_onnx
from export.hard_cases import CASES, grouping_form, grouping_steps, same
from export.proof_openvino import CONTROL, STREAMED, main, prove_bundle, prove_grouping, references
from export.proof_rows import SKIPPED
from export.recorded import run_elsewhere
from henasy_stream.backends.bundle import open_bundle
from henasy_stream.errors import UserError

RUNTIMES = [
    "onnxruntime",
    pytest.param(
        "openvino",
        marks=pytest.mark.skipif(
            "HENASY_OPENVINO_PYTHON" not in os.environ, reason="HENASY_OPENVINO_PYTHON names no OpenVINO"
        ),
    ),
]


def python_of(runtime: str) -> dict[str, Path]:
    return {runtime: Path(os.environ["HENASY_OPENVINO_PYTHON"] if runtime == "openvino" else sys.executable)}


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("kind", ["window", "causal"])
def test_a_bundle_is_its_network_and_a_mis_scaled_one_is_not(
    bundles: dict[str, Written], weights: dict[str, Path], kind: str, runtime: str
) -> None:
    bundle = open_bundle(bundles[kind].folder)
    reference = references([str(weights[kind])])[kind]
    rows = list(prove_bundle(bundle, reference, python_of(runtime), 8))
    assert all(row["holds"] for row in rows)
    cases = {row["case"]: row for row in rows}
    nan = {"NaN in the state"} if kind == "causal" else set()
    assert set(cases) == {STREAMED, "texts", "still pictures", CONTROL} | nan
    assert cases[STREAMED]["steps"] == (8 if kind == "causal" else 6)
    assert bool(cases[STREAMED]["rollout"]) == (kind == "causal")
    assert 0 < cases[STREAMED]["empty"] < 1
    with pytest.MonkeyPatch.context() as patch:  # a control that is the network itself is not refused, and is told
        patch.setattr("export.proof_openvino.scaled", lambda form: form)
        (row,) = [row for row in prove_bundle(bundle, reference, python_of(runtime), 4) if row["case"] == CONTROL]
    assert not row["holds"]


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_ties_empty_groups_and_nan(runtime: str) -> None:
    rows = list(prove_grouping(python_of(runtime)))
    assert [row["case"] for row in rows] == list(CASES)
    assert all(row["holds"] for row in rows)


def test_a_runtime_that_takes_the_last_of_equals_is_wrong(tmp_path: Path) -> None:
    form, path = grouping_form(), tmp_path / "grouping.onnx"
    write_onnx(form, path)
    steps = list(grouping_steps(form))
    dtypes = dict.fromkeys(form.inputs, "float32")
    found, _, _ = run_elsewhere(Path(sys.executable), "onnxruntime", path, steps, dtypes)
    assert all(same(one, step.wanted) for one, step in zip(found, steps, strict=True))
    graph = onnx.load(str(path))
    (choice,) = [node for node in graph.graph.node if node.op_type == "ArgMax"]
    del choice.attribute[:]
    choice.attribute.extend(
        onnx.helper.make_attribute(key, value)
        for key, value in {"axis": -2, "keepdims": 1, "select_last_index": 1}.items()
    )
    onnx.save(graph, str(path))
    found, _, _ = run_elsewhere(Path(sys.executable), "onnxruntime", path, steps, dtypes)
    verdicts = dict(zip(CASES, (same(one, step.wanted) for one, step in zip(found, steps, strict=True)), strict=True))
    assert not verdicts["ties"]
    assert not verdicts["nothing but ties"]
    assert verdicts["empty groups"]


def test_the_hard_cases_are_hard() -> None:
    steps = dict(zip(CASES, grouping_steps(grouping_form()), strict=True))
    used = steps["empty groups"].wanted["assignment"].max(-1)
    assert int((used == 0).sum()) == 14
    spoilt = steps["NaN in one frame"].wanted["tokens"][0]
    assert np.isfinite(spoilt[0]).all()
    assert not np.isfinite(spoilt[1]).any()


def test_a_missing_openvino_is_a_visible_skip(
    bundles: dict[str, Written], weights: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = tmp_path / "openvino.json"
    asked = [str(bundles["window"].folder), "--weights", str(weights["window"]), "--steps", "4"]
    asked += ["--openvino", str(tmp_path / "none"), "--json", str(kept)]
    assert main(asked) == 0
    assert "SKIPPED  openvino:" in capsys.readouterr().out
    rows = json.loads(kept.read_text())
    assert rows[0]["tool"] == "openvino"
    assert "does not exist" in rows[0][SKIPPED]
    assert {row["runtime"] for row in rows[1:]} == {"onnxruntime"}
    assert main([*asked, "--require"]) == 1


def test_weights_of_another_bundle_and_a_runtime_that_dies_are_told(
    bundles: dict[str, Written], weights: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = [str(bundles["window"].folder), "--weights", str(weights["causal"]), "--openvino", str(tmp_path / "none")]
    assert main(asked) == 2
    assert "is of window; add its weights to --weights (causal)" in capsys.readouterr().err
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"no graph")
    with pytest.raises(UserError, match=r"onnxruntime did not run broken\.onnx"):
        run_elsewhere(Path(sys.executable), "onnxruntime", broken, [], {})
