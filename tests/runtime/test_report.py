"""What the node says about itself at the start."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from henasy_stream.runtime.options import LiveOptions
from henasy_stream.runtime.report import Reporter, introduce
from tests.runtime.parts import ScriptedSource, fake_model


@pytest.mark.parametrize(("weights", "named"), [("demo", "demo"), ("demo-causal", "demo-causal"), ("own/", "fake")])
def test_weights_are_called_what_the_user_calls_them(weights: str, named: str) -> None:
    said = io.StringIO()
    model = fake_model()
    introduce(Reporter(Console(file=said, width=200)), LiveOptions(weights=weights), ScriptedSource(), model)
    assert f"\nmodel     {named}: entities, caption" in said.getvalue()
    assert (model.spec.model_id == named) == (weights == "own/")
