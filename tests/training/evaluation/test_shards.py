"""Real processes that share a folder: killed, restarted, more of them or fewer."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from henasy_stream.errors import UserError
from tests.training.evaluation.shard_worker import numbers, sharded
from training.data.records import Clip, ClipError
from training.distributed import Ranks

WORKER = Path(__file__).with_name("shard_worker.py")
ITEMS = 24


def begin(out: Path, rank: int, world: int, seconds: float = 0.0) -> subprocess.Popen[str]:
    environment = {**os.environ, "RANK": str(rank), "WORLD_SIZE": str(world), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(WORKER), str(out), str(ITEMS), str(seconds)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def begun(output: str) -> list[int]:
    return [int(line.split()[1]) for line in output.splitlines() if line.startswith("begins")]


def check_complete(out: Path, items: int = ITEMS) -> None:
    names = {f"i{item}" for item in range(items)}
    assert {path.stem for path in out.glob("*.pt")} == names
    for item in range(items):
        torch.testing.assert_close(torch.load(out / f"i{item}.pt", weights_only=True), numbers(item))
    files = json.loads((out / "manifest.json").read_text())["files"]
    assert list(files) == [f"i{item}" for item in range(items)]
    for name, record in files.items():
        assert record["bytes"] == (out / f"{name}.pt").stat().st_size
        assert record["shape"] == [5]
    assert not list((out / ".work").iterdir())


def changed_since(out: Path, times: dict[str, int]) -> set[str]:
    return {path.stem for path in out.glob("*.pt") if path.stat().st_mtime_ns != times.get(path.stem)}


def times_of(out: Path) -> dict[str, int]:
    return {path.stem: path.stat().st_mtime_ns for path in out.glob("*.pt")}


def test_a_killed_worker_leaves_its_items_to_the_others(tmp_path):
    victim, other = begin(tmp_path, 0, 2, 0.1), begin(tmp_path, 1, 2, 0.1)
    assert victim.stdout is not None
    for line in victim.stdout:
        if line == "begins 4\n":
            victim.send_signal(signal.SIGKILL)
            break
    victim.wait(timeout=60)
    assert other.wait(timeout=60) == 0
    check_complete(tmp_path)


@pytest.mark.slow
def test_all_killed_and_started_anew_in_another_number(tmp_path):
    workers = [begin(tmp_path, rank, 2, 0.1) for rank in range(2)]
    deadline = time.monotonic() + 60
    while len(list(tmp_path.glob("*.pt"))) < 7 and time.monotonic() < deadline:
        time.sleep(0.01)
    for worker in workers:
        worker.kill()
        worker.wait(timeout=60)
    kept = times_of(tmp_path)
    assert 7 <= len(kept) < ITEMS
    assert not (tmp_path / "manifest.json").exists()
    (tmp_path / ".work" / "i20.pt.elsewhere-7.part").write_bytes(b"half a fi")
    left = {item for item in range(ITEMS) if f"i{item}" not in kept}
    workers = [begin(tmp_path, rank, 3, 0.1) for rank in range(3)]
    work = [begun(worker.communicate(timeout=60)[0]) for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0, 0]
    check_complete(tmp_path)
    assert changed_since(tmp_path, kept) == {f"i{item}" for item in left}
    assert set().union(*work) == left
    assert sum(map(len, work)) <= len(left) + 6  # doubled is only what two had in hand at the same time


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-40])


def turn_a_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    place = data.index(numbers(int(path.stem[1:])).numpy().tobytes())
    data[place] ^= 1
    path.write_bytes(data)


def put_another(path: Path) -> None:
    shutil.copy(path.with_name("i0.pt"), path)


def empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize(
    ("harm", "manifest"),
    [(put_another, True), *itertools.product([cut, turn_a_bit, empty, Path.unlink], [True, False])],
)
def test_a_damaged_file_is_made_anew_and_no_other(harm, manifest, tmp_path):
    sharded(tmp_path, 12).run()
    times = times_of(tmp_path)
    harm(tmp_path / "i5.pt")
    if not manifest:
        (tmp_path / "manifest.json").unlink()
    sharded(tmp_path, 12).run()
    check_complete(tmp_path, 12)
    assert changed_since(tmp_path, times) == {"i5"}


def test_whoever_finishes_mends_what_a_dead_owner_left_damaged(tmp_path):
    sharded(tmp_path, 12).run()
    cut(tmp_path / "i5.pt")
    sharded(tmp_path, 12, ranks=Ranks(rank=0, size=2)).run()
    check_complete(tmp_path, 12)


def test_a_file_that_does_not_fit_is_made_anew(tmp_path):
    sharded(tmp_path, 4).run()
    torch.save(torch.zeros(4), tmp_path / "i2.pt")
    (tmp_path / "manifest.json").unlink()
    sharded(tmp_path, 4, fits=lambda item, content: content.shape == (5,)).run()
    check_complete(tmp_path, 4)


def test_more_items_extend_a_folder(tmp_path):
    sharded(tmp_path, 5).run()
    times = times_of(tmp_path)
    sharded(tmp_path, 8).run()
    check_complete(tmp_path, 8)
    assert changed_since(tmp_path, times) == {"i5", "i6", "i7"}


def test_what_cannot_be_read_is_named_and_tried_again(tmp_path, capsys):
    (tmp_path / "broken").touch()
    made = sharded(tmp_path, 10).run()
    assert made.unreadable == {"i7": {"path": "v.mp4", "reason": "is broken"}}
    assert "i7: clip v 7-7 s can't be read: v.mp4: is broken" in capsys.readouterr().out
    assert json.loads((tmp_path / "manifest.json").read_text())["unreadable"] == made.unreadable
    assert not (tmp_path / "i7.pt").exists()
    assert sharded(tmp_path, 10, ranks=Ranks(rank=0, size=2)).run() == made
    assert not capsys.readouterr().out  # not its item: its owner has tried
    (tmp_path / "broken").unlink()
    assert not sharded(tmp_path, 10).run().unreadable
    check_complete(tmp_path, 10)


def test_too_many_unreadable_items_stop_the_worker(tmp_path):
    (tmp_path / "broken").touch()
    assert len(sharded(tmp_path, 18, max_unreadable=0.0).run().unreadable) == 2  # too few to judge
    with pytest.raises(UserError, match=r"3 of 28 clips can't be read, more than 7 %.*is broken"):
        sharded(tmp_path / "more", 100, max_unreadable=0.07, compute=_mostly_broken).run()


def _mostly_broken(items):
    for item in items:
        bad = item % 10 == 7
        yield f"i{item}", ClipError(Clip(video="v", start=0, end=1), "v.mp4", "is broken") if bad else numbers(item)


def test_other_settings_are_refused(tmp_path):
    sharded(tmp_path, 2).run()
    with pytest.raises(UserError, match="was made with width 5, not 6; choose another folder"):
        sharded(tmp_path, 2, settings={"width": 6, "name": "sine"}).run()
    with pytest.raises(UserError, match="made with name sine, not None"):
        sharded(tmp_path, 2, settings={"width": 5}).run()


def test_names_that_are_no_names_of_files(tmp_path):
    for key in ("../x", "", ".hidden", "a/b"):
        with pytest.raises(UserError, match="can't be the name of a file"):
            sharded(tmp_path, 1, key=lambda item, key=key: key)


def test_a_damaged_manifest_is_one_clear_error(tmp_path):
    sharded(tmp_path, 2).run()
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(UserError, match=r"manifest\.json: no JSON"):
        sharded(tmp_path, 2).run()
