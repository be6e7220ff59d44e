from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import av
import numpy as np
import pytest

from henasy_stream.errors import UserError
from training.data.chunks import VideoStore
from training.data.clip_reader import read_clip
from training.data.decoding import Video
from training.data.records import Clip
from training.data.sampling import lavila_ids
from training.preparation.chunking import LOG, ChunkSettings, chunk_videos, read_log, total_seconds
from training.preparation.encoding import ChunkWriter, VideoReader, resized
from training.preparation.video_files import find_videos

ROOT = Path(__file__).resolve().parents[3]


def times_of(path: Path) -> list[float]:
    with VideoReader(path) as reader:
        return [time for time, _ in reader.frames()]


def write_frames(path: Path, times: list[float], size: tuple[int, int] = (32, 48), codec: str = "mpeg4") -> Path:
    writer = ChunkWriter(path, size=size, fps=10.0, codec=codec)
    for k, at in enumerate(times):
        image = np.full((*size, 3), 10 + 2 * k % 240, np.uint8)
        writer.add(av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format="yuv420p"), at)
    writer.close()
    return path


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        (ChunkSettings(layout="lavila"), ["world_0.mp4/0.mp4"]),
        (ChunkSettings(layout="lavila", seconds=5), ["world_0.mp4/0.mp4", "world_0.mp4/5.mp4"]),
        (ChunkSettings(layout="avion"), ["world_0.mp4/0.mp4"]),
        (ChunkSettings(layout="egovlp", seconds=3), ["world_0/0.mp4", "world_0/1.mp4", "world_0/2.mp4"]),
    ],
    ids=str,
)
def test_chunks_lie_where_their_layout_says_and_can_be_read_as_clips(example, tmp_path, settings, names):
    report = chunk_videos({"world_0": example / "videos" / "world_0.mp4"}, tmp_path, settings)
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.mp4") if path.is_file()) == names
    assert (report.done["world_0"].frames, report.errors) == (80, {})
    layout, seconds = settings.layout, settings.chunk_s
    store = VideoStore.open(tmp_path, ["world_0"], layout=layout, chunk_s=seconds, report=lambda line: None)
    crossing = Clip(video="world_0", start=2.0, end=7.0)
    with Video(example / "videos" / "world_0.mp4") as source:
        whole = source.frames(list(range(80)))
    frames = read_clip(store, crossing, 4)
    distance = np.abs(whole[None].astype(float) - frames[:, None]).mean((2, 3, 4))
    assert distance.argmin(1).tolist() == lavila_ids(20, 70, 4).tolist()


def test_no_frame_is_lost_or_moved(example, tmp_path):
    source = example / "videos" / "world_1.mp4"
    chunk_videos({"v": source}, tmp_path, ChunkSettings(layout="egovlp", seconds=3))
    joined = [3 * k + at for k in range(3) for at in times_of(tmp_path / "v" / f"{k}.mp4")]
    np.testing.assert_allclose(joined, times_of(source), atol=1e-4)


def test_uneven_times_and_a_gap_over_a_whole_chunk_are_kept(tmp_path):
    times = [0.0, 0.07, 0.31, 1.05, 5.5, 5.6]
    source = write_frames(tmp_path / "in" / "uneven.mp4", times)
    report = chunk_videos({"uneven": source}, tmp_path / "out", ChunkSettings(layout="egovlp", seconds=2))
    assert report.done["uneven"].chunks == (0, 2)
    assert not (tmp_path / "out" / "uneven" / "1.mp4").exists()
    np.testing.assert_allclose(times_of(tmp_path / "out" / "uneven" / "0.mp4"), times[:4], atol=1e-3)


def test_a_portrait_video_comes_out_upright(tmp_path):
    source = write_frames(tmp_path / "turned.mp4", [k / 10 for k in range(10)], size=(32, 64))
    data = bytearray(source.read_bytes())
    at = data.find(b"tkhd") + 4 + 4 + 20 + 16
    turned = [0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30]
    data[at : at + 36] = b"".join(value.to_bytes(4, "big", signed=True) for value in turned)
    source.write_bytes(data)
    report = chunk_videos({"turned": source}, tmp_path / "out", ChunkSettings(short_side=16))
    assert report.done["turned"].size == (32, 16)
    with Video(tmp_path / "out" / "turned.mp4" / "0.mp4") as video:
        assert video.frames([0]).shape == (1, 32, 16, 3)


@pytest.mark.parametrize(
    ("size", "short", "expected"),
    [
        ((720, 1280), 288, (288, 512)),
        ((1280, 720), 256, (456, 256)),
        ((100, 200), 288, (100, 200)),
        ((31, 61), 288, (32, 60)),
    ],
)
def test_the_short_side_is_set_and_nothing_is_blown_up(size, short, expected):
    assert resized(size, short) == expected


