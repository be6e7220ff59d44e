"""What one piece means, and that a proof without its control, or whose control passes, proves nothing."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch

from export.proof_rows import SKIPPED
from export.proof_torch_tensorrt import holds, look, main, whole
from export.torch_tensorrt_lower import scattered
from henasy_stream.errors import UserError
from henasy_stream.model.grouping import assign

WHOLE = {"supported": 9, "operators": 9, "subgraphs": 1, "left_to_torch": 0, "equal": True, "control": False}
FELL = {**WHOLE, "supported": 8, "subgraphs": 3, "left_to_torch": 2, "error": "it falls apart", "control": True}


@pytest.mark.parametrize(
    "spoilt",
    [
        {"supported": 8},
        {"subgraphs": 2},
        {"left_to_torch": 1},
        {"equal": False},
        {"error": "a converter crashed"},
    ],
)
def test_one_piece_is_all_of_it(spoilt: dict[str, object]) -> None:
    assert whole(WHOLE)
    assert holds([WHOLE, FELL])
    assert not whole(WHOLE | spoilt)
    assert not holds([WHOLE, WHOLE | spoilt, FELL])


def test_the_control_must_fall_apart_and_be_the_network() -> None:
    assert not holds([WHOLE])
    assert not holds([FELL])
    assert not holds([WHOLE, {**WHOLE, "control": True}])
    assert not holds([WHOLE, {**FELL, "equal": False}])


def test_the_control_chooses_the_same_groups() -> None:
    logits = torch.randn(2, 3, 8, 50, generator=torch.Generator().manual_seed(0))
    logits[..., 4, :] = logits[..., 1, :]
    torch.testing.assert_close(scattered(logits), assign(logits))


def test_a_missing_tool_is_a_visible_skip(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kept = tmp_path / "rows.json"
    asked = ["--weights", "demo", "--torchtrt", sys.executable, "--json", str(kept)]
    assert main(asked) == 0
    assert "SKIPPED  torch_tensorrt:" in capsys.readouterr().out
    (row,) = json.loads(kept.read_text())
    assert "make proof" in row[SKIPPED]
    assert main([*asked, "--require"]) == 1


def test_a_tool_that_dies_is_told() -> None:
    with pytest.raises(UserError, match=r"did not look at demo in fp32 .*torch_tensorrt"):
        list(look(Path(sys.executable), "demo", "fp32", 2, build=False))
