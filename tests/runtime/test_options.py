from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from henasy_stream.control import MAX_QUERIES, MAX_TEXT, Request, wanted
from henasy_stream.errors import UserError
from henasy_stream.live import build_parser, parse
from henasy_stream.runtime.options import NAMES, LiveOptions, merge


@pytest.fixture
def yaml(tmp_path):
    def write(text: str | bytes) -> Path:
        path = tmp_path / "node.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def test_every_long_option_is_a_key_of_the_file_and_the_other_way_round():
    options = {name.removeprefix("--") for name in build_parser().options() if name.startswith("--")}
    assert options - {"help", "version", "config", "write-config", "list-cameras", "json"} == set(NAMES)


def test_the_command_line_wins_over_the_file(yaml):
    path = yaml("max-fps: 10\nmax_frames: 5\nqueries: [cup, a red knife]\nsource: video.mp4\nheadless: true\n")
    options = parse(["--config", str(path), "--max-fps", "3", "--camera", "0"])
    assert options.max_fps == 3
    assert options.max_frames == 5
    assert options.query_texts == ("cup", "a red knife")
    assert options.headless
    assert options.uri == "camera:0"


def test_an_empty_file_changes_nothing(yaml):
    assert merge({"source": "world"}, yaml("# nothing\n")) == LiveOptions(source="world")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("max-fpss: 3", "unknown option 'max-fpss'; did you mean max-fps?"),
        ("qqq: 3", "unknown option 'qqq' (see live --help)"),
        ("max-fps: fast", "max-fps: 'fast' does not fit, expected float"),
        ("max-frames: 3.5", "max-frames: 3.5 does not fit, expected int"),
        ("max-frames: 0", "max-frames: 0 does not fit, expected int >= 1"),
        ("rotate: 45", "rotate: 45 does not fit, choose one of 0, 90, 180, 270"),
        ("headless: please", "headless: 'please' does not fit, expected bool"),
        ("backend: tensorflow", "backend: 'tensorflow' does not fit, choose one of auto, onnxruntime"),
        ("queries: [cup, 3]", "queries: ['cup', 3] does not fit"),
        ("presence: 2", "presence: 2 does not fit, expected float <= 1"),
        ("max-fps: 3\nmax_fps: 4", "'max-fps' is given twice"),
        ("- a", "holds a list, not options"),
        ("a: [", "line 1: not YAML"),
        (b"\xff\xfe\x00", "not a text file"),
    ],
)
def test_a_mistake_in_the_file_is_one_line_that_names_it(yaml, text, expected):
    path = yaml(text)
    with pytest.raises(UserError) as error:
        merge({}, path)
    assert expected in str(error.value)
    assert path.name in str(error.value)
    assert "\n" not in str(error.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"nope\.yaml: no such file"):
        merge({}, tmp_path / "nope.yaml")


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["--sorce", "world"], "unknown option '--sorce'; did you mean --source?"),
        (["--publish-maks"], "unknown option '--publish-maks'; did you mean --publish-masks?"),
        (["--xyzzy=3"], "unknown option '--xyzzy' (see live --help)"),
        (["video.mp4"], "cannot tell what this belongs to: 'video.mp4'"),
        (["--max-frames", "many"], "--max-frames: invalid int value: 'many'"),
        (["--max-frames", "0"], "--max-frames: 0 does not fit, expected int >= 1"),
        (["--max-fps", "nan"], "--max-fps: nan does not fit"),
        (["--rotate", "45"], "--rotate: invalid choice: 45"),
        (["--source"], "--source: expected one argument"),
    ],
)
def test_a_mistake_on_the_command_line_is_one_line_that_names_it(argv, expected):
    with pytest.raises(UserError) as error:
        parse(argv)
    assert expected in str(error.value)
    assert "\n" not in str(error.value)


def test_exactly_one_source_must_be_named():
    with pytest.raises(UserError, match="neither --camera nor --source"):
        parse([]).uri  # noqa: B018
    with pytest.raises(UserError, match="both --camera and --source"):
        parse(["--camera", "0", "--source", "world"]).uri  # noqa: B018


@pytest.mark.parametrize(("text", "pixels"), [("1280x720", (1280, 720)), ("640×480", (640, 480)), (None, None)])
def test_camera_size_is_width_by_height(text, pixels):
    assert LiveOptions(camera_size=text).camera_pixels == pixels


def test_a_camera_size_that_is_none_says_how_to_write_it():
    with pytest.raises(UserError, match=r"e\.g\. 1280x720"):
        LiveOptions(camera_size="big").camera_pixels  # noqa: B018


_LETTERS = st.characters(exclude_characters=",", exclude_categories=["Cs", "Cc"])


@given(st.lists(st.text(alphabet=_LETTERS, max_size=MAX_TEXT), max_size=MAX_QUERIES))
def test_queries_are_the_same_from_a_list_from_a_text_and_from_the_control_socket(queries):
    found = LiveOptions(queries=tuple(queries)).query_texts
    assert found == LiveOptions(queries=",".join(queries)).query_texts
    assert len(set(found)) == len(found)
    assert all(text == text.strip() != "" for text in found)
    for text in queries:
        assert not text.strip() or wanted(Request(remove=(text,)), found) == tuple(
            other for other in found if other != " ".join(text.split())
        )


@pytest.mark.parametrize(
    "queries", [",".join(map(str, range(MAX_QUERIES + 1))), "cup, " + "x" * (MAX_TEXT + 1), ("a\x00b",)]
)
def test_queries_that_the_control_socket_would_refuse_are_refused_at_the_start(queries):
    with pytest.raises(UserError, match=r"^--queries: "):
        LiveOptions(queries=queries).query_texts  # noqa: B018
