"""Graphs keep to what TensorRT 10 takes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from export.graphs import Form, write_onnx
from export.operators import LATEST_IR, LATEST_OPSET, refused
from henasy_stream.backends.bundle import open_bundle
from henasy_stream.errors import UserError
from henasy_stream.loading import DEMO_WEIGHTS


def test_what_ships_keeps_to_it() -> None:
    for graph in open_bundle(DEMO_WEIGHTS.with_suffix("")).manifest.graphs.values():
        assert graph.operators
        assert refused(graph.operators, graph.opset, LATEST_IR) == []


def test_newer_versions_and_other_operators_are_named() -> None:
    assert refused(["Add", "Attention"], LATEST_OPSET + 3, LATEST_IR + 1) == [
        "operator Attention",
        "opset 23, it knows 20",
        "IR version 11, it knows 10",
    ]
    assert refused(["ScatterElements"], LATEST_OPSET, LATEST_IR) == ["operator ScatterElements"]


class Scatters(nn.Module):
    """An assignment by scatter: it runs everywhere but where it must."""

    def forward(self, frames: Tensor) -> dict[str, Tensor]:
        best = frames.float().argmax(1, keepdim=True)
        return {"video_embedding": torch.zeros_like(frames.float()).scatter(1, best, 1.0)}


def test_a_network_that_scatters_is_not_exported(tmp_path: Path) -> None:
    form = Form(name="window", module=Scatters(), inputs={"frames": torch.zeros(1, 4, dtype=torch.uint8)}, sizes={})
    with pytest.raises(UserError, match=r"window: TensorRT 10 does not take .*operator ScatterElements"):
        write_onnx(form, tmp_path / "window.onnx")
