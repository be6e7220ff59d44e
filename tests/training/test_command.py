"""`pretrain.py` in real processes: killed and gone on with, under torchrun, and with what a person gets wrong."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from training import distributed
from training.command import pretrain_main

ROOT = Path(__file__).parents[2]
SCRIPT = str(ROOT / "training" / "pretrain.py")
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", SCRIPT]
TIMES = {"seconds", "clips_per_s", "waiting", "memory_gb"}
TINY = """
  --model.vision.image-size 32 --model.vision.num-frames 2 --model.vision.width 32 --model.vision.layers 1
  --model.text.width 16 --model.text.layers 1 --model.embed-dim 16 --model.entity-width 32 --model.num-groups 6
  --model.num-entities 4 --model.bootstrap-layers 1 --data.clips 40 --data.val-clips 60 --data.text-steps 3
  --data.tower-steps 2 --batch 8 --log-every 1 --eval-every 1000 --device cpu
""".split()  # noqa: SIM905


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Arguments of a run of milliseconds a step."""
    return [*TINY, "--pools", str(tmp_path_factory.mktemp("pools"))]


def killed(command: Sequence[str], out: Path, *, after: int, meanwhile: Callable[[], None] = lambda: None) -> None:
    """Kill -9 a command and all its processes when it has logged `after` steps."""
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    log = out / "log.jsonl"
    while process.poll() is None and (not log.exists() or log.read_text().count("\n") < after):
        time.sleep(0.005)
    everyone = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    for one in everyone:
        one.suspend()
    meanwhile()
    for one in everyone:
        one.kill()
    assert process.wait() == -signal.SIGKILL, "it ended before it could be killed"
    psutil.wait_procs(everyone)


def logged(out: Path) -> list[dict[str, Any]]:
    """What the log says, but for times."""
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name not in TIMES} for line in lines]


def same_run(one: Path, other: Path, steps: int) -> None:
    assert [line["step"] for line in logged(one)] == list(range(1, steps + 1))
    assert logged(one) == logged(other)
    assert (one / "weights.safetensors").read_bytes() == (other / "weights.safetensors").read_bytes()
    left, right = (torch.load(out / "checkpoint.pt", weights_only=True) for out in (one, other))
    assert left["done"] == right["done"] == steps
    for part in ("model", "average"):
        for name, value in left[part].items():
            assert torch.equal(value, right[part][name]), name


@pytest.mark.slow
def test_killed_run_goes_on_as_if_nothing_had_been(
    tiny: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Five steps an epoch and seven a checkpoint; in half precision."""
    run = [*tiny, "--precision", "bfloat16", "--steps", "30", "--checkpoint-every", "7"]
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert pretrain_main([*run, "--out", str(whole)]) == 0
    command = [sys.executable, SCRIPT, *run, "--out", str(broken)]

    def refused() -> None:
        capsys.readouterr()
        assert pretrain_main([*run, "--out", str(broken)]) == 2
        assert capsys.readouterr().err == (
            f"pretrain: another process still trains in {broken}; stop it, or choose another --out\n"
        )

    killed(command, broken, after=9, meanwhile=refused)
    subprocess.run(command, check=True, capture_output=True)
    same_run(whole, broken, 30)


@pytest.mark.slow
def test_torchrun_takes_the_same_command_and_may_be_killed(tiny: list[str], tmp_path: Path) -> None:
    run = [*tiny, "--steps", "30", "--checkpoint-every", "7"]
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    subprocess.run([*TORCHRUN, *run, "--out", str(whole)], check=True, capture_output=True)
    command = [*TORCHRUN, *run, "--out", str(broken)]
    killed(command, broken, after=9)
    subprocess.run(command, check=True, capture_output=True)
    same_run(whole, broken, 30)
    names = {path.name for path in whole.iterdir()}
    assert names == {"checkpoint.pt", "log.jsonl", "recipe.json", "weights.json", "weights.safetensors"}


@pytest.mark.slow
def test_batch_that_cannot_be_divided_is_one_line(tiny: list[str], tmp_path: Path) -> None:
    done = subprocess.run([*TORCHRUN, *tiny, "--batch", "7", "--out", str(tmp_path)], capture_output=True, text=True)
    assert done.stderr.count("a batch of 7 clips can't be divided among 2 ranks; change --batch") == 1
    assert "exitcode  : 2" in done.stderr  # torchrun's report of the first process that failed
    assert 'pretrain.py", line' not in done.stderr


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ({}, "MASTER_ADDR expected, but not set"),
        ({"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "none"}, "127.0.0.1:none"),
        ({"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}, "127.0.0.1:1"),
    ],
)
def test_ranks_that_cannot_meet_say_where(
    address: dict[str, str],
    told: str,
    tiny: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(distributed, "MEETING", timedelta(seconds=1))
    monkeypatch.setattr(time, "sleep", lambda _: None)
    for name in ("MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"RANK": "1", "WORLD_SIZE": "2", **address}.items():
        monkeypatch.setenv(name, value)
    assert pretrain_main([*tiny, "--out", str(tmp_path)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("pretrain: rank 1 of 2 does not reach the others")
    assert told in line
    assert "torchrun" in line


def test_tensorboard_is_written_on_request_and_belongs_to_no_recipe(tiny: list[str], tmp_path: Path) -> None:
    run = [*tiny, "--out", str(tmp_path), "--steps", "2"]
    assert pretrain_main(run) == 0
    assert not (tmp_path / "tensorboard").exists()
    for name in ("log.jsonl", "checkpoint.pt"):
        (tmp_path / name).unlink()
    before = (tmp_path / "recipe.json").read_bytes()
    assert pretrain_main([*run, "--tensorboard"]) == 0
    assert list((tmp_path / "tensorboard").glob("events.out.tfevents.*"))
    assert (tmp_path / "recipe.json").read_bytes() == before


@pytest.mark.parametrize("damage", ["cut", "other"])
def test_damaged_checkpoint_is_one_line(
    damage: str, tiny: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = [*tiny, "--steps", "1", "--out", str(tmp_path)]
    assert pretrain_main(run) == 0
    checkpoint = tmp_path / "checkpoint.pt"
    if damage == "cut":
        checkpoint.write_bytes(checkpoint.read_bytes()[:5000])
    else:
        torch.save({"something": 1}, checkpoint)
    capsys.readouterr()
    assert pretrain_main(run) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert str(checkpoint) in line
    assert "delete it or choose another --out" in line
