"""What an installation takes is what its distributions take."""

from __future__ import annotations

from benchmarks._installed import NAME, closure, megabytes


def test_torch_is_needed_by_its_extra_only():
    plain, with_torch = closure(NAME), closure(NAME, frozenset({"torch"}))
    assert {NAME, "numpy", "onnxruntime"} <= plain
    assert "pytest" not in with_torch
    assert with_torch - plain >= {"torch", "safetensors"}
    assert 50 < megabytes() < megabytes("torch") - 100
