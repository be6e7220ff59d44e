"""The names of `henasy_stream`, and the loop that the README shows."""

from __future__ import annotations

import importlib
import subprocess
import sys

import numpy as np
import pytest

import henasy_stream as hs
from tests.runtime.parts import CUP, ScriptedSource, fake_model
from tests.stream.fake import film

NAMES = (
    *("load", "open_source", "stream", "annotate", "Engine", "StreamConfig", "StreamState"),
    *("Frame", "Perception", "Track", "Caption", "Relation", "VerbNounPairs", "__version__"),
)


@pytest.mark.parametrize("name", NAMES)
def test_a_public_name_is_there_and_listed(name):
    assert getattr(hs, name)
    assert name in hs.__all__
    assert name in dir(hs)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="strem"):
        hs.strem  # noqa: B018


@pytest.mark.parametrize("first", ["import henasy_stream.stream.engine", "import henasy_stream.annotate", "hs.Engine"])
def test_stream_and_annotate_stay_functions_although_modules_have_their_names(first):
    code = f"import henasy_stream as hs\n{first}\nprint(callable(hs.annotate), hs.stream.__module__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == ["True", "henasy_stream.runtime.api"]
    assert importlib.import_module("henasy_stream.stream.engine").Engine is hs.Engine


def test_the_loop_of_the_readme():
    model = fake_model()
    assert model.capabilities == {"caption", "entities", "queries"}
    source, seen = ScriptedSource(), 0
    with source:
        for p in hs.stream(model, source, queries=["cup"], phrases=None):
            picture = hs.annotate(p.frame, p)
            assert picture.dtype == np.uint8
            assert picture.shape == p.frame.image.shape
            seen += 1
    assert source.closed
    assert [t.label for t in p.tracks if t.query == "cup"] == ["cup"]
    assert [c.final for c in p.closed] == [True]
    assert seen == 41  # 40 frames, and the last one again with the closed segment


def test_the_engine_by_hand(tmp_path):
    engine = hs.Engine(fake_model(), hs.StreamConfig(mode="window"))
    state = engine.initial_state()
    frames = film(CUP, 2.0)
    for frame in frames[:20]:
        state, p = engine.step(state, frame)
    state.save(tmp_path / "state.npz")
    state = hs.StreamState.load(tmp_path / "state.npz")
    for frame in frames[20:]:
        state, p = engine.step(state, frame)
    assert p.caption is not None


def test_the_synthetic_world_opens():
    with hs.open_source("world?size=64x48") as source:
        frame = next(iter(source))
    assert (frame.width, frame.height) == (64, 48)