@pytest.mark.parametrize(("codec", "name"), [("mpeg4", "mpeg4"), ("vp9", "vp9")])
def test_the_codecs_that_need_no_gpl(tmp_path, codec, name):
    path = write_frames(tmp_path / "c.mp4", [k / 10 for k in range(5)], codec=codec)
    with av.open(str(path)) as container:
        assert container.streams.video[0].codec_context.name == name
    assert len(times_of(path)) == 5


def test_a_second_run_keeps_what_is_finished_and_mends_what_is_not(example, tmp_path):
    videos = dict(find_videos(example / "videos"))
    settings = ChunkSettings(layout="avion", seconds=5)
    chunk_videos(videos, tmp_path, settings)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.mp4") if path.is_file()}
    assert chunk_videos(videos, tmp_path, settings).kept == 3
    assert before == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.mp4") if path.is_file()}

    (tmp_path / "world_1.mp4" / "5.mp4").unlink()
    with (tmp_path / LOG).open("a") as log:
        log.write('{"video": "world_2", "sour')
    again = chunk_videos(videos, tmp_path, settings)
    assert (again.kept, again.errors) == (2, {})
    assert (tmp_path / "world_1.mp4" / "5.mp4").exists()

    changed = dict(videos, world_0=Path(shutil.copy(videos["world_1"], tmp_path / "new.mp4")))
    assert chunk_videos(changed, tmp_path, settings).kept == 2
    assert chunk_videos(videos, tmp_path, ChunkSettings(layout="avion", seconds=5, short_side=32)).kept == 0


def test_unreadable_videos_are_counted_by_file_and_leave_no_chunk(example, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    good = shutil.copy(example / "videos" / "world_0.mp4", folder / "good.mp4")
    (folder / "empty.mp4").touch()
    (folder / "cut.mp4").write_bytes(Path(good).read_bytes()[:3000])
    (folder / "text.mov").write_text("no video")
    seen: list[float] = []
    report = chunk_videos(find_videos(folder), tmp_path / "out", ChunkSettings(), workers=2, progress=seen.append)
    assert sorted(report.done) == ["good"]
    assert sorted(Path(path).name for path in report.errors) == ["cut.mp4", "empty.mp4", "text.mov"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [LOG, "good.mp4"]
    assert sum(seen) == pytest.approx(8.0)
    assert total_seconds(find_videos(folder)) == pytest.approx(8.0)


def test_a_run_that_was_killed_goes_on(example, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    for k in range(30):
        shutil.copy(example / "videos" / f"world_{k % 3}.mp4", folder / f"v{k}.mp4")
    command = [sys.executable, str(ROOT / "training" / "prepare.py"), "chunks", str(folder), str(tmp_path / "out")]
    command += ["--layout", "egovlp", "--chunk-seconds", "2"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=tmp_path)
    log = tmp_path / "out" / LOG
    deadline = time.monotonic() + 60
    while not (log.exists() and log.read_text().count("\n") >= 2) and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    finished = read_log(tmp_path / "out")
    assert 2 <= len(finished) < 30
    report = chunk_videos(find_videos(folder), tmp_path / "out", ChunkSettings(layout="egovlp", seconds=2))
    assert (report.kept, len(report.done), report.errors) == (len(finished), 30, {})
    for path in (tmp_path / "out").rglob("*.mp4"):
        if path.is_file():
            assert len(times_of(path)) == 20
    assert not list((tmp_path / "out").rglob("*.part"))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ChunkSettings(layout="epic"), "--layout epic: one of lavila, avion, egovlp"),
        (lambda: ChunkSettings(codec="x264"), "--codec x264: one of mpeg4, vp9, h264"),
        (lambda: ChunkSettings(seconds=-1), "--chunk-seconds -1"),
        (lambda: ChunkSettings(layout="avion", seconds=4), "--chunk-seconds 4: give a whole number from 5"),
        (lambda: ChunkSettings(short_side=7), "--short-side 7"),
        (lambda: find_videos(Path("nowhere")), "nowhere: no such folder"),
        (lambda: find_videos(ROOT / "docs"), "no video in it"),
    ],
)
def test_mistakes_are_named(make, message):
    with pytest.raises(UserError, match=message):
        make()


def test_two_files_of_one_id_are_refused(example, tmp_path):
    for name in ("a/x.mp4", "b/x.mov"):
        (tmp_path / name).parent.mkdir()
        shutil.copy(example / "videos" / "world_0.mp4", tmp_path / name)
    with pytest.raises(UserError, match="same id 'x'"):
        find_videos(tmp_path)


def test_the_log_says_what_was_done(example, tmp_path):
    chunk_videos({"world_0": example / "videos" / "world_0.mp4"}, tmp_path, ChunkSettings())
    entry = json.loads((tmp_path / LOG).read_text())
    assert (entry["frames"], entry["seconds"], entry["fps"], entry["chunks"]) == (80, 8.0, 10.0, [0])
