from __future__ import annotations

import io
import subprocess
import sys
from dataclasses import fields, is_dataclass
from pathlib import Path

import numpy as np
import pytest

from henasy_stream.config import StreamConfig
from henasy_stream.errors import UserError
from henasy_stream.stream.engine import Engine
from henasy_stream.stream.state import StreamState
from tests.stream.fake import FakeBackend, Square, film

SCENE = (Square("cup", 10, 10, vx=25), Square("knife", 180, 60, vx=-20, hidden=(2.0, 2.8)))
ROOT = Path(__file__).parents[2]

_CHILD = """
import sys
from tests.stream.test_state import SCENE, film, go_on
print(go_on(sys.argv[1], film(SCENE, 6)[50:]))
"""


def engine(**options):
    return Engine(FakeBackend(), StreamConfig(), queries=["the knife"], **options)


def story(results):
    """Everything that a user could see, floats exactly."""
    return [
        repr((p.stamp_ns, p.window_start_ns, p.window_end_ns, p.tracks, p.caption, p.closed, p.reset, p.fresh))
        + p.masks.probability.tobytes().hex()[:64]
        for p in results
    ]


def play(runner, state, frames):
    results = []
    for frame in frames:
        state, perception = runner.step(state, frame)
        results.append(perception)
    return state, results


def go_on(path, frames):
    runner = engine()
    runner.backend.windows = int(Path(path).with_suffix(".windows").read_text())  # the noise of the fake follows it
    return "\n".join(story(play(runner, StreamState.load(path), frames)[1]))


def test_a_restored_state_goes_on_exactly_in_another_process(tmp_path):
    frames = film(SCENE, 6)
    runner = engine()
    state, _ = play(runner, runner.initial_state(), frames[:50])
    path = tmp_path / "state.npz"
    state.save(path)
    path.with_suffix(".windows").write_text(str(runner.backend.windows))
    _, results = play(runner, state, frames[50:])
    child = subprocess.run(
        [sys.executable, "-c", _CHILD, str(path)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert child.stdout.strip() == "\n".join(story(results))


def leaves(value, name="state"):
    if is_dataclass(value):
        for item in fields(value):
            yield from leaves(getattr(value, item.name), f"{name}.{item.name}")
    else:
        yield name, value


def test_saving_and_loading_changes_nothing(tmp_path):
    runner = engine()
    for frames in ([], film(SCENE, 3)):
        state, _ = play(runner, runner.initial_state(), frames)
        state.save(tmp_path / "s")
        before, after = dict(leaves(state)), dict(leaves(StreamState.load(tmp_path / "s")))
        assert before.keys() == after.keys()
        for name, value in before.items():
            if isinstance(value, np.ndarray):
                np.testing.assert_array_equal(after[name], value)
                assert after[name].dtype == value.dtype
                assert after[name].flags.writeable
            else:
                assert after[name] == value, name
        assert not list(tmp_path.glob("*.part"))


def test_the_state_has_a_fixed_size():
    runner = engine()
    state, _ = play(runner, runner.initial_state(), film(SCENE, 1))

    def size(state):
        return {name: value.nbytes for name, value in leaves(state) if isinstance(value, np.ndarray)}

    fixed = {name: n for name, n in size(state).items() if ".last." not in name}
    state, _ = play(runner, state, film(SCENE, 6)[20:])
    assert {name: n for name, n in size(state).items() if ".last." not in name} == fixed


def test_a_state_of_other_weights_or_phrases_is_refused():
    runner = engine()
    other = engine(phrases=["something else"])
    with pytest.raises(UserError, match="other weights, phrases"):
        other.step(runner.initial_state(), film(SCENE, 0.1)[0])


@pytest.mark.parametrize("content", [b"", b"no archive", None, "foreign"])
def test_a_damaged_file_is_named(tmp_path, content):
    path = tmp_path / "state"
    if content is None:
        engine().initial_state().save(path)
        path.write_bytes(path.read_bytes()[:1000])
    elif content == "foreign":
        buffer = io.BytesIO()
        np.savez(buffer, a=np.zeros(3))
        path.write_bytes(buffer.getvalue())
    else:
        path.write_bytes(content)
    with pytest.raises(UserError, match="state"):
        StreamState.load(path)


def test_pickles_are_never_opened(tmp_path):
    path = tmp_path / "state.npz"
    np.savez(path, format=np.int64(1), json=np.array([{"a": 1}], dtype=object))
    with pytest.raises(UserError, match="not a saved stream state"):
        StreamState.load(path)


def test_missing_and_unwritable_paths_are_named(tmp_path):
    with pytest.raises(UserError, match="nothing"):
        StreamState.load(tmp_path / "nothing")
    with pytest.raises(UserError, match="cannot save"):
        engine().initial_state().save(tmp_path / "no" / "folder")


def test_the_stream_never_imports_torch():
    code = (
        "import sys, pkgutil, importlib, henasy_stream.preprocess\n"
        "s = importlib.import_module('henasy_stream.stream')\n"
        "[importlib.import_module(f'henasy_stream.stream.{m.name}') for m in pkgutil.iter_modules(s.__path__)]\n"
        "assert 'henasy_stream.stream.engine' in sys.modules\n"
        "print([m for m in ('torch', 'tensorrt', 'onnxruntime', 'zmq') if m in sys.modules])"
    )
    child = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert child.stdout.strip() == "[]"
