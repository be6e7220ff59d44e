"""`--write-config` writes what `--config` reads."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from henasy_stream.errors import UserError
from henasy_stream.live import build_parser, main, parse
from henasy_stream.runtime.config_file import config_text, write_config
from henasy_stream.runtime.options import NAMES, LiveOptions, choices, merge

_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
_VALUES: dict[str, st.SearchStrategy[Any]] = {
    "camera": st.none() | st.integers(0, 9) | _TEXT,
    "presence": st.none() | st.floats(0, 1),
    "wait_subscriber": st.integers(0, 9),
    "max_frames": st.none() | st.integers(1),
    **dict.fromkeys(
        ("camera_fps", "span", "max_fps"), st.none() | st.floats(0, exclude_min=True, allow_infinity=False)
    ),
}


def _any_value(field: msgspec.structs.FieldInfo) -> st.SearchStrategy[Any]:
    if field.name in _VALUES:
        return _VALUES[field.name]
    if few := choices(field.name):
        return st.sampled_from([field.default, *few])
    if isinstance(field.default, tuple):
        return _TEXT | st.lists(_TEXT, max_size=4).map(tuple)
    if isinstance(field.default, bool):
        return st.booleans()
    return _TEXT if isinstance(field.default, str) else st.none() | _TEXT


_OPTIONS = st.fixed_dictionaries({f.name: _any_value(f) for f in msgspec.structs.fields(LiveOptions)})


def uncommented(text: str) -> str:
    return re.sub(r"^#([a-z-]+:)", r"\1", text, flags=re.M)


@settings(max_examples=100, deadline=None)
@given(_OPTIONS.map(lambda values: LiveOptions(**values)))
@example(LiveOptions(record="\x85", queries=("\u2028", "Löffel", "a, b: #c"), weights="\xa0"))
def test_what_is_written_is_what_is_read(options: LiveOptions) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "node.yaml"
        write_config(path, build_parser(), options)
        assert merge({}, path) == options
        path.write_text(uncommented(path.read_text()))
        assert merge({}, path) == options


def test_every_option_is_there_with_a_word_about_it() -> None:
    text = config_text(build_parser(), LiveOptions())
    assert not [line for line in text.splitlines() if line and not line.startswith("#")]
    for name in NAMES:
        assert re.search(rf"^# .+\n#{name}: ", text, re.M), name
    assert "#max-fps: null  # FPS" in text
    assert "#weights: demo\n" in text
    assert max(map(len, text.splitlines())) <= 120


def test_the_command_line_and_a_file_go_into_the_new_file(tmp_path: Path) -> None:
    first, second = tmp_path / "first.yaml", tmp_path / "second.yaml"
    assert main(["--source", "world?seed=7", "--write-config", str(first)]) == 0
    assert main(["--config", str(first), "--max-fps", "10", "--write-config", str(second)]) == 0
    assert parse(["--config", str(second)]) == LiveOptions(source="world?seed=7", max_fps=10)


def test_no_file_is_replaced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "node.yaml"
    path.write_text("source: precious\n")
    assert main(["--write-config", str(path)]) == 2
    assert "is there already; choose another name" in capsys.readouterr().err
    assert path.read_text() == "source: precious\n"


@pytest.mark.parametrize("folder", ["missing", "file"])
def test_a_file_that_cannot_be_written_is_named(tmp_path: Path, folder: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"--write-config .*node\.yaml: cannot be written"):
        write_config(tmp_path / folder / "node.yaml", build_parser(), LiveOptions())


def test_a_wrong_option_writes_nothing(tmp_path: Path) -> None:
    assert main(["--max-fps", "0", "--write-config", str(tmp_path / "node.yaml")]) == 2
    assert not (tmp_path / "node.yaml").exists()


def test_to_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--camera", "0", "--write-config", "-"]) == 0
    assert capsys.readouterr().out == config_text(build_parser(), LiveOptions(camera="0"))
